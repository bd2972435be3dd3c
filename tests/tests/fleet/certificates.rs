//! P21: a certificate is one node in one role. Every internal call, made or answered by everybody
//! who is not quite the one node that may.

use longshore_common::{
    mutual_tls::{ALPN_HTTP1, ALPN_HTTP2},
    node::Node,
    protocol::{POLL_PATH, PROTOCOL_VERSION, REGISTER_PATH, RENEW_PATH, RenewRequest},
};
use longshore_coordinator::fleet::client::{AgentClient, Peer, PollError};
use longshore_core::{Command, command::HostCommand};

use super::{
    forge::{Forge, Shown},
    setting::{CountedPolls, Fleet, START, poll_of, registration},
    stranger,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_fleets_coordinator_reaches_the_poll_handler() {
    let fleet = Fleet::start(0xf1).await;
    let host = fleet.host().await;
    let polls = CountedPolls::default();
    let peer = host.serve(&fleet, polls.clone()).await;
    let body = rmp_serde::to_vec_named(&poll_of(&peer, 0)).unwrap();
    let identities =
        Forge::of(fleet.directory.path()).identities(Node::coordinator(peer.fleet), START);
    let (mut cells, mut let_in) = (0, 0);
    for protocol in [ALPN_HTTP2, ALPN_HTTP1] {
        for identity in &identities {
            let server = peer.address.parse().unwrap();
            let answer =
                stranger::ask(server, &identity.shown, protocol, POLL_PATH, body.clone()).await;
            let passed = answer.is_some_and(|(status, _)| status.is_success());
            let may = identity.is_right && protocol == ALPN_HTTP2;
            assert_eq!(passed, may, "{}", identity.name);
            let_in += usize::from(may);
            assert_eq!(polls.reached(), let_in, "{}", identity.name);
            cells += 1;
        }
    }
    println!("poll_identities {cells} cells");
    println!("poll_reached {} polls", polls.reached());
    assert_eq!((cells, polls.reached()), (54, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_coordinator_says_nothing_to_whoever_is_not_the_host_it_dialled() {
    let fleet = Fleet::start(0xf2).await;
    let host = fleet.host().await;
    let node = Node::agent(host.membership.fleet, host.membership.host);
    let mut cells = 0;
    for identity in Forge::of(fleet.directory.path()).identities(node, START) {
        let (address, heard) = stranger::listen(identity.shown.clone(), 1).await;
        let peer = Peer {
            host: host.membership.host,
            fleet: host.membership.fleet,
            address: address.to_string(),
        };
        let client = fleet.client();
        let polled = client.poll(&peer, poll_of(&peer, 0));
        if identity.is_right {
            // It hears the poll, and hangs up.
            let error = polled.await.unwrap_err();
            assert!(error.is_disconnection(), "{error:?}");
            assert!(!heard.await.unwrap().is_empty());
        } else {
            let error = polled.await.unwrap_err();
            let reset = matches!(identity.shown, Shown::Plain | Shown::Nothing);
            let known = matches!(error, PollError::Identity(_)) || reset;
            assert!(known, "{}: {error:?}", identity.name);
            assert_eq!(heard.await.unwrap().len(), 0, "{}", identity.name);
        }
        cells += 1;
    }
    println!("dial_identities {cells} cells");
    assert_eq!(cells, 27);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_renews_and_registers_as_itself_only() {
    let fleet = Fleet::start(0xf3).await;
    let host = fleet.host().await;
    let node = Node::agent(host.membership.fleet, host.membership.host);
    let csr = {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::default();
        params.serialize_request(&key).unwrap().pem().unwrap()
    };
    let renew = RenewRequest { protocol: PROTOCOL_VERSION, csr, run: None };
    let calls = [
        (RENEW_PATH, rmp_serde::to_vec_named(&renew).unwrap()),
        (REGISTER_PATH, rmp_serde::to_vec_named(&registration("default")).unwrap()),
    ];
    let forge = Forge::of(fleet.directory.path());
    let mut cells = 0;
    for (path, body) in &calls {
        for identity in forge.identities(node, START) {
            let shown = &identity.shown;
            let answer = stranger::ask(fleet.joining, shown, ALPN_HTTP1, path, body.clone()).await;
            let passed = answer.as_ref().is_some_and(|(status, _)| status.is_success());
            assert_eq!(passed, identity.is_right, "{path} {}: {answer:?}", identity.name);
            cells += 1;
        }
    }
    let hosts = fleet.handle.read(|state| state.hosts_len()).await.unwrap();
    assert_eq!(hosts, 1, "registered by the right identity only");

    // The certificate is good, but the host was deregistered since.
    let command = Command::Host(HostCommand::DeregisterContainerInstance {
        cluster: "default".parse().unwrap(),
        host: host.membership.host,
        force: true,
    });
    fleet.handle.submit(command, |_, _| ()).await.unwrap();
    for (path, body) in &calls {
        let shown = Shown::Key(forge.right(node, START));
        let answer = stranger::ask(fleet.joining, &shown, ALPN_HTTP1, path, body.clone()).await;
        let (status, body) = answer.unwrap();
        assert_eq!(status, 403);
        let sentence = String::from_utf8(body.to_vec()).unwrap();
        assert!(sentence.contains("was deregistered"), "{sentence}");
        cells += 1;
    }
    println!("joining_identities {cells} cells");
    assert_eq!(cells, 56);
}
