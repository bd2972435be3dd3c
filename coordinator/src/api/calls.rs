//! How handlers reach the state: submitting, reading, and the history, in the API's errors.

use longshore_common::id::TaskId;
use longshore_core::{Answer, Command, Rejection, State, model::task::TaskRecord};

use crate::{
    driver::{Refused, Unavailable},
    edge::{context::Api, error::ApiError},
    journal::{History, JournalError, StoppedEntry, StoppedFilter},
};

impl Api {
    /// Has a command decided; `view` looks at the state right after, and its result is returned
    /// once that is durable.
    pub(crate) async fn submit<T: Send + 'static>(
        &self,
        command: Command,
        view: impl FnOnce(&State, Answer) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        self.try_submit(command, view).await?.map_err(|rejection| self.refusal(&rejection))
    }

    /// Submits a command for a handler that has words of its own for some rejections.
    pub(crate) async fn try_submit<T: Send + 'static>(
        &self,
        command: Command,
        view: impl FnOnce(&State, Answer) -> T + Send + 'static,
    ) -> Result<Result<T, Rejection>, ApiError> {
        match self.driver.submit(command, view).await {
            Ok(result) => Ok(Ok(result)),
            Err(Refused::Rejected(rejection)) => Ok(Err(rejection)),
            Err(Refused::Unavailable(unavailable)) => Err(unavailable.into()),
            Err(Refused::JournalWentBack(evidence)) => Err(ApiError::server(evidence.to_string())),
        }
    }

    /// Looks at the state; the result is returned once what it shows is durable.
    pub(crate) async fn read<T>(&self, view: impl FnOnce(&State) -> T) -> Result<T, ApiError> {
        Ok(self.driver.read(view).await?)
    }

    /// Stopped tasks by their ids, those that are still known.
    pub(crate) async fn stopped_tasks(
        &self,
        ids: Vec<TaskId>,
    ) -> Result<Vec<TaskRecord>, ApiError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.driver.stopped_tasks(ids).await?)
    }

    /// A page of a cluster's stopped tasks, the latest first.
    pub(crate) async fn list_stopped(
        &self,
        filter: StoppedFilter,
    ) -> Result<Vec<StoppedEntry>, ApiError> {
        Ok(self.driver.list_stopped(filter).await?)
    }

    /// What the history knows of services.
    pub(crate) async fn history<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn History) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, ApiError> {
        Ok(self.driver.service_history(ask).await?)
    }
}

impl From<Unavailable> for ApiError {
    fn from(unavailable: Unavailable) -> Self {
        ApiError::server(unavailable.to_string())
    }
}
