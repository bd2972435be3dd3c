//! The helper on a real kernel: what it opens, makes and mounts, and what nobody gets it to.

use std::{
    os::unix::{
        fs::{MetadataExt, PermissionsExt, symlink},
        net::UnixListener,
    },
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
};

use longshore_common::{
    id::{HostId, TaskId},
    task_policy::{Forbidden, TaskPolicy},
};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount},
};

use super::{
    protocol::{BindOptions, BindRequest, HelperReply, HelperRequest, MountSource, TaskMounts},
    table::MountTable,
    *,
};
use crate::settings::FileSystems;

mod file_systems;

const HOST: HostId = HostId::new(7);
/// Swaps of a name while it is being mounted.
const RACES: usize = 400;
/// Maximum of tries while the swapping thread is given no processor.
const STARVED_RACES_MAX: usize = 1_000_000;

/// A folder of the test's own. Nothing in it is removed while anything is mounted below it.
struct Sandbox(PathBuf);

impl Sandbox {
    fn new() -> Self {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap().keep();
        fs_err::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        Sandbox(folder.canonicalize().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs_err::create_dir_all(&path).unwrap();
        path
    }

    fn link(&self, name: &str, to: impl AsRef<Path>) -> PathBuf {
        symlink(to, self.path(name)).unwrap();
        self.path(name)
    }

    fn helper(&self, rules: MountRules) -> Helper {
        Helper::new(&self.path("helper"), rules).unwrap()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let mounted = || {
            let table = MountTable::read().unwrap();
            let mut below: Vec<PathBuf> = table.below(&self.0).map(|m| m.at.clone()).collect();
            below.extend(table.is_mounted(&self.0).then(|| self.0.clone()));
            below.sort();
            below
        };
        for at in mounted().iter().rev() {
            let _ = unmount(at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
        }
        if mounted().is_empty() {
            let _ = fs_err::remove_dir_all(&self.0);
        }
    }
}

fn task(number: u128) -> TaskMounts {
    TaskMounts { host: HOST, task: TaskId::new(number), generation: 1 }
}

fn request(source: MountSource) -> BindRequest {
    let options = BindOptions::default();
    BindRequest { task: task(1), volume: 0, source, devices: false, options }
}

impl Helper {
    fn bind(&self, request: &BindRequest) -> Result<PathBuf, String> {
        self.bind_while(request, || true)
    }
}

fn of_host(path: impl Into<PathBuf>) -> BindRequest {
    request(MountSource::Host { path: path.into() })
}

fn file_systems(items: &[String]) -> FileSystems {
    FileSystems::read(items).unwrap()
}

fn fenced(roots: &[PathBuf], forbidden: &[Forbidden]) -> MountRules {
    MountRules {
        policy: TaskPolicy {
            forbidden: forbidden.iter().copied().collect(),
            bind_roots: Some(roots.to_vec()),
            ..TaskPolicy::default()
        },
        ..MountRules::default()
    }
}

/// As `stat` shows it.
fn shown(path: &Path) -> (u32, u32, u32) {
    let found = fs_err::metadata(path).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

/// Of an engine, in a folder of its own.
fn with_socket(sandbox: &Sandbox) -> (MountRules, UnixListener) {
    let folder = sandbox.directory("run/engine");
    let socket = folder.join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let forbidden = [Forbidden::DockerSocket, Forbidden::Devices].into();
    let policy = TaskPolicy { forbidden, ..TaskPolicy::default() };
    (MountRules { policy, engine_sockets: vec![socket], ..MountRules::default() }, listener)
}

#[test]
fn an_engines_socket_is_told_by_its_inode() {
    let sandbox = Sandbox::new();
    let (rules, _listener) = with_socket(&sandbox);
    let helper = sandbox.helper(rules);
    let socket = sandbox.path("run/engine/engine.sock");
    sandbox.link("link.sock", &socket);
    sandbox.link("link-to-run", sandbox.path("run"));
    sandbox.directory("run/bound");
    std::fs::hard_link(&socket, sandbox.path("run/bound/other-name")).unwrap();
    let elsewhere = sandbox.directory("srv/elsewhere");
    mount_bind(sandbox.path("run/engine"), &elsewhere).unwrap();
    let file = sandbox.path("a-file");
    fs_err::write(&file, "").unwrap();
    mount_bind(&socket, &file).unwrap();
    let refused = [
        socket.clone(),
        sandbox.path("run/engine"),
        sandbox.path("run"),
        sandbox.path("run/../run"),
        sandbox.path("link.sock"),
        sandbox.path("link-to-run"),
        sandbox.path("link-to-run/engine"),
        sandbox.path("run/bound/other-name"),
        elsewhere,
        sandbox.path("srv"),
        file,
        PathBuf::from(format!("/proc/self/root{}", socket.display())),
        PathBuf::from(format!("/proc/self/cwd/..{}", socket.display())),
        PathBuf::from("/"),
        PathBuf::from("/dev"),
        PathBuf::from("/dev/null"),
        PathBuf::from("/proc"),
        PathBuf::from("/proc/sys/kernel"),
        PathBuf::from("/sys"),
        PathBuf::from("/sys/class"),
        sandbox.path("helper"),
        sandbox.path("helper/mounts"),
        sandbox.path("helper/mounts/of-another"),
        PathBuf::from("relative"),
    ];
    for path in refused {
        let said = helper.bind(&of_host(&path));
        assert!(said.is_err(), "{} became {said:?}", path.display());
    }
    assert!(!sandbox.path("helper/mounts/of-another").exists(), "refused, and made all the same");
    helper.bind(&of_host(sandbox.directory("srv-of-tasks"))).unwrap();
}

#[test]
fn bind_roots_hold_for_the_resolved_file() {
    let sandbox = Sandbox::new();
    let roots = [sandbox.directory("srv"), sandbox.directory("data")];
    let helper = sandbox.helper(fenced(&roots, &[]));
    sandbox.directory("etc");
    sandbox.directory("data/inner");
    sandbox.link("srv/out", sandbox.path("etc"));
    sandbox.link("srv/root", "/");
    sandbox.link("srv/to-data", sandbox.path("data"));
    sandbox.link("srv/dangling", sandbox.path("nowhere"));
    sandbox.link("alias", sandbox.path("srv"));
    fs_err::write(sandbox.path("srv/file"), "as it is").unwrap();
    for path in [
        "etc",
        "srv/out",
        "srv/root",
        "srv/root/etc",
        "srv/../etc",
        "",
        "srv/dangling",
        "srv/dangling/x",
        "etc/new",
        "srv/new/../../etc/x",
        "srv/out/new",
    ] {
        let said = helper.bind(&of_host(sandbox.path(path)));
        assert!(said.is_err(), "{path} became {said:?}");
    }
    for made in ["nowhere", "etc/new", "etc/x"] {
        assert!(!sandbox.path(made).exists(), "refused, and made all the same: {made}");
    }
    for path in ["srv", "srv/to-data/inner", "alias", "srv/a/b/c", "srv/file"] {
        helper.bind(&of_host(sandbox.path(path))).unwrap_or_else(|why| panic!("{path}: {why}"));
    }
    assert_eq!(shown(&sandbox.path("srv/a/b/c")).0, 0);
    let place = helper.bind(&of_host(sandbox.path("srv/file"))).unwrap();
    assert_eq!(fs_err::read_to_string(place).unwrap(), "as it is");
}

#[test]
fn a_name_that_is_swapped_meanwhile_mounts_nothing_else() {
    let sandbox = Sandbox::new();
    let srv = sandbox.directory("srv");
    let outside = sandbox.directory("outside/inner");
    sandbox.directory("srv/swap/inner");
    sandbox.link("srv/evil", sandbox.path("outside"));
    let helper = sandbox.helper(fenced(&[srv], &[]));
    let outside = fs_err::metadata(outside).unwrap().ino();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (one, other) = (sandbox.path("srv/swap"), sandbox.path("srv/evil"));
            while !done.load(Ordering::Acquire) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
            }
        });
        let (mut tries, mut bound) = (0, 0);
        // On a busy machine the other thread may stand still between two swaps for long.
        while tries < RACES || (bound == 0 && tries < STARVED_RACES_MAX) {
            tries += 1;
            let wanted = of_host(sandbox.path("srv/swap/inner"));
            if let Ok(place) = helper.bind(&wanted) {
                bound += 1;
                assert_ne!(fs_err::metadata(place).unwrap().ino(), outside, "it got out");
            }
            helper.release(&task(1)).unwrap();
        }
        done.store(true, Ordering::Release);
        assert!(bound > 0, "not one of {tries} tries met the directory");
    });
}

