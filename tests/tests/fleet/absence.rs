//! A host that was off for longer than its certificate lives comes back as itself, and nobody else
//! comes back in its place.

use std::{path::Path, time::Duration};

use longshore_agent::fleet::{identity::Identity, join::RenewError};
use longshore_common::{
    join_token::JoinToken,
    mutual_tls::ALPN_HTTP1,
    node::Node,
    protocol::{PROTOCOL_VERSION, REGISTER_PATH, RENEW_PATH, TASK_PATH, TaskAsk, TaskRequest},
    telemetry::chain,
};
use longshore_coordinator::fleet::client::AgentClient;
use longshore_core::{Command, command::HostCommand};

use super::{
    forge::{Forge, Shown},
    setting::{CountedPolls, Fleet, Host, START, poll_of, registration},
    stranger,
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The host's agent starts again, in the directory that it has or in a copy of it.
async fn start(fleet: &Fleet, host: &Host, directory: &Path, token: Option<JoinToken>) -> Host {
    let mut entry = host.entry.clone();
    (entry.token, entry.directory) = (token, directory.to_owned());
    let (membership, renewal) = fleet.enter(&entry).await.unwrap();
    Host { membership, renewal, directory: tempfile::tempdir().unwrap(), entry }
}

fn copy(of: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(Identity::path(of), Identity::path(copy.path())).unwrap();
    copy
}

async fn renewed(host: &mut Host) -> Result<(), String> {
    host.renewal.renew_if_due().await.map(drop).map_err(|error| {
        assert!(matches!(error, RenewError::Expired { .. }), "{error:?}");
        chain(&error)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_comes_back_as_itself_after_any_absence() {
    let mut cells = 0;
    for (fleet, away) in [(0xe40, HOUR), (0xe41, 25 * HOUR), (0xe42, 90 * DAY)] {
        for (token, restarted) in [(false, true), (true, true), (false, false)] {
            let mut fleet = Fleet::start(fleet).await;
            let mut host = fleet.host().await;
            host.membership.register(&registration("default")).await.unwrap();
            fleet.pass(away);
            let token = if token { Some(fleet.token(Some(1)).await) } else { None };
            if restarted {
                let directory = host.directory.path().to_owned();
                let again = start(&fleet, &host, &directory, token.clone()).await;
                host = Host { directory: host.directory, ..again };
            }
            // Its renewal is what brings it back; the token is not needed, and not used.
            renewed(&mut host).await.unwrap();
            let kept = Identity::load(host.directory.path()).unwrap().unwrap();
            assert_eq!(kept.host, host.membership.host, "{away:?}");
            let registered = host.membership.register(&registration("default")).await.unwrap();
            assert_eq!(registered.host, host.membership.host);
            let polls = CountedPolls::default();
            let peer = host.serve(&fleet, polls.clone()).await;
            fleet.client().poll(&peer, poll_of(&peer, 0)).await.unwrap();
            assert_eq!(polls.reached(), 1);
            let hosts = fleet.handle.read(|state| state.hosts_len()).await.unwrap();
            assert_eq!(hosts, 1, "no second host appears");
            if let Some(token) = token {
                let elsewhere = tempfile::tempdir().unwrap();
                fleet.enter(&fleet.entry(elsewhere.path(), Some(token))).await.unwrap();
            }
            cells += 1;
        }
    }
    println!("absences {cells} cells");
    assert_eq!(cells, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_never_heard_of_its_renewal_comes_back() {
    let mut fleet = Fleet::start(0xe43).await;
    let mut host = fleet.host().await;
    let before = copy(host.directory.path());
    fleet.pass(20 * HOUR);
    renewed(&mut host).await.unwrap();
    fleet.pass(90 * DAY);
    let mut again = start(&fleet, &host, before.path(), None).await;
    renewed(&mut again).await.unwrap();
    assert_eq!(Identity::load(before.path()).unwrap().unwrap().host, host.membership.host);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_copy_of_a_hosts_key_enters_with_a_token_only() {
    let mut fleet = Fleet::start(0xe44).await;
    let mut host = fleet.host().await;
    let old = copy(host.directory.path());
    for _ in 0..2 {
        fleet.pass(20 * HOUR);
        renewed(&mut host).await.unwrap();
    }
    let content = std::fs::read(Identity::path(old.path())).unwrap();
    let mut thief = start(&fleet, &host, old.path(), None).await;
    let refused = renewed(&mut thief).await.unwrap_err();
    assert!(refused.contains("not the last one that this coordinator certified"), "{refused}");
    assert!(refused.contains("longshore-coordinator join-token create"), "{refused}");
    assert!(thief.renewal.renew_if_due().await.unwrap().is_none(), "not again at once");
    assert_eq!(std::fs::read(Identity::path(old.path())).unwrap(), content, "kept as it was");

    let used_up = fleet.token(Some(1)).await;
    let elsewhere = tempfile::tempdir().unwrap();
    fleet.enter(&fleet.entry(elsewhere.path(), Some(used_up.clone()))).await.unwrap();
    for (token, enters) in [(used_up, false), (fleet.token(Some(1)).await, true)] {
        let mut again = start(&fleet, &host, old.path(), Some(token)).await;
        assert_eq!(renewed(&mut again).await.is_ok(), enters);
        let kept = Identity::load(old.path()).unwrap().unwrap();
        assert_eq!(kept.host, host.membership.host);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deregistered_host_does_not_come_back() {
    let mut fleet = Fleet::start(0xe45).await;
    let host = fleet.host().await;
    host.membership.register(&registration("default")).await.unwrap();
    let command = Command::Host(HostCommand::DeregisterContainerInstance {
        cluster: "default".parse().unwrap(),
        host: host.membership.host,
        force: true,
    });
    fleet.handle.submit(command, |_, _| ()).await.unwrap();
    fleet.pass(90 * DAY);
    for token in [None, Some(fleet.token(None).await)] {
        let mut again = start(&fleet, &host, host.directory.path(), token).await;
        let refused = renewed(&mut again).await.unwrap_err();
        assert!(refused.contains("was deregistered"), "{refused}");
        assert!(refused.contains("identity.json"), "{refused}");
        let kept = Identity::load(host.directory.path()).unwrap().unwrap();
        assert_eq!(kept.host, host.membership.host);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_certificate_opens_nothing_but_its_renewal() {
    let fleet = Fleet::start(0xe46).await;
    let host = fleet.host().await;
    let node = Node::agent(host.membership.fleet, host.membership.host);
    let task = "0".repeat(32).parse().unwrap();
    let ask = TaskRequest { protocol: PROTOCOL_VERSION, task, ask: TaskAsk::Tags, run: None };
    let calls = [
        (REGISTER_PATH, rmp_serde::to_vec_named(&registration("default")).unwrap()),
        (TASK_PATH, rmp_serde::to_vec_named(&ask).unwrap()),
        // Of this CA, and for this very host, but for a key that was never the host's.
        (RENEW_PATH, {
            let key = rcgen::KeyPair::generate().unwrap();
            let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
            let (protocol, csr) = (PROTOCOL_VERSION, csr.pem().unwrap());
            let renew = longshore_common::protocol::RenewRequest { protocol, csr, run: None };
            rmp_serde::to_vec_named(&renew).unwrap()
        }),
    ];
    let forge = Forge::of(fleet.directory.path());
    let mut cells = 0;
    for identity in forge.identities(node, START) {
        if !identity.name.starts_with("expired") {
            continue;
        }
        let Shown::Key(_) = identity.shown else { panic!("{}", identity.name) };
        for (path, body) in &calls {
            let shown = &identity.shown;
            let answer = stranger::ask(fleet.joining, shown, ALPN_HTTP1, path, body.clone()).await;
            let (status, _) = answer.unwrap();
            let expected = if *path == RENEW_PATH { 403 } else { 401 };
            assert_eq!(status, expected, "{path} {}", identity.name);
            cells += 1;
        }
    }
    println!("ended_certificates {cells} cells");
    assert_eq!(cells, 6);
}
