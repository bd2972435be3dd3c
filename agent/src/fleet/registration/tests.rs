use std::sync::Mutex;

use http::StatusCode;
use longshore_common::id::{FleetId, HostId};
use tokio::sync::mpsc;

use super::*;
use crate::{
    host::machine::Machine,
    runtime::RuntimeVersion,
    settings::{self, Environment},
};

/// The last one comes first.
type Answers = Arc<Mutex<Vec<Result<(), CallError>>>>;

/// Answers as it is told to, and keeps what it was told.
struct FakeCoordinator {
    answers: Answers,
    heard: mpsc::UnboundedSender<(Instant, RegisterRequest)>,
}

impl Registers for FakeCoordinator {
    async fn register(&self, request: &RegisterRequest) -> Result<Registered, CallError> {
        self.heard.send((Instant::now(), request.clone())).unwrap();
        let answer = self.answers.lock().unwrap().pop().unwrap_or(Ok(()));
        answer.map(|()| Registered {
            host: HostId::new(1),
            fleet: FleetId::new(2),
            container_instance_arn: "arn".to_owned(),
            region: "eu-1".to_owned(),
            account: "0".to_owned(),
        })
    }
}

struct Rig {
    docker: watch::Sender<DockerReach>,
    silent: watch::Sender<bool>,
    answered: watch::Sender<Option<Epoch>>,
    answers: Answers,
    heard: mpsc::UnboundedReceiver<(Instant, RegisterRequest)>,
    registered: mpsc::UnboundedReceiver<Registered>,
    refused: mpsc::UnboundedReceiver<String>,
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

/// Keeps a host registered with a coordinator that first gives `failures`, then agrees.
fn rig(docker: DockerReach, mut failures: Vec<CallError>) -> Rig {
    let arguments = ["longshore-agent", "--config=/dev/null", "--coordinator=127.0.0.1"];
    let settings = settings::load(&arguments.map(str::to_owned), &Environment::new()).unwrap();
    let machine = Machine::read().unwrap();
    let host = Host {
        capacity: crate::host::machine::capacity(&settings, &machine, Vec::new()).unwrap(),
        poll_listen: settings.poll_listen,
        coordinators: Coordinators::open(&settings.coordinator, &settings.data_dir),
        settings: Arc::new(settings),
        machine,
        ec2: None,
    };
    let (docker, reach) = watch::channel(docker);
    let (silent, silence) = watch::channel(false);
    let (answered, answering) = watch::channel(None);
    let (refused_sender, refused) = mpsc::unbounded_channel();
    let (heard_sender, heard) = mpsc::unbounded_channel();
    let (registered_sender, registered) = mpsc::unbounded_channel();
    failures.reverse();
    let answers = Arc::new(Mutex::new(failures.into_iter().map(Err).collect::<Vec<_>>()));
    let coordinator = FakeCoordinator { answers: answers.clone(), heard: heard_sender };
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(keep_registered(
        host,
        reach,
        silence,
        answering,
        coordinator,
        move |outcome| match outcome {
            RegistrationOutcome::Registered(registered) => {
                registered_sender.send(registered).unwrap()
            }
            RegistrationOutcome::Refused(why) => refused_sender.send(why).unwrap(),
        },
        shutdown.clone(),
    ));
    Rig { docker, silent, answered, answers, heard, registered, refused, shutdown, running }
}

fn docker(version: &str) -> DockerReach {
    let last = RuntimeVersion {
        version: version.to_owned(),
        api_version: "1.41".to_owned(),
        log_drivers: vec!["json-file".to_owned()],
        ..RuntimeVersion::default()
    };
    DockerReach { asked: true, answers: true, last: Some(last) }
}

fn unreachable_coordinator() -> CallError {
    let source = io::ErrorKind::ConnectionRefused.into();
    CallError::Unreachable { address: "127.0.0.1:8421".to_owned(), source }
}

fn refusal() -> CallError {
    CallError::Refused { status: StatusCode::FORBIDDEN, message: "no such cluster".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn a_host_registers_once_and_again_when_its_docker_is_another() {
    let mut rig = rig(docker("20.10"), vec![]);
    let (_, first) = rig.heard.recv().await.unwrap();
    assert_eq!(first.versions.docker.as_deref(), Some("20.10"));
    assert_eq!(first.advertise, "127.0.0.1");
    rig.registered.recv().await.unwrap();
    tokio::time::sleep(10 * LOOK_EVERY).await;
    assert!(rig.heard.try_recv().is_err(), "nothing changed, so nothing is told");
    rig.docker.send_replace(docker("28.2"));
    let (_, second) = rig.heard.recv().await.unwrap();
    assert_eq!(second.versions.docker.as_deref(), Some("28.2"));
}

/// A host that was deregistered while it was away is polled no more, and told nothing.
#[tokio::test(start_paused = true)]
async fn a_host_that_is_not_polled_asks_and_learns_that_it_was_deregistered() {
    let mut rig = rig(docker("20.10"), vec![]);
    rig.heard.recv().await.unwrap();
    rig.registered.recv().await.unwrap();
    // Silence alone has a reachable coordinator asked, each minute, and nothing follows from it.
    rig.silent.send_replace(true);
    let mut asked = Vec::new();
    for _ in 0..3 {
        asked.push(rig.heard.recv().await.unwrap().0);
    }
    assert!(
        asked
            .windows(2)
            .all(|two| two[1].duration_since(two[0]) >= LOOK_EVERY.mul_f64(1.0 - JITTER))
    );
    rig.silent.send_replace(false);
    tokio::time::sleep(10 * LOOK_EVERY).await;
    assert!(rig.heard.try_recv().is_err(), "it polls again");
    assert!(rig.refused.try_recv().is_err());

    let answers = [Err(refusal()), Err(refusal()), Err(unreachable_coordinator())];
    rig.answers.lock().unwrap().extend(answers);
    rig.silent.send_replace(true);
    rig.heard.recv().await.unwrap();
    rig.heard.recv().await.unwrap();
    let why = rig.refused.recv().await.unwrap();
    assert!(why.contains("no such cluster"), "{why}");
    // It is asked until it agrees, also when polls come again meanwhile.
    rig.silent.send_replace(false);
    while rig.registered.try_recv().is_ok() {}
    rig.registered.recv().await.unwrap();
}

/// A coordinator that was restored from a backup knows the host as it was then.
#[tokio::test(start_paused = true)]
async fn host_registers_anew_when_another_start_of_the_coordinator_polls() {
    let mut rig = rig(docker("20.10"), vec![]);
    let (_, first) = rig.heard.recv().await.unwrap();
    let start = |counter| Some(Epoch { counter, incarnation: 1 });
    rig.answered.send_replace(start(1));
    tokio::time::sleep(10 * LOOK_EVERY).await;
    assert!(rig.heard.try_recv().is_err(), "it registered with this one");

    let before = Instant::now();
    rig.answers.lock().unwrap().push(Err(unreachable_coordinator()));
    rig.answered.send_replace(start(2));
    let (at, refused) = rig.heard.recv().await.unwrap();
    assert!(at.duration_since(before) <= ANEW_WITHIN);
    let (again, taken) = rig.heard.recv().await.unwrap();
    assert!(again.duration_since(at) >= RETRY_MIN.mul_f64(1.0 - JITTER));
    assert_eq!((&refused, &taken), (&first, &first));
    tokio::time::sleep(10 * LOOK_EVERY).await;
    assert!(rig.heard.try_recv().is_err(), "once is enough");
}

#[tokio::test(start_paused = true)]
async fn first_registration_waits_briefly_for_docker_then_continues() {
    let before = Instant::now();
    let mut rig = rig(DockerReach::default(), vec![]);
    let (at, first) = rig.heard.recv().await.unwrap();
    assert_eq!(first.versions.docker, None);
    assert!(at.duration_since(before) >= DOCKER_ANSWERS_WITHIN);
    rig.docker.send_replace(docker("20.10"));
    let (_, second) = rig.heard.recv().await.unwrap();
    assert!(second.attributes.len() > first.attributes.len());
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_from_three_seconds_to_a_minute_and_never_end() {
    let failures = (0..9).map(|i| if i % 2 == 0 { unreachable_coordinator() } else { refusal() });
    let mut rig = rig(docker("20.10"), failures.collect());
    let mut last = Instant::now();
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let (at, _) = rig.heard.recv().await.unwrap();
        pauses.push(at.duration_since(last).as_secs_f64());
        last = at;
    }
    rig.registered.recv().await.unwrap();
    for (pause, expected) in
        pauses.iter().zip([0.0, 3.0, 6.0, 12.0, 24.0, 48.0, 60.0, 60.0, 60.0, 60.0])
    {
        let jitter = expected * JITTER + 0.1;
        assert!((pause - expected).abs() <= jitter, "{pause} s is not about {expected} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_it_in_the_middle_of_a_pause() {
    let mut rig = rig(docker("20.10"), vec![unreachable_coordinator()]);
    rig.heard.recv().await.unwrap();
    let before = Instant::now();
    rig.shutdown.cancel();
    rig.running.await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
}
