use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use longshore_common::clock::SystemClock;
use longshore_core::{
    command::EpochCommand,
    model::{
        auto_scaling::{GroupConfig, LaunchSource},
        capacity_provider::{CapacityPolicy, LauncherPolicy},
    },
};

use super::*;
use crate::{driver, journal::memory::MemoryDisk};

/// Timeout of all that these tests wait for.
const SOON: Duration = Duration::from_secs(20);

/// A launcher that keeps a file for each machine, `ID` or `ID.2`, and notes what it was asked.
const MACHINES: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 9
echo "$1 $2 cluster=$LONGSHORE_CLUSTER to=$LONGSHORE_COORDINATOR id=$LONGSHORE_INSTANCE_ID log=$LONGSHORE_LOG" >> asked
test "$1" = launch && test -z "$3" && { echo "no token" >&2; exit 8; }
test -e fail && { echo one; echo two >&2; echo "the power is off" >&2; exit 3; }
test -e hang && { sleep 600 & wait; }
case "$1" in
launch) test -e lose && { rm lose; exit 0; }; test -e "machines/$2" || : > "machines/$2" ;;
terminate) rm -f "machines/$2" ;;
list) ls machines ;;
esac
"#;

struct World {
    directory: tempfile::TempDir,
    disk: MemoryDisk,
    handle: Handle,
    running: tokio::task::JoinHandle<()>,
    shutdown: CancellationToken,
}

fn program(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("launcher");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("machines")).unwrap();
        program(directory.path(), MACHINES);
        Self::start(directory, MemoryDisk::default(), 1).await
    }

    async fn start(directory: tempfile::TempDir, disk: MemoryDisk, incarnation: u64) -> Self {
        let clock = Arc::new(SystemClock::start());
        let path = directory.path().join("launcher");
        let launcher = Launcher {
            kind: LauncherKind::Program { path, helper: false },
            timeout: Duration::from_secs(2),
            boot_deadline: Duration::from_secs(600),
            size: None,
        };
        let launchers = BTreeMap::from([("rack".to_owned(), launcher)]);
        let mut state = disk.recover();
        let policy = LauncherPolicy {
            boot_deadline: Duration::from_secs(600),
            size: None,
            names_machines: false,
        };
        state.set_capacity_policy(CapacityPolicy {
            launchers: BTreeMap::from([("rack".to_owned(), policy)]),
            ..CapacityPolicy::default()
        });
        let mut next = u128::from(incarnation) << 100;
        let entropy = Box::new(move || {
            next += 1 << 64;
            next
        });
        let (handle, _) = driver::start(state, disk.journal(), clock.clone(), entropy);
        let launching = Launching {
            launchers,
            ca: CaHash([7; 32]),
            coordinator: "here:8421".to_owned(),
            data_dir: directory.path().to_owned(),
        };
        let (list_every, look_every) = (Duration::from_millis(200), Duration::from_millis(100));
        let rounds = aws::RoundPace { apart: look_every, waiting: look_every, idle: list_every };
        let pace = Pace { list_every, look_every, rounds };
        let shutdown = CancellationToken::new();
        let running =
            tokio::spawn(run_at(pace, handle.clone(), launching, clock, shutdown.clone()));
        // It runs before anything may be scheduled, as in a start.
        handle
            .submit(Command::Epoch(EpochCommand::StartEpoch { incarnation }), |_, _| ())
            .await
            .unwrap();
        handle.submit(Command::Epoch(EpochCommand::BeginScheduling), |_, _| ()).await.unwrap();
        World { directory, disk, handle, running, shutdown }
    }

    /// Ends without a word, as a crash does, and starts again on the same journal.
    async fn crash(self) -> Self {
        self.running.abort();
        let _ = self.running.await;
        let (directory, disk) = (self.directory, self.disk);
        Self::start(directory, disk, 2).await
    }

    async fn make_group(&self, desired: u32) {
        let config = GroupConfig {
            min: 0,
            max: 5,
            desired,
            cooldown_s: 0,
            grace_s: 0,
            protects_new: false,
            launch: LaunchSource::Template { launcher: "rack".to_owned(), version: None },
            zones: Vec::new(),
            subnets: None,
            tags: BTreeMap::new(),
        };
        let name = "g".parse().unwrap();
        let create = Command::AutoScaling(AutoScalingCommand::CreateAutoScalingGroup {
            name,
            config: Box::new(config),
        });
        self.handle.submit(create, |_, _| ()).await.unwrap();
    }

    async fn want(&self, desired: u32) {
        let name = "g".parse().unwrap();
        let set = Command::AutoScaling(AutoScalingCommand::SetDesiredCapacity {
            name,
            desired,
            honour_cooldown: false,
        });
        self.handle.submit(set, |_, _| ()).await.unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn machines(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.file("machines")).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn known(&self) -> Vec<String> {
        self.handle.peek(|state| state.instances_after(None).map(|id| id.to_string()).collect())
    }

    fn asked(&self) -> String {
        std::fs::read_to_string(self.file("asked")).unwrap_or_default()
    }

    /// Waits until the state, or what is there, is as it should be. Looks at each change.
    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let comes = async {
            while !is_so(self) {
                let seq = self.handle.peek(|state| state.seq());
                let changes = self.handle.durable(seq + 1);
                // Files tell nobody that they changed.
                let _ = tokio::time::timeout(Duration::from_millis(50), changes).await;
            }
        };
        if tokio::time::timeout(SOON, comes).await.is_err() {
            panic!("{what}: {:?} {:?}\n{}", self.machines(), self.known(), self.asked());
        }
    }

    fn error(&self) -> Option<String> {
        self.handle.peek(|state| {
            let first = state.instances_after(None).next()?;
            state.instance(first)?.1.tries.error.clone()
        })
    }

    fn touch(&self, name: &str) {
        std::fs::write(self.file(name), "").unwrap();
    }

    fn all_launched(&self) -> bool {
        self.handle.peek(|state| {
            let mut all = state.instances_after(None).filter_map(|id| state.instance(id));
            all.all(|(_, one)| matches!(one.lifecycle, Lifecycle::Pending { launched: Some(_) }))
        })
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.running.await.unwrap();
    }
}