#[test]
fn mounts_are_one_for_a_volume_and_go_with_their_task() {
    let sandbox = Sandbox::new();
    let source = sandbox.directory("source");
    let helper = sandbox.helper(MountRules::default());
    let count = || MountTable::read().unwrap().below(&sandbox.0).count();
    let first = helper.bind(&of_host(&source)).unwrap();
    assert_eq!(helper.bind(&of_host(&source)).unwrap(), first);
    let other = BindRequest { task: task(2), ..of_host(&source) };
    helper.bind(&other).unwrap();
    // With the ground's own two.
    assert_eq!(count(), 4);

    // A source that was replaced is mounted as it is now.
    fs_err::rename(&source, sandbox.path("old")).unwrap();
    sandbox.directory("source/new");
    let place = helper.bind(&of_host(&source)).unwrap();
    assert!(place == first && place.join("new").is_dir() && count() == 4);

    // Another life of the helper goes on with what is there.
    let again = sandbox.helper(MountRules::default());
    assert_eq!(again.list(HOST, None).unwrap(), [task(1), task(2)]);
    assert_eq!(again.list(HOST, Some(task(1))).unwrap(), [task(2)]);
    assert_eq!(again.list(HostId::new(8), None).unwrap(), []);
    again.release(&task(1)).unwrap();
    again.release(&task(1)).unwrap();
    assert_eq!((again.list(HOST, None).unwrap(), count()), (vec![task(2)], 3));
    assert!(sandbox.path("source/new").is_dir(), "the source went with its mount");
}

