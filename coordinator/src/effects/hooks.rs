//! Lifecycle hooks that are HTTP endpoints, called as ECS calls a Lambda function
//! (ecs-behaviour 1.11).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use longshore_common::{
    arn::Identity,
    clock::{Clock, Timestamp},
    limits::REASON_CHARS_MAX,
    telemetry::chain,
};
use longshore_core::{
    Command,
    command::{HookAnswer, ServiceCommand},
    model::service::{HookId, HookTarget, ServiceId},
    state::State,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::https;
use crate::{contained::contained, driver::Handle};

/// Maximum number of hooks that are called at the same time (ours); others wait for their turn.
const CALLS_AT_ONCE_MAX: usize = 64;
/// Timeout of one call, connecting included (ours).
const CALL_DEADLINE: Duration = Duration::from_secs(60);
/// Maximum size of an answer that is read, in bytes (ours).
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Default `callBackDelay` in seconds, when the answer gives none (ecs-behaviour 1.11).
const CALL_BACK_S: u32 = 30;
/// Interval in seconds until a hook that could not be reached is called again (ours), until it
/// expires.
const RETRY_S: u32 = 10;
/// Maximum delay in seconds that an answer may ask for (ecs-behaviour 1.11: a stage's own limit).
const CALL_BACK_S_MAX: u32 = 24 * 3600;

/// One call, with all that it says.
struct Call {
    service: ServiceId,
    hook: HookId,
    url: String,
    body: HookRequest,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HookRequest {
    /// Id of this run of the hook, the same in every call of the run.
    execution_id: String,
    lifecycle_stage: &'static str,
    resource_arn: String,
    execution_details: ExecutionDetails,
    #[serde(skip_serializing_if = "Option::is_none")]
    hook_details: Option<serde_json::Value>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExecutionDetails {
    service_arn: String,
    target_service_revision_arn: String,
    test_traffic_weights: serde_json::Map<String, serde_json::Value>,
    production_traffic_weights: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HookResponse {
    hook_status: HookStatus,
    call_back_delay: Option<u32>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum HookStatus {
    Succeeded,
    Failed,
    InProgress,
}

/// Calls hooks until `shutdown`. A call that was under way when the process ended is made again by
/// the next one.
pub async fn run(
    handle: Handle,
    identity: Identity,
    clock: Arc<impl Clock>,
    shutdown: CancellationToken,
) {
    // Made for the first hook: most coordinators have none.
    let mut client = None;
    let mut calls = JoinSet::new();
    let mut under_way = BTreeSet::new();
    loop {
        let room = CALLS_AT_ONCE_MAX - under_way.len();
        let look = |state: &State| {
            let now = clock.wall();
            (due_calls(state, &identity, now, &under_way, room), now)
        };
        let due = tokio::select! {
            () = shutdown.cancelled() => return,
            due = handle.read_to_act(look) => due,
        };
        let Ok(((due, next), now)) = due else { return };
        for call in due {
            under_way.insert(call.hook);
            let client = client.get_or_insert_with(|| https::client(CALL_DEADLINE)).clone();
            let handle = handle.clone();
            calls.spawn(async move {
                let (service, hook) = (call.service, call.hook);
                let calling = async {
                    let answer = ask(client.as_ref(), &call).await;
                    let answered =
                        Command::Service(ServiceCommand::HookAnswered { service, hook, answer });
                    // A coordinator that ends asks again when it is back.
                    let _ = handle.submit(answered, |_, _| ()).await;
                };
                contained("call of a hook", hook, calling).await;
                hook
            });
        }
        let until_next = next.map(|at| at.since(now));
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = handle.signals().effects() => {}
            Some(ended) = calls.join_next() => {
                under_way.remove(&ended.expect("panics are contained"));
            }
            () = tokio::time::sleep(until_next.unwrap_or_default()), if until_next.is_some() => {}
        }
    }
}

/// Calls that are due and not under way, and when the next of the others is.
fn due_calls(
    state: &State,
    identity: &Identity,
    now: Timestamp,
    under_way: &BTreeSet<HookId>,
    room: usize,
) -> (Vec<Call>, Option<Timestamp>) {
    let mut due = Vec::new();
    for (at, service, hook) in state.hook_calls() {
        if under_way.contains(&hook.id) {
            continue;
        }
        if at > now || due.len() == room {
            return (due, (at > now).then_some(at));
        }
        let Some(deployment) = service.under_way() else { continue };
        let Some(asked) = deployment.config.hooks.get(hook.hook as usize) else { continue };
        let HookTarget::Http { url, details, .. } = &asked.target else { continue };
        let named = service.named(state);
        let (cluster, name) = (named.cluster.as_str(), named.name.as_str());
        let body = HookRequest {
            execution_id: hook.id.to_string(),
            lifecycle_stage: hook.stage.as_ecs(),
            resource_arn: identity.service_deployment(cluster, name, deployment.id),
            execution_details: ExecutionDetails {
                service_arn: identity.service(cluster, name),
                target_service_revision_arn: identity.service_revision(
                    cluster,
                    name,
                    deployment.target,
                ),
                test_traffic_weights: serde_json::Map::new(),
                production_traffic_weights: serde_json::Map::new(),
            },
            hook_details: details.clone(),
        };
        due.push(Call { service: service.id, hook: hook.id, url: url.clone(), body });
    }
    (due, None)
}

/// What a hook says. One that cannot be reached, or answers that it is not well, is asked again
/// later: only its own word fails a deployment, or that its time is over.
async fn ask(client: Result<&reqwest::Client, &String>, call: &Call) -> HookAnswer {
    let (hook, url) = (call.hook, call.url.as_str());
    tracing::info!(%hook, url, stage = call.body.lifecycle_stage, "calling a lifecycle hook");
    let answer = match client {
        Ok(client) => post(client, call).await,
        Err(why) => Err(why.clone()),
    };
    match answer {
        Ok(answer) => {
            tracing::info!(%hook, ?answer, "a lifecycle hook answered");
            answer
        }
        Err(why) => {
            tracing::warn!(%hook, url, "a lifecycle hook could not be asked, trying later: {why}");
            HookAnswer::InProgress { call_back_s: RETRY_S }
        }
    }
}

async fn post(client: &reqwest::Client, call: &Call) -> Result<HookAnswer, String> {
    let request =
        client.post(&call.url).header("idempotency-key", call.hook.to_string()).json(&call.body);
    let mut response = request.send().await.map_err(|error| chain(&error))?;
    let status = response.status();
    if status.is_server_error() || status == 408 || status == 429 {
        return Err(format!("it answered with HTTP status {status}"));
    }
    if !status.is_success() {
        return Ok(HookAnswer::Failed(format!("the hook answered with HTTP status {status}")));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| chain(&error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            let sentence = format!("the hook's answer is larger than {ANSWER_BYTES_MAX} bytes");
            return Ok(HookAnswer::Failed(sentence));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(read(&body))
}

fn read(body: &[u8]) -> HookAnswer {
    let response: HookResponse = match serde_json::from_slice(body) {
        Ok(response) => response,
        Err(error) => {
            let sentence = format!(
                "the hook's answer is not {{\"hookStatus\": \"SUCCEEDED\", \"FAILED\" or \"IN_PROGRESS\"}}: {error}"
            );
            return HookAnswer::Failed(sentence.chars().take(REASON_CHARS_MAX).collect());
        }
    };
    match response.hook_status {
        HookStatus::Succeeded => HookAnswer::Succeeded,
        HookStatus::Failed => HookAnswer::Failed("the hook answered FAILED".to_owned()),
        HookStatus::InProgress => {
            let delay = response.call_back_delay.unwrap_or(CALL_BACK_S);
            HookAnswer::InProgress { call_back_s: delay.min(CALL_BACK_S_MAX) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_says_one_of_three_things_and_anything_else_is_a_failure() {
        let said = |body: &str| read(body.as_bytes());
        assert_eq!(said(r#"{"hookStatus":"SUCCEEDED"}"#), HookAnswer::Succeeded);
        assert!(matches!(said(r#"{"hookStatus":"FAILED"}"#), HookAnswer::Failed(_)));
        assert_eq!(
            said(r#"{"hookStatus":"IN_PROGRESS"}"#),
            HookAnswer::InProgress { call_back_s: 30 }
        );
        assert_eq!(
            said(r#"{"hookStatus":"IN_PROGRESS","callBackDelay":5,"hookDetails":{"a":1}}"#),
            HookAnswer::InProgress { call_back_s: 5 }
        );
        for bad in ["", "{}", "null", r#"{"hookStatus":"DONE"}"#] {
            assert!(matches!(said(bad), HookAnswer::Failed(_)), "{bad}");
        }
    }

    /// Answers each request with the next of these bodies; tells what it was asked.
    async fn serve(
        answers: &'static [(&'static str, &'static str)],
    ) -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (asked, told) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (mut text, mut buffer) = (String::new(), [0; 4096]);
                // The body is the last thing that comes, and it ends with a brace.
                while !text.ends_with('}') {
                    let read = stream.read(&mut buffer).await.unwrap();
                    text.push_str(&String::from_utf8_lossy(&buffer[..read]));
                }
                asked.send(text).unwrap();
                let length = body.len();
                let head = "connection: close\r\ncontent-type: application/json";
                let answer = format!(
                    "HTTP/1.1 {status}\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (url, told)
    }

    #[tokio::test]
    async fn deployment_continues_when_its_hook_answers_after_a_failure() {
        use crate::{driver, journal::memory::MemoryDisk};
        use longshore_core::{
            model::deployment::DeploymentStatus,
            test_kit::world::{World, named},
        };
        let answers = &[
            ("200 OK", r#"{"hookStatus":"IN_PROGRESS","callBackDelay":0}"#),
            ("200 OK", r#"{"hookStatus":"SUCCEEDED"}"#),
        ];
        let (url, mut told) = serve(answers).await;
        let clock = Arc::new(longshore_common::clock::SystemClock::start());
        let world = World::new();
        let entropy = {
            let mut next = 0u128;
            Box::new(move || {
                next += 1 << 64;
                next
            })
        };
        let journal = MemoryDisk::default().journal();
        let (handle, _failed) = driver::start(world.state, journal, clock.clone(), entropy);
        let shutdown = CancellationToken::new();
        let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
        let running = tokio::spawn(run(handle.clone(), identity, clock, shutdown.clone()));

        let config = asks_before_scale_up(url);
        let create = longshore_core::test_kit::world::create("s", "app", config);
        handle.submit(create, |_, _| ()).await.unwrap();

        let (first, second) = (told.recv().await.unwrap(), told.recv().await.unwrap());
        let key = |text: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix("idempotency-key: "));
            line.unwrap().to_owned()
        };
        assert_eq!(key(&first), key(&second));
        assert!(first.contains(r#""lifecycleStage":"PRE_SCALE_UP""#), "{first}");
        loop {
            let (seq, over) = handle.peek(|state| {
                let service = state.service_named(&named("s")).unwrap();
                let status = service.deployment.as_ref().unwrap().status;
                (state.seq(), status == DeploymentStatus::Successful)
            });
            if over {
                break;
            }
            handle.durable(seq + 1).await.unwrap();
        }
        shutdown.cancel();
        running.await.unwrap();
    }

    /// Maximum number of looks until a call has been made and heard.
    const LOOKS: usize = 500;

    /// A blue/green service that asks `url` before it scales up.
    fn asks_before_scale_up(url: String) -> longshore_core::model::service::ServiceConfig {
        use longshore_core::{
            model::service::{DeploymentStrategy, HookAction, HookStage, LifecycleHook},
            test_kit::world::replicas,
        };
        let mut config = replicas(0);
        config.deployment.strategy = DeploymentStrategy::BlueGreen;
        config.deployment.bake_minutes = Some(0);
        config.deployment.hooks = vec![LifecycleHook {
            target: HookTarget::Http { url, role_arn: None, details: None },
            stages: vec![HookStage::PreScaleUp],
            timeout_minutes: 5,
            on_timeout: HookAction::Rollback,
        }];
        config
    }

    /// A state whose service waits for the answer of a hook at `url`.
    fn waits_for_hook(url: String) -> State {
        use longshore_core::test_kit::world::World;
        let config = asks_before_scale_up(url);
        let mut world = World::new();
        world.create(config);
        assert_eq!(world.state.hook_calls().count(), 1);
        world.state
    }

    /// What an old journal asks for may long have been answered, and no answer could be kept: one
    /// call would follow another.
    #[tokio::test]
    async fn nothing_is_acted_on_while_the_journal_is_known_to_be_old() {
        use crate::{
            driver::{CheckpointPace, Proof, stepped},
            journal::memory::MemoryDisk,
        };
        use longshore_common::{id::HostId, protocol::Epoch};
        use longshore_core::step::RULES;
        let mut next = 0u128;
        let entropy = Box::new(move || {
            next += 1 << 64;
            next
        });
        let (journal, pace) = (MemoryDisk::default().journal(), CheckpointPace::default());
        let state = waits_for_hook("http://127.0.0.1:1/".to_owned());
        let (handle, mut stepped) = stepped::start(state, journal, entropy, pace);
        let epoch = Epoch { counter: 9, incarnation: 9 };
        handle.raise_went_back(Proof {
            host: HostId::new(1),
            seen: epoch,
            seen_order: 9,
            epoch,
            last_order: 1,
        });
        // Before the hook times out.
        let at = Timestamp(1_100_000);
        let acting = handle.read_to_act(|state| state.hook_calls().count());
        tokio::pin!(acting);
        for _ in 0..LOOKS {
            stepped.turn(&RULES, at, |_| ());
            stepped.flush().unwrap();
            assert!(futures_util::poll!(&mut acting).is_pending(), "a hook of an old journal");
            tokio::task::yield_now().await;
        }
        let recovered = handle.recover(1);
        tokio::pin!(recovered);
        loop {
            tokio::select! {
                done = &mut recovered => break done.unwrap(),
                () = stepped.requested() => {
                    stepped.turn(&RULES, at, |_| ());
                    stepped.flush().unwrap();
                }
            }
        }
        for _ in 0..LOOKS {
            stepped.turn(&RULES, at, |_| ());
            stepped.flush().unwrap();
            if let std::task::Poll::Ready(calls) = futures_util::poll!(&mut acting) {
                assert_eq!(calls.unwrap(), 1);
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("nothing acts after the recovery");
    }
}