#[tokio::test]
async fn a_launcher_is_told_what_to_launch_and_what_to_terminate() {
    let world = World::new().await;
    world.make_group(2).await;
    world.until("two machines", |world| world.machines().len() == 2 && world.all_launched()).await;
    assert_eq!(world.machines(), world.known());
    let id = &world.known()[0];
    let asked = world.asked();
    assert!(
        asked.contains(&format!("launch {id} cluster= to=here:8421 id={id} log=\n")),
        "{asked}"
    );
    world.want(0).await;
    world.until("none", |world| world.machines().is_empty() && world.known().is_empty()).await;
    let tokens = world.handle.peek(|state| {
        state.join_tokens().iter().map(|token| token.token.uses_left).collect::<Vec<_>>()
    });
    assert_eq!(tokens, [Some(1); 2], "each launch has a token for one host");
    world.end().await;
}

#[tokio::test]
async fn a_failure_is_told_with_the_end_of_what_the_program_said() {
    let world = World::new().await;
    world.touch("fail");
    world.make_group(1).await;
    world.until("a failure", |world| world.error().is_some()).await;
    let error = world.error().unwrap();
    assert_eq!(error, "the program ended with status 3: two | the power is off");
    world.end().await;
}

#[tokio::test]
async fn a_program_that_hangs_is_killed_with_all_that_it_started() {
    let directory = tempfile::tempdir().unwrap();
    let text =
        "#!/bin/sh\necho working >&2\nsleep 987 & echo $! > \"$(dirname \"$0\")/child\"\nwait\n";
    let program = program(directory.path(), text);
    let failed = exec::run(&program, &["list"], &[], Duration::from_millis(700)).await.unwrap_err();
    assert_eq!(failed, "the program was killed after 0.7 s: working");
    let child = std::fs::read_to_string(directory.path().join("child")).unwrap();
    let stat = PathBuf::from(format!("/proc/{}/stat", child.trim()));
    // It is killed and takes a moment to die, of which nothing tells those who are not its parent.
    let dies = async {
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, dies).await.expect("what the program started is killed too");
    let absent = exec::run(Path::new("/no/such"), &[], &[], SOON).await.unwrap_err();
    assert!(absent.starts_with("the program /no/such cannot be started"), "{absent}");
}

#[tokio::test]
async fn too_few_and_too_many_machines_converge_by_the_list() {
    let world = World::new().await;
    // It says that it launched, and did not.
    world.touch("lose");
    world.make_group(2).await;
    world.until("both", |world| world.machines().len() == 2 && world.all_launched()).await;
    assert_eq!(world.machines(), world.known());
    // A machine of ours that was let go, and one that is somebody else's.
    let ours = world.known()[1].clone();
    world.want(1).await;
    world.until("one", |world| world.machines().len() == 1 && world.known().len() == 1).await;
    world.touch(&format!("machines/{ours}"));
    world.touch("machines/i-fffffffffffffffff");
    world.touch("machines/database");
    world.until("the leftover goes", |world| !world.machines().contains(&ours)).await;
    world.until("its end is known", |world| world.known().len() == 1).await;
    assert_eq!(world.machines().len(), 3, "others are left alone: {:?}", world.machines());
    world.end().await;
}

#[tokio::test]
async fn a_call_that_a_crash_cut_off_is_made_again() {
    let world = World::new().await;
    world.touch("hang");
    world.make_group(1).await;
    world.until("it is asked", |world| world.asked().contains("launch ")).await;
    let id = world.known()[0].clone();
    let world = world.crash().await;
    assert_eq!(world.known(), [id.as_str()], "the wish for it was kept");
    std::fs::remove_file(world.file("hang")).unwrap();
    world.until("it is there", |world| world.machines() == [id.as_str()]).await;
    world.until("it is known", World::all_launched).await;
    assert_eq!(world.known(), world.machines());
    world.end().await;
}
