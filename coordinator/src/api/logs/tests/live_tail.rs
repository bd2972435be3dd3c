//! StartLiveTail: what a client of its stream reads.

use std::time::Duration;

use aws_smithy_eventstream::frame::read_message_from;
use futures_util::{Stream, StreamExt};

use super::*;

impl World {
    async fn live_tail(&self, input: Value) -> impl Stream<Item = (String, Value)> + Unpin + use<> {
        match self.answer("StartLiveTail", input).await {
            Ok(Body::Events(events)) => events.into_messages().map(|bytes| read(&bytes)).boxed(),
            Ok(Body::Whole(_)) => panic!("no stream"),
            Err(refusal) => panic!("{refusal}"),
        }
    }
}

/// The kind of a message, and what it says.
fn read(bytes: &[u8]) -> (String, Value) {
    let message = read_message_from(&mut &bytes[..]).unwrap();
    let header = |name: &str| {
        let header = message.headers().iter().find(|header| header.name().as_str() == name);
        header.map(|header| header.value().as_string().unwrap().as_str().to_owned())
    };
    assert_eq!(header(":content-type").unwrap(), "application/json");
    let kind = header(":event-type").or(header(":exception-type")).unwrap();
    (kind, serde_json::from_slice(message.payload()).unwrap())
}

/// The messages of the next update.
async fn update(messages: &mut (impl Stream<Item = (String, Value)> + Unpin)) -> Vec<String> {
    let (kind, said) = messages.next().await.unwrap();
    assert_eq!(kind, "sessionUpdate");
    let results = said["sessionResults"].as_array().unwrap();
    results.iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

/// A group that has a line already, and a session that follows it and has told of its start.
async fn followed(hosts: usize) -> (World, impl Stream<Item = (String, Value)> + Unpin) {
    let world = World::with_hosts(hosts).await;
    world.write(0, "a/app/1", 0, "from before");
    world.clock.advance(Duration::from_secs(1));
    let mut messages = world.live_tail(web()).await;
    assert_eq!(messages.next().await.unwrap().0, "initial-response");
    let (kind, start) = messages.next().await.unwrap();
    assert_eq!(kind, "sessionStart");
    assert_eq!(start["logGroupIdentifiers"], web()["logGroupIdentifiers"]);
    (world, messages)
}

fn web() -> Value {
    json!({"logGroupIdentifiers": ["arn:aws:logs:us-east-1:000000000000:log-group:/ecs/web"]})
}

#[tokio::test(start_paused = true)]
async fn a_session_tells_what_is_written_from_now_on_once_each() {
    let (world, mut messages) = followed(2).await;
    assert_eq!(update(&mut messages).await, [""; 0]);

    world.write(0, "a/app/1", 1_100, "first");
    world.write(1, "b/app/2", 1_200, "second");
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(update(&mut messages).await, ["first", "second"]);
    assert_eq!(update(&mut messages).await, [""; 0]);

    // Later, though the other host has told of later ones.
    world.write(0, "a/app/1", 1_150, "late");
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(update(&mut messages).await, ["late"]);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_answer_is_late_and_nothing_is_left_out() {
    let (world, mut messages) = followed(2).await;
    world.write(0, "a/app/1", 1_100, "here");
    world.write(1, "b/app/2", 1_200, "there");
    world.clock.advance(Duration::from_secs(1));
    let silent = world.fakes.pause(world.hosts[1]);
    let told = tokio::time::timeout(Duration::from_secs(5), async {
        while update(&mut messages).await.is_empty() {}
    });
    assert!(told.await.is_err(), "told of one host without the other");
    world.fakes.resume(world.hosts[1], silent);
    assert_eq!(update(&mut messages).await, ["here", "there"]);
}

#[tokio::test(start_paused = true)]
async fn more_than_an_update_may_have_is_sampled_and_said_so() {
    let (world, mut messages) = followed(1).await;
    for n in 0..600 {
        world.write(0, "a/app/1", 1_100, &n.to_string());
    }
    world.clock.advance(Duration::from_secs(1));
    let (_, said) = messages.next().await.unwrap();
    let said = match said["sessionResults"].as_array().unwrap().is_empty() {
        true => messages.next().await.unwrap().1,
        false => said,
    };
    assert_eq!(said["sessionMetadata"]["sampled"], true);
    assert_eq!(said["sessionResults"].as_array().unwrap().len(), 500);
    world.write(0, "a/app/1", 2_000, "after");
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(update(&mut messages).await, ["after"]);
}

#[tokio::test(start_paused = true)]
async fn session_ends_after_three_hours_or_when_its_client_is_gone() {
    let world = World::with_hosts(1).await;
    world.write(0, "a/app/1", 0, "line");
    let mut sessions = Vec::new();
    for _ in 0..15 {
        sessions.push(world.live_tail(web()).await);
    }
    let refused = world.answer("StartLiveTail", web()).await.err().unwrap();
    assert!(refused.contains("LimitExceededException"), "{refused}");
    let mut first = sessions.swap_remove(0);
    drop(sessions);
    let mut last = String::new();
    while let Some((kind, _)) = first.next().await {
        last = kind;
    }
    assert_eq!(last, "SessionTimeoutException");
    drop(world.live_tail(web()).await);
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_before_the_stream_begins() {
    let world = World::with_hosts(1).await;
    world.write(0, "a/app/1", 0, "line");
    let group = "arn:aws:logs:us-east-1:000000000000:log-group:/ecs/web";
    let mut said = String::new();
    for input in [
        json!({"logGroupIdentifiers": []}),
        json!({"logGroupIdentifiers": [format!("{group}:*")]}),
        json!({"logGroupIdentifiers": [group, group]}),
        json!({"logGroupIdentifiers": ["/ecs/other"]}),
        json!({"logGroupIdentifiers": [group], "logStreamNames": ["b"]}),
        json!({"logGroupIdentifiers": [group], "logStreamNames": ["a"], "logStreamNamePrefixes": ["a"]}),
        json!({"logGroupIdentifiers": [group, "/ecs/other"], "logStreamNames": ["a"]}),
        json!({"logGroupIdentifiers": [group], "logEventFilterPattern": "{"}),
    ] {
        let refusal = world.answer("StartLiveTail", input).await.err().expect("a refusal");
        said += &format!("{refusal}\n");
    }
    expect![[r#"
        400 InvalidParameterException: logGroupIdentifiers has 0 entries; give 1 to 10.
        400 InvalidParameterException: logGroupIdentifiers: `arn:aws:logs:us-east-1:000000000000:log-group:/ecs/web:*` ends with an asterisk; leave `:*` out.
        400 InvalidParameterException: logGroupIdentifiers names arn:aws:logs:us-east-1:000000000000:log-group:/ecs/web twice.
        400 ResourceNotFoundException: The specified log group does not exist.
        400 ResourceNotFoundException: The specified log stream does not exist.
        400 InvalidParameterException: logStreamNames and logStreamNamePrefixes cannot both be given.
        400 InvalidParameterException: logStreamNames can be given for a single log group only.
        400 InvalidParameterException: Invalid filter pattern: it ends where a selector, `$.member` is expected
    "#]].assert_eq(&said);
}