/// A process in a mount namespace of its own, as systemd gives services.
struct Service(std::process::Child);

impl Service {
    fn start() -> Self {
        let mut unshare = std::process::Command::new("unshare");
        unshare.args(["--mount", "--propagation", "slave", "cat"]);
        unshare.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut service = Service(unshare.spawn().unwrap());
        // It answers once it is in its namespace.
        use std::io::{Read, Write};
        service.0.stdin.as_mut().unwrap().write_all(b"!").unwrap();
        service.0.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        service
    }

    fn sees_a_mount_at(&self, place: &Path) -> bool {
        let table = fs_err::read(format!("/proc/{}/mountinfo", self.0.id())).unwrap();
        MountTable::parse(&table).is_mounted(place)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

#[test]
fn service_that_starts_beside_a_task_keeps_no_mount_that_goes() {
    let sandbox = Sandbox::new();
    let helper = sandbox.helper(MountRules::default());
    let place = helper.bind(&of_host(sandbox.directory("alone"))).unwrap();
    let service = Service::start();
    assert!(service.sees_a_mount_at(&place), "the namespace is not made as is thought here");
    // As a shutdown does, which removes no directory.
    unmount(&place, UnmountFlags::empty()).unwrap();
    assert!(!service.sees_a_mount_at(&place), "the service keeps the file system of the task");

    let source = with_mount_below(&sandbox);
    let place = helper.bind(&of_host(&source)).unwrap();
    let service = Service::start();
    helper.release(&task(1)).unwrap();
    assert!(!service.sees_a_mount_at(&place), "the service keeps the file system of the task");
    assert!(source.join("inner/files").is_dir(), "a mount of the host went with the task's");
}

#[test]
fn ground_of_an_earlier_version_is_shared_from_the_next_mount_on() {
    let sandbox = Sandbox::new();
    let helper = sandbox.helper(MountRules::default());
    let first = helper.bind(&of_host(sandbox.directory("source"))).unwrap();
    mount_change(&helper.folder, MountPropagationFlags::UNBINDABLE).unwrap();
    let other = BindRequest { task: task(2), ..of_host(sandbox.directory("source")) };
    let place = helper.bind(&other).unwrap();
    let service = Service::start();
    for place in [first, place] {
        assert!(service.sees_a_mount_at(&place));
        unmount(&place, UnmountFlags::empty()).unwrap();
        assert!(!service.sees_a_mount_at(&place));
    }
}

#[test]
fn places_of_tasks_are_no_source_of_a_mount() {
    let sandbox = Sandbox::new();
    let helper = sandbox.helper(MountRules::default());
    let place = helper.bind(&of_host(sandbox.directory("source"))).unwrap();
    for at in [helper.folder.clone(), helper.place_of(&task(1)), place] {
        let other = BindRequest { task: task(2), ..of_host(&at) };
        let refused = helper.bind(&other).unwrap_err();
        assert!(refused.contains("holds the mounts of this host's tasks"), "{at:?}: {refused}");
    }
}

#[test]
fn a_release_takes_no_mount_of_the_host() {
    let sandbox = Sandbox::new();
    let source = with_mount_below(&sandbox);
    let helper = sandbox.helper(MountRules::default());
    let place = helper.bind(&of_host(&source)).unwrap();
    assert!(place.join("inner/files").is_dir(), "what is mounted below comes along");
    helper.release(&task(1)).unwrap();
    assert!(source.join("inner/files").is_dir(), "a mount of the host went with the task's");
}

#[test]
fn places_without_a_ground_are_taken_down_before_it_is_laid() {
    let sandbox = Sandbox::new();
    let source = with_mount_below(&sandbox);
    let helper = sandbox.helper(MountRules::default());
    let folder = helper.place_of(&task(2));
    let old = [folder.join("0"), folder.join("1")];
    for place in &old {
        fs_err::create_dir_all(place).unwrap();
        rustix::mount::mount_bind_recursive(&source, place).unwrap();
        assert!(place.join("inner/files").is_dir());
    }
    helper.bind(&of_host(sandbox.directory("other"))).unwrap();
    let table = MountTable::read().unwrap();
    let left: Vec<_> = table.below(&folder).map(|mount| &mount.at).collect();
    assert!(left.is_empty(), "nobody can unmount {left:?} any more");
    assert!(source.join("inner/files").is_dir(), "a mount of the host went with the task's");
    helper.release(&task(2)).unwrap();
}

/// A source with a mount of the host below, both shared with all that is cloned of them.
fn with_mount_below(sandbox: &Sandbox) -> PathBuf {
    let source = sandbox.directory("source");
    mount_bind(&source, &source).unwrap();
    mount_change(&source, MountPropagationFlags::SHARED).unwrap();
    let (inner, disk) = (sandbox.directory("source/inner"), sandbox.directory("disk/files"));
    mount_bind(disk.parent().unwrap(), &inner).unwrap();
    source
}

/// As a helper leaves it that is killed after its first call: shared, and without flags.
fn left_by_a_crash(sandbox: &Sandbox, helper: &Helper, source: &Path) -> PathBuf {
    let other = sandbox.directory("other");
    let place = helper.bind(&BindRequest { volume: 9, ..of_host(other) }).unwrap();
    let place = place.with_file_name("0");
    fs_err::create_dir(&place).unwrap();
    rustix::mount::mount_bind_recursive(source, &place).unwrap();
    assert!(place.join("inner/files").is_dir());
    place
}

#[test]
fn a_place_that_a_crash_left_half_is_completed() {
    let sandbox = Sandbox::new();
    let helper = sandbox.helper(MountRules::default());
    let source = with_mount_below(&sandbox);
    let place = left_by_a_crash(&sandbox, &helper, &source);
    let options = BindOptions { nosuid: true, noexec: true, ..BindOptions::default() };
    let wanted = BindRequest { options, ..of_host(&source) };
    assert_eq!(helper.bind(&wanted).unwrap(), place);
    let table = MountTable::read().unwrap();
    for at in [place.clone(), place.join("inner")] {
        let flags = table.top_at(&at).unwrap().flags();
        let all = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        assert!(flags.contains(all), "{}: {flags:?}", at.display());
    }
    helper.release(&task(1)).unwrap();
    assert!(source.join("inner/files").is_dir(), "a mount of the host went with the task's");
}

#[test]
fn a_half_place_is_released_without_the_hosts_mounts() {
    let sandbox = Sandbox::new();
    let helper = sandbox.helper(MountRules::default());
    let source = with_mount_below(&sandbox);
    left_by_a_crash(&sandbox, &helper, &source);
    helper.release(&task(1)).unwrap();
    assert!(source.join("inner/files").is_dir(), "a mount of the host went with the task's");
}

#[test]
fn one_volume_asked_for_by_many_at_once_is_one_mount() {
    let sandbox = Sandbox::new();
    let helper = sandbox.helper(MountRules::default());
    let source = sandbox.directory("source");
    let barrier = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                barrier.wait();
                helper.bind(&of_host(&source)).unwrap();
            });
        }
    });
    assert_eq!(MountTable::read().unwrap().below(&sandbox.0).count(), 3);
}

