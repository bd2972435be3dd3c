//! The engine as the poll endpoint sees it: polls are noted on their way.

use std::sync::Arc;

use longshore_common::{
    logs::query::{LogReply, LogRequest},
    protocol::{PollAnswer, PollOutcome, PollRequest},
};

use crate::{
    engine::supervisor::{EngineHandle, EngineStopped},
    fleet::poll_endpoint::AnswersPolls,
    logs::{LogReader, Unanswered},
    status::Status,
};

/// The engine as the poll endpoint sees it: polls are noted on their way.
#[derive(Clone)]
pub(crate) struct NotedPolls {
    pub(crate) engine: EngineHandle,
    pub(crate) logs: LogReader,
    pub(crate) status: Arc<Status>,
}

impl AnswersPolls for NotedPolls {
    async fn poll(&self, request: PollRequest) -> Result<PollAnswer, EngineStopped> {
        self.status.poll_arrived();
        let epoch = request.epoch;
        let answer = self.engine.poll(request).await?;
        if matches!(answer.outcome, PollOutcome::Accepted { .. }) {
            self.status.answers(epoch);
        }
        Ok(answer)
    }

    async fn logs(&self, request: LogRequest) -> Result<LogReply, Unanswered> {
        self.logs.answer(request).await
    }
}
