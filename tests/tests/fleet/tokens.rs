//! P22: joining is safe.

use std::time::Duration;

use longshore_agent::fleet::join::{CallError, EnterError};
use longshore_common::{
    join_token::{CaHash, JoinSecret, JoinToken},
    mutual_tls::ALPN_HTTP1,
    node::Node,
    protocol::{JOIN_PATH, JoinRequest, PROTOCOL_VERSION},
};
use longshore_core::{Command, command::TokenCommand};

use super::{
    forge::{Forge, Shown},
    setting::{Fleet, START, registration},
    stranger,
};

/// The sentence that a host is refused with.
async fn refusal(fleet: &Fleet, token: JoinToken) -> String {
    let directory = tempfile::tempdir().unwrap();
    let refused = fleet.enter(&fleet.entry(directory.path(), Some(token))).await;
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is kept");
    match refused.err().expect("refused") {
        EnterError::Join(CallError::Refused { status, message }) => {
            assert_eq!(status, 403);
            message
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_no_good_is_refused_with_the_reason() {
    let fleet = Fleet::start(0xf4).await;
    let unlimited = fleet.token(None).await;
    let used_up = fleet.token(Some(1)).await;
    let (revoked, id) = fleet.token_with_id(None, None).await;
    fleet
        .handle
        .submit(Command::Token(TokenCommand::RevokeJoinToken { id }), |_, _| ())
        .await
        .unwrap();
    let wrong = JoinToken { ca: unlimited.ca, secret: JoinSecret::new([7; 16]) };

    let directory = tempfile::tempdir().unwrap();
    fleet.enter(&fleet.entry(directory.path(), Some(used_up.clone()))).await.unwrap();
    let mut cells = 0;
    for (token, reason) in
        [(wrong, "not known"), (used_up, "no uses left"), (revoked, "was revoked")]
    {
        let message = refusal(&fleet, token).await;
        assert!(message.contains(reason), "{message}");
        assert!(message.contains("longshore-coordinator join-token create"), "{message}");
        cells += 1;
    }
    for _ in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        fleet.enter(&fleet.entry(directory.path(), Some(unlimited.clone()))).await.unwrap();
        cells += 1;
    }
    fleet.clock.advance(Duration::from_secs(3600));
    let message = refusal(&fleet, unlimited).await;
    assert!(message.contains("has expired"), "{message}");
    cells += 1;
    println!("tokens_judged {cells} cells");
    assert_eq!(cells, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_for_one_cluster_lets_a_host_into_that_cluster_only() {
    let fleet = Fleet::start(0xf5).await;
    let (token, _) = fleet.token_with_id(None, Some("default")).await;
    let directory = tempfile::tempdir().unwrap();
    let entry = fleet.entry(directory.path(), Some(token));
    let (membership, _) = fleet.enter(&entry).await.unwrap();
    let refused = membership.register(&registration("web")).await.unwrap_err().to_string();
    assert!(refused.contains("for the cluster default"), "{refused}");
    let registered = membership.register(&registration("default")).await.unwrap();
    assert_eq!(
        registered.container_instance_arn,
        format!(
            "arn:aws:ecs:us-east-1:000000000000:container-instance/default/{}",
            membership.host
        )
    );
    assert_eq!(registered.host, membership.host);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_tokens_are_throttled_and_join_nobody() {
    let fleet = Fleet::start(0xf6).await;
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let (mut joined, mut refused, mut throttled) = (0, 0, 0);
    for attempt in 0..300u16 {
        let mut secret = [0xee; 16];
        secret[..2].copy_from_slice(&attempt.to_be_bytes());
        let secret = match attempt % 3 {
            0 => "not even a secret".to_owned(),
            _ => JoinSecret::new(secret).expose_text(),
        };
        let request = JoinRequest {
            protocol: PROTOCOL_VERSION,
            secret,
            csr: csr.clone(),
            host: None,
            run: None,
        };
        let body = rmp_serde::to_vec_named(&request).unwrap();
        let answer =
            stranger::ask(fleet.joining, &Shown::Nothing, ALPN_HTTP1, JOIN_PATH, body).await;
        match answer.unwrap().0.as_u16() {
            200 => joined += 1,
            403 => refused += 1,
            429 => throttled += 1,
            other => panic!("{other}"),
        }
    }
    println!("joined {joined} hosts\nrefused {refused} attempts\nthrottled {throttled} attempts");
    assert_eq!((joined, refused, throttled), (0, 10, 290));
    // A good token is as good as ever, at once and from the same address.
    fleet.host().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_do_not_keep_hosts_from_joining() {
    let fleet = Fleet::start(0x1f6).await;
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(tokio::net::TcpStream::connect(fleet.joining).await.unwrap());
    }
    fleet.host().await;
    // It did not wait until they were given up.
    let newest = silent.last().unwrap().try_read(&mut [0; 1]);
    assert_eq!(newest.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answer_does_not_use_up_a_token() {
    let fleet = Fleet::start(0x2f6).await;
    let token = fleet.token(Some(1)).await;
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let other = rcgen::KeyPair::generate().unwrap();
    let other =
        rcgen::CertificateParams::default().serialize_request(&other).unwrap().pem().unwrap();
    let ask = async |csr: &str| {
        let request = JoinRequest {
            protocol: PROTOCOL_VERSION,
            secret: token.secret.expose_text(),
            csr: csr.to_owned(),
            host: None,
            run: None,
        };
        let body = rmp_serde::to_vec_named(&request).unwrap();
        let asked = stranger::ask(fleet.joining, &Shown::Nothing, ALPN_HTTP1, JOIN_PATH, body);
        let (status, body) = asked.await.unwrap();
        let certificate = rmp_serde::from_slice::<longshore_common::protocol::Certificate>(&body);
        (status.as_u16(), certificate.ok().map(|certificate| certificate.host))
    };
    let (status, host) = ask(&csr).await;
    assert_eq!(status, 200);
    for _ in 0..3 {
        assert_eq!(ask(&csr).await, (200, host), "the same key is the same host");
    }
    assert_eq!(ask(&other).await, (403, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_hosts_that_race_for_one_use_one_wins() {
    let fleet = Fleet::start(0xf7).await;
    let (mut winners, rounds, racers) = (0, 4, 8);
    for _ in 0..rounds {
        let token = fleet.token(Some(1)).await;
        let directories: Vec<_> = (0..racers).map(|_| tempfile::tempdir().unwrap()).collect();
        let entries: Vec<_> = directories
            .iter()
            .map(|directory| fleet.entry(directory.path(), Some(token.clone())))
            .collect();
        let raced =
            futures_util::future::join_all(entries.iter().map(|entry| fleet.enter(entry))).await;
        winners += raced.iter().filter(|outcome| outcome.is_ok()).count();
        // Those who lost are failures of this address, which are forgiven with time.
        fleet.clock.advance(Duration::from_secs(60));
    }
    println!("races {rounds} races of {racers} hosts\nwinners {winners} hosts");
    assert_eq!(winners, rounds);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_secret_is_never_said_to_a_server_of_another_ca() {
    let fleet = Fleet::start(0xf8).await;
    let token = fleet.token(None).await;
    let forge = Forge::of(fleet.directory.path());
    let node = Node::coordinator(fleet.authority.fleet());
    let (mut cells, mut said) = (0, 0);
    for identity in forge.identities(node, START) {
        // Any fleet's name will do: the host does not know its fleet yet, it knows the CA. And
        // nobody but the CA's owner can have a certificate of the CA for another fleet.
        let knows_not = identity.name == "other fleet of the same CA";
        if identity.is_right || knows_not {
            continue;
        }
        let directory = tempfile::tempdir().unwrap();
        let (address, heard) = stranger::listen(identity.shown.clone(), 1).await;
        let mut entry = fleet.entry(directory.path(), Some(token.clone()));
        entry.coordinator = address.to_string();
        if let Shown::Key(_) = identity.shown {
            // Whoever is believed is called again and again.
            let refused = tokio::time::timeout(stranger::PATIENCE, fleet.enter(&entry)).await;
            assert!(matches!(refused, Ok(Err(_))), "{} was believed", identity.name);
            said += heard.await.unwrap().len();
        } else {
            // Something that speaks no TLS may be starting up, so the host tries again.
            tokio::select! {
                entered = fleet.enter(&entry) => panic!("{}: {:?}", identity.name, entered.err()),
                heard = heard => said += heard.unwrap().len(),
            }
        }
        cells += 1;
    }
    println!("impostors {cells} cells\nbytes_said {said} bytes");
    assert_eq!((cells, said), (25, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_whose_ca_is_not_the_tokens_is_named_as_such() {
    let (fleet, other) = (Fleet::start(0xf9).await, Fleet::start(0xfa).await);
    let mut token = fleet.token(None).await;
    token.ca = CaHash(other.authority.hash().0);
    let directory = tempfile::tempdir().unwrap();
    let error = fleet.enter(&fleet.entry(directory.path(), Some(token))).await.err().unwrap();
    assert!(matches!(error, EnterError::Join(CallError::OtherCa { .. })), "{error:?}");
}
