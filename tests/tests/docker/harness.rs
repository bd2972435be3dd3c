//! The harness itself: three engines that know nothing of each other.

use std::time::Duration;

use longshore_harness::{
    command::run,
    docker_engine::{DockerEngine, EngineSettings},
    engine_api::EngineApi,
    image::{self, SAMPLE_IMAGE, SAMPLE_PAGE},
    namespaces::{Host, Network},
    recording_proxy::RecordingProxy,
    slot::Slot,
};
use serde_json::json;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);

fn settings(slot: &Slot, host: &Host) -> EngineSettings {
    EngineSettings {
        name: host.name().to_owned(),
        folder: slot.folder().join(host.name()),
        host: Some(host.clone()),
        control_group: slot.control_group(),
        live_restore: false,
    }
}

#[tokio::test]
async fn what_reaches_an_engine_through_a_recording_proxy_is_counted() {
    let slot = Slot::take().unwrap();
    let network = Network::create(&slot, 1).unwrap();
    let engine = DockerEngine::start(settings(&slot, &network.hosts()[0])).await.unwrap();
    image::import_sample(&engine.api(), slot.folder()).await.unwrap();
    let proxy = RecordingProxy::start(slot.folder().join("proxy.sock"), engine.socket()).unwrap();
    let api = EngineApi::at(proxy.socket());
    let exit = json!({ "Image": SAMPLE_IMAGE, "Cmd": ["/bin/sh", "-c", "exit 3"] });
    let id = api.run("exits", exit).await.unwrap();
    assert_eq!(api.wait(&id).await.unwrap(), 3);
    assert_eq!(api.containers(true).await.unwrap().len(), 1);
    let changes: Vec<_> = proxy.changes().into_iter().map(|call| call.path).collect();
    let start = format!("/containers/{id}/start");
    assert_eq!(changes, ["/containers/create?name=exits", &start]);
    assert_eq!(proxy.calls().len(), 4);
}

/// Asks until there is an answer: a server that was started and a cable that was healed take their moment.
async fn page(ask: impl Fn() -> anyhow::Result<String>) -> String {
    let asking = async {
        loop {
            match ask() {
                Ok(page) => return page,
                Err(_) => sleep(LOOK_EVERY).await,
            }
        }
    };
    timeout(PATIENCE, asking).await.expect("nobody answers")
}

#[tokio::test]
async fn three_hosts_have_engines_of_their_own_and_reach_each_other() {
    let slot = Slot::take().unwrap();
    let network = Network::create(&slot, 3).unwrap();
    let archive = image::sample_archive(slot.folder()).unwrap();
    let starting = network.hosts().iter().map(|host| DockerEngine::start(settings(&slot, host)));
    let engines = futures_util::future::try_join_all(starting).await.unwrap();
    for (engine, host) in engines.iter().zip(network.hosts()) {
        let api = engine.api();
        image::import(&api, &archive).await.unwrap();
        let config = json!({
            "Image": SAMPLE_IMAGE,
            "HostConfig": { "PortBindings": { "80/tcp": [{ "HostPort": "8080" }] } },
        });
        api.run("web", config).await.unwrap();
        assert_eq!(api.containers(false).await.unwrap().len(), 1);
        let page = page(|| run("curl", &["-sS", &format!("http://{}:8080/", host.address())]));
        assert_eq!(page.await, SAMPLE_PAGE);
        let exit = json!({ "Image": SAMPLE_IMAGE, "Cmd": ["/bin/sh", "-c", "exit 7"] });
        let id = api.run("exits", exit).await.unwrap();
        assert_eq!(api.wait(&id).await.unwrap(), 7);
    }
    let (first, second) = (&network.hosts()[0], &network.hosts()[1]);
    let ask = format!("http://{}:8080/", second.address());
    let from_first = ["--net=".to_owned() + &first.namespace().display().to_string()];
    let ask_from_first = || {
        let curl = ["curl", "-sS", "--max-time", "1", &ask].map(str::to_owned);
        run("nsenter", &[&from_first[..], &curl[..]].concat())
    };
    assert_eq!(page(ask_from_first).await, SAMPLE_PAGE);
    second.cut().unwrap();
    assert!(ask_from_first().is_err());
    second.heal().unwrap();
    assert_eq!(page(ask_from_first).await, SAMPLE_PAGE);
}