#[test]
fn a_mount_of_everything_takes_no_place_along() {
    let sandbox = Sandbox::new();
    mount_bind(&sandbox.0, &sandbox.0).unwrap();
    mount_change(&sandbox.0, MountPropagationFlags::SHARED).unwrap();
    let helper = sandbox.helper(MountRules::default());
    let count = || MountTable::read().unwrap().below(&sandbox.0).count();
    let mut grown = Vec::new();
    for number in 1..=6 {
        let before = count();
        helper.bind(&BindRequest { task: task(number), ..of_host(&sandbox.0) }).unwrap();
        grown.push(count() - before);
    }
    // The first also lays the ground.
    assert_eq!(grown[1..], [1; 5], "each takes the earlier ones along: {grown:?}");
}

#[test]
fn a_mount_beyond_the_limit_is_refused_with_the_numbers() {
    let sandbox = Sandbox::new();
    let mut helper = sandbox.helper(MountRules::default());
    helper.mounts_max = 3;
    let source = with_mount_below(&sandbox);
    helper.bind(&of_host(&source)).unwrap();
    let refused = helper.bind(&BindRequest { task: task(2), ..of_host(&source) }).unwrap_err();
    assert!(refused.contains("brings 2 mounts, and tasks of this host have 2 of at most 3"));
    helper.bind(&BindRequest { task: task(2), ..of_host(source.join("inner")) }).unwrap();
}

