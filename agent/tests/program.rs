//! The real program under a service manager that this test plays: when it is ready, that it lives,
//! how it ends. Neither a coordinator nor Docker is there.

#![allow(
    clippy::unwrap_used,
    reason = "a test: clippy does not see that in functions beside #[test]"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use longshore_common::{
    id::{FleetId, HostId},
    node::Node,
    protocol::Registered,
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use rustix::process::{Pid, Signal, kill_process};

const FLEET: FleetId = FleetId::new(0xf1ee7);
const HOST: HostId = HostId::new(0x4057);
/// Bounds a wait that something is wrong with; what is right comes in milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A host that has joined and registered before, as its data directory shows it.
fn known_host(directory: &Path) {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let node = Node::agent(FLEET, HOST);
    let mut host = CertificateParams::default();
    host.subject_alt_names = vec![
        SanType::DnsName(node.dns_name().try_into().unwrap()),
        SanType::URI(node.uri().try_into().unwrap()),
    ];
    host.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = host.signed_by(&key, &Issuer::from_params(&ca, &ca_key)).unwrap();
    let identity = serde_json::json!({
        "host": HOST,
        "fleet": FLEET,
        "chain": certificate.pem(),
        "trusted": ca_certificate.pem(),
        "key": key.serialize_pem(),
    });
    let identity = identity.to_string();
    longshore_common::secret_file::replace(&directory.join("identity.json"), identity.as_bytes())
        .unwrap();
    let registered = Registered {
        host: HOST,
        fleet: FLEET,
        container_instance_arn: format!("arn:aws:ecs:us-east-1:0:container-instance/web/{HOST}"),
        region: "us-east-1".to_owned(),
        account: "0".to_owned(),
    };
    let registered = serde_json::to_vec(&registered).unwrap();
    std::fs::write(directory.join("registration.json"), registered).unwrap();
}

fn command(data_dir: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore-agent"));
    command
        .env_clear()
        .arg("--config=/dev/null")
        .arg(format!("--data-dir={}", data_dir.display()))
        // Port 1: nothing listens there.
        .args(["--coordinator=127.0.0.1:1", "--docker=unix:///nowhere/docker.sock"])
        .args(["--poll-listen=127.0.0.1:0", "--introspection-listen=127.0.0.1:0"])
        // Nothing of this machine's network is changed.
        .args(["--task-endpoints-listen=off", "--allow-instance-metadata"])
        .args(["--cluster=web", "--log-format=json", "--ec2-metadata=off"])
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The running program and the socket on which it is expected to speak.
struct Service {
    agent: Child,
    socket: UnixDatagram,
    directory: tempfile::TempDir,
}

impl Service {
    fn start(watchdog: Option<Duration>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        Service::start_heard_by(socket, directory, watchdog)
    }

    /// Nothing has been read from the socket for so long that it takes no more.
    fn start_unheard() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let others = UnixDatagram::unbound().unwrap();
        others.set_nonblocking(true).unwrap();
        while others.send_to(b"STATUS=of another\n", &path).is_ok() {}
        Service::start_heard_by(socket, directory, None)
    }

    fn start_heard_by(
        socket: UnixDatagram,
        directory: tempfile::TempDir,
        watchdog: Option<Duration>,
    ) -> Self {
        known_host(directory.path());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = command(directory.path(), &[]);
        command.env("NOTIFY_SOCKET", directory.path().join("notify"));
        if let Some(timeout) = watchdog {
            command.env("WATCHDOG_USEC", timeout.as_micros().to_string());
        }
        let agent = command.spawn().unwrap();
        Service { agent, socket, directory }
    }

    /// The next thing that the program says of itself, line by line.
    fn hear(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("the agent should have said something");
        String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned).collect()
    }

    /// Everything up to the first word that has `line` in it.
    fn hear_until(&self, line: &str) -> Vec<String> {
        let mut heard = Vec::new();
        while !heard.iter().any(|heard| heard == line) {
            heard.extend(self.hear());
        }
        heard
    }

    /// Waits for a line of the log, which is then not in the output at the end.
    fn log_until(&mut self, message: &str) {
        let log = BufReader::new(self.agent.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // Read to its end, or the agent would have nowhere to write.
        thread::spawn(move || log.lines().for_each(|line| drop(sender.send(line.unwrap()))));
        while !lines.recv_timeout(PATIENCE).expect("the log should say it").contains(message) {}
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.agent.id().try_into().unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    fn end(self) -> (Output, tempfile::TempDir) {
        (self.agent.wait_with_output().unwrap(), self.directory)
    }
}

fn log(output: &Output) -> Vec<serde_json::Value> {
    String::from_utf8_lossy(&output.stderr)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not a log line: {line}")))
        .collect()
}

fn says(output: &Output, message: &str) -> bool {
    log(output).iter().any(|line| line["message"].as_str().is_some_and(|m| m.contains(message)))
}

#[test]
fn known_host_is_ready_without_coordinator_and_docker() {
    for signal in [Signal::TERM, Signal::INT] {
        let service = Service::start(None);
        let before = service.hear_until("READY=1");
        assert!(!before.iter().any(|line| line == "WATCHDOG=1" || line == "STOPPING=1"));
        service.signal(signal);
        service.hear_until("STOPPING=1");
        let (output, _directory) = service.end();
        assert!(output.status.success(), "{output:?}");
        assert!(says(&output, "the Docker Engine does not answer"), "{output:?}");
        assert!(says(&output, "every container keeps running"), "{output:?}");
    }
}

#[test]
fn the_watchdog_hears_of_the_agent_as_often_as_it_asks() {
    let service = Service::start(Some(Duration::from_millis(300)));
    service.hear_until("READY=1");
    let heard: Vec<String> = (0..3).flat_map(|_| service.hear_until("WATCHDOG=1")).collect();
    assert!(
        heard.iter().any(|line| line.starts_with("STATUS=Cluster web: 0 tasks running; Docker"))
    );
    // What is stopped as a whole says nothing; when it goes on, it says so again.
    service.signal(Signal::TERM);
    service.hear_until("STOPPING=1");
    assert!(service.end().0.status.success());
}

#[test]
fn agent_waits_for_no_service_manager_that_does_not_read() {
    let mut service = Service::start_unheard();
    service.log_until(r#""message":"ready""#);
    service.hear_until("READY=1");
    service.signal(Signal::TERM);
    assert!(service.end().0.status.success());
    let mut service = Service::start_unheard();
    service.log_until(r#""message":"ready""#);
    service.signal(Signal::TERM);
    assert!(service.end().0.status.success());
}

#[test]
fn a_second_agent_on_the_same_data_directory_is_refused() {
    let service = Service::start(None);
    service.hear_until("READY=1");
    let second = command(service.directory.path(), &[]).output().unwrap();
    assert_eq!(second.status.code(), Some(69), "{second:?}");
    assert!(log(&second).iter().any(|line| {
        line["error"].as_str().is_some_and(|error| error.contains("in use by another agent"))
    }));
    service.signal(Signal::TERM);
    service.end();
}

#[test]
fn a_port_that_is_taken_is_named_with_its_setting() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let flag = format!("--poll-listen={}", taken.local_addr().unwrap());
    let output = command(directory.path(), &[]).arg(flag).output().unwrap();
    // A flag given twice is refused before anything else.
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore-agent"));
    let output = command
        .env_clear()
        .args(["--config=/dev/null", "--coordinator=127.0.0.1:1"])
        .arg(format!("--data-dir={}", directory.path().display()))
        .arg(format!("--poll-listen={}", taken.local_addr().unwrap()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("which --poll-listen names"), "{said}");
}

#[test]
fn bad_settings_are_said_once_and_leave_nothing_behind() {
    let parent = tempfile::tempdir().unwrap();
    let data_dir = parent.path().join("data");
    let output = command(&data_dir, &["--cpu=two", "--tags=aws:a=b"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.contains("--cpu: `two` is not a number of CPU units"), "{said}");
    assert!(!data_dir.exists());
}

#[test]
fn a_new_host_without_a_token_is_told_how_to_get_one() {
    let parent = tempfile::tempdir().unwrap();
    let output = command(&parent.path().join("data"), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("longshore-coordinator join-token create"), "{said}");
    let missing = PathBuf::from("/nowhere/token");
    let flag = format!("--join-token-file={}", missing.display());
    let output = command(&parent.path().join("data"), &[&flag]).output().unwrap();
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("/nowhere/token"), "{said}");
}

#[test]
fn introspection_of_a_host_whose_coordinator_is_away_shows_what_it_is() {
    let service = Service::start(None);
    service.hear_until("READY=1");
    let port = listening_port(&service);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /v1/metadata HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains(r#""Cluster":"web""#), "{answer}");
    assert!(answer.contains(&format!("container-instance/web/{HOST}")), "{answer}");
    service.signal(Signal::TERM);
    service.end();
}

/// Of the two ports that the program listens on, the one that answers plain HTTP.
fn listening_port(service: &Service) -> u16 {
    let id = service.agent.id();
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{id}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|link| {
            let link = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(link.to_owned())
        })
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{id}/net/tcp")).unwrap();
    let ports = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens = fields[3] == "0A" && sockets.iter().any(|inode| inode == fields[9]);
        let port = u16::from_str_radix(fields[1].rsplit_once(':')?.1, 16).ok()?;
        listens.then_some(port)
    });
    ports
        .into_iter()
        .find(|port| {
            let mut stream = TcpStream::connect(("127.0.0.1", *port)).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
            let mut answer = [0; 5];
            stream.read_exact(&mut answer).is_ok() && &answer == b"HTTP/"
        })
        .expect("introspection should listen")
}
