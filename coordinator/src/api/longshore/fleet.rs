//! `Longshore_2026`: what ECS's API cannot say of the fleet. Join tokens, continuing from an older
//! journal, and replacing what many lost hosts ran. The coordinator's subcommands are its clients.

use std::time::Duration;

use longshore_common::clock::Timestamp;
use longshore_core::{
    Command,
    command::{ClusterCommand, TokenCommand},
    model::join_token::JoinTokenState,
    state::Host,
};
use serde::{Deserialize, Serialize};

use crate::{
    api::ecs::identifiers,
    edge::{context::Api, error::ApiError},
    fleet::join::make_token,
};

/// Minimum and maximum life of a join token in seconds (ours).
const TTL_SECONDS: std::ops::RangeInclusive<u64> = 1..=365 * 24 * 3600;

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateJoinToken {
    /// The only cluster that hosts with this token may be in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<String>,
    pub(crate) ttl_seconds: u64,
    /// Absent: any number of hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uses: Option<u32>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedJoinToken {
    /// The token with its secret, which is never shown again.
    pub(crate) token: String,
    pub(crate) join_token: JoinTokenView,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JoinTokenView {
    pub(crate) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<String>,
    /// Epoch seconds.
    pub(crate) expires_at: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uses_left: Option<u32>,
    /// `ACTIVE`, `USED_UP`, `EXPIRED` or `REVOKED`.
    pub(crate) status: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Nothing {}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recovered {
    /// Hosts that could not be asked before what they have seen; absent in the answer of an earlier release.
    #[serde(default)]
    pub(crate) hosts_not_heard: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JoinTokens {
    pub(crate) join_tokens: Vec<JoinTokenView>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct RevokeJoinToken {
    pub(crate) id: String,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ReplaceLostTasks {
    pub(crate) cluster: String,
}

pub(crate) async fn create_join_token(
    api: &Api,
    input: CreateJoinToken,
) -> Result<CreatedJoinToken, ApiError> {
    if !TTL_SECONDS.contains(&input.ttl_seconds) {
        return Err(ApiError::invalid_parameter(format!(
            "ttlSeconds must be from {} to {}",
            TTL_SECONDS.start(),
            TTL_SECONDS.end()
        )));
    }
    if input.uses == Some(0) {
        return Err(ApiError::invalid_parameter("uses must be 1 or more; leave it out for any"));
    }
    let cluster = match input.cluster.as_deref().map(str::parse).transpose() {
        Ok(cluster) => cluster,
        Err(error) => return Err(ApiError::invalid_parameter(format!("cluster: {error}"))),
    };
    let now = api.clock.wall();
    let expires_at = now.saturating_add(Duration::from_secs(input.ttl_seconds));
    let made = make_token(&api.random, api.ca, cluster, expires_at, input.uses)
        .map_err(|error| ApiError::server(format!("the system gave no random bytes: {error}")))?;
    let state = JoinTokenState { token: made.kept.clone(), revoked: false };
    api.submit(Command::Token(TokenCommand::CreateJoinToken(made.kept)), |_, _| ()).await?;
    tracing::info!(token = %state.token.id, "join token made");
    Ok(CreatedJoinToken { token: made.word.expose_text(), join_token: view(&state, now) })
}

pub(crate) async fn list_join_tokens(api: &Api, _: Nothing) -> Result<JoinTokens, ApiError> {
    let now = api.clock.wall();
    let view_all = |state: &longshore_core::State| {
        state.join_tokens().iter().map(|token| view(token, now)).collect()
    };
    Ok(JoinTokens { join_tokens: api.read(view_all).await? })
}

pub(crate) async fn revoke_join_token(
    api: &Api,
    input: RevokeJoinToken,
) -> Result<Nothing, ApiError> {
    let id = input.id.clone();
    api.submit(Command::Token(TokenCommand::RevokeJoinToken { id: input.id }), |_, _| ()).await?;
    tracing::info!(token = %id, "join token revoked");
    Ok(Nothing {})
}

/// Refused unless a backup was restored or an agent has proved that the journal went back: else there is
/// nothing to recover from, and a new epoch would only hide a mistake.
pub(crate) async fn recover(api: &Api, _: Nothing) -> Result<Recovered, ApiError> {
    if api.driver.went_back().borrow().is_none() {
        return Err(ApiError::invalid_parameter(
            "No host that was heard has seen more than this coordinator's journal holds, and no backup was restored: there is nothing to recover from.",
        ));
    }
    let incarnation = api
        .random
        .number()
        .map_err(|error| ApiError::server(format!("the system gave no random bytes: {error}")))?;
    let hearing = api.driver.hearing();
    hearing.over().await;
    let hosts_not_heard = api.driver.peek(|state| {
        let has_agent = |host: &&Host| host.is_registered() && host.agent.is_some();
        let silent = state.hosts().filter(has_agent).filter(|host| !hearing.has_heard(host.id));
        silent.map(|host| host.id.to_string()).collect()
    });
    let recovered = api.driver.recover(incarnation).await;
    recovered.map_err(|refused| ApiError::server(refused.to_string()))?;
    Ok(Recovered { hosts_not_heard })
}

/// The operator says that the hosts which were lost at once are gone for good. Changes nothing where
/// lost tasks are replaced anyway.
pub(crate) async fn replace_lost_tasks(
    api: &Api,
    input: ReplaceLostTasks,
) -> Result<Nothing, ApiError> {
    let cluster = identifiers::cluster(&api.identity, Some(&input.cluster))?;
    api.submit(
        Command::Cluster(ClusterCommand::ReplaceLostTasks { cluster: cluster.clone() }),
        |_, _| (),
    )
    .await?;
    tracing::info!(cluster = %cluster, "the operator lets the tasks of lost hosts be replaced");
    Ok(Nothing {})
}

fn view(state: &JoinTokenState, now: Timestamp) -> JoinTokenView {
    let token = &state.token;
    let status = if state.revoked {
        "REVOKED"
    } else if token.expires_at <= now {
        "EXPIRED"
    } else if token.uses_left == Some(0) {
        "USED_UP"
    } else {
        "ACTIVE"
    };
    JoinTokenView {
        id: token.id.clone(),
        cluster: token.cluster.as_ref().map(|name| name.as_str().to_owned()),
        expires_at: token.expires_at.as_epoch_seconds(),
        uses_left: token.uses_left,
        status: status.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::test_backend::api;
    use longshore_core::model::cluster::ClusterSettings;

    #[tokio::test]
    async fn lost_tasks_are_replaced_in_a_cluster_that_there_is() {
        let api = api();
        let ask = || replace_lost_tasks(&api, ReplaceLostTasks { cluster: "web".to_owned() });
        assert_eq!(ask().await.unwrap_err().code.wire_name(), "ClusterNotFoundException");
        let (settings, tags) = (ClusterSettings::default(), Default::default());
        let create = Command::Cluster(ClusterCommand::CreateCluster {
            name: "web".parse().unwrap(),
            settings,
            tags,
        });
        api.submit(create, |_, _| ()).await.unwrap();
        assert!(ask().await.is_ok());
    }
}