#[test]
fn options_of_a_bind_are_flags_of_its_mount() {
    let sandbox = Sandbox::new();
    let helper = sandbox.helper(MountRules::default());
    let source = with_mount_below(&sandbox);
    let options = BindOptions { nosuid: true, noexec: true, alone: true, nodev: true };
    let place = helper.bind(&BindRequest { devices: true, options, ..of_host(&source) }).unwrap();
    let flags = MountTable::read().unwrap().top_at(&place).unwrap().flags();
    assert!(flags.contains(MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV));
    assert!(place.join("inner").is_dir() && !place.join("inner/files").exists());
}

#[test]
fn a_helper_that_forbids_devices_gives_none_on_request() {
    let sandbox = Sandbox::new();
    let source = sandbox.directory("source");
    let helper = sandbox.helper(fenced(std::slice::from_ref(&sandbox.0), &[Forbidden::Devices]));
    let place = helper.bind(&BindRequest { devices: true, ..of_host(source) }).unwrap();
    let flags = MountTable::read().unwrap().top_at(&place).unwrap().flags();
    assert!(flags.contains(MountFlags::NODEV), "{flags:?}");
}

#[test]
fn a_root_of_binds_may_be_a_file() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("file");
    fs_err::write(&file, "as it is").unwrap();
    let helper = sandbox.helper(fenced(std::slice::from_ref(&file), &[]));
    let place = helper.bind(&of_host(&file)).unwrap();
    assert_eq!(fs_err::read_to_string(place).unwrap(), "as it is");
}

#[test]
fn a_mount_that_nobody_waits_for_is_not_made() {
    let sandbox = Sandbox::new();
    let helper = sandbox.helper(MountRules::default());
    let source = sandbox.directory("source");
    let refused = helper.bind_while(&of_host(source), || false).unwrap_err();
    assert!(refused.starts_with("nobody waits"), "{refused}");
    assert_eq!(helper.list(HOST, None).unwrap(), []);
}

#[tokio::test]
async fn more_tasks_than_one_reply_holds_are_listed() {
    let sandbox = Sandbox::new();
    let helper = sandbox.helper(MountRules::default());
    let tasks: Vec<TaskMounts> = (1..=700).map(task).collect();
    for task in &tasks {
        let name = TaskMounts::folder_name(task.task, task.generation);
        fs_err::create_dir_all(helper.folder.join(HOST.to_string()).join(name)).unwrap();
    }
    assert_eq!(MountHelper::own(helper).list(HOST).await.unwrap(), tasks);
}

#[tokio::test]
async fn agent_and_helper_talk_over_a_pair_as_over_the_socket() {
    let sandbox = Sandbox::new();
    let source = sandbox.directory("source");
    let own = MountHelper::own(sandbox.helper(MountRules::default()));
    let socket = sandbox.path("helper/socket");
    let other = sandbox.helper(MountRules::default());
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn({
        let (socket, shutdown) = (socket.clone(), shutdown.clone());
        async move { server::serve(other, &socket, shutdown).await }
    });
    for helper in [own, MountHelper::at(socket)] {
        let place = helper.bind(&of_host(&source)).await.unwrap();
        assert!(place.is_dir());
        assert_eq!(helper.list(HOST).await.unwrap(), [task(1)]);
        let refused = helper.bind(&of_host("relative")).await.unwrap_err();
        assert_eq!(refused, "relative is not an absolute path");
        helper.release(task(1)).await.unwrap();
    }
    shutdown.cancel();
    serving.await.unwrap().unwrap();
}

#[test]
fn a_message_that_is_too_long_or_not_known_is_not_read() {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };
    let sandbox = Sandbox::new();
    let helper = sandbox.helper(MountRules::default());
    let answered = |bytes: &[u8]| {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(bytes).unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        server::serve_connection(&helper, &theirs);
        drop(theirs);
        let mut reply = Vec::new();
        ours.read_to_end(&mut reply).unwrap();
        match protocol::parsed(&reply[protocol::LENGTH_BYTES..]).unwrap() {
            HelperReply::Failed { why } => why,
            reply => panic!("{reply:?}"),
        }
    };
    let too_long = answered(&u32::MAX.to_be_bytes());
    assert!(too_long.contains("too long"), "{too_long}");
    let half = answered(&[0, 0]);
    assert!(half.contains("no request came"), "{half}");
    let mut odd = 16u32.to_be_bytes().to_vec();
    odd.extend(br#"{"umount":"/etc"}"#.iter().take(16));
    assert!(answered(&odd).contains("not understood"));
    let long =
        HelperRequest::Directory { file_system: "x".repeat(70_000), access_point: String::new() };
    assert!(protocol::framed(&long).is_err());
}
