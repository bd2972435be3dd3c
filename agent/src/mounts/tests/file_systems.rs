//! File systems of EFS and their access points.

use super::*;

fn with_efs(sandbox: &Sandbox) -> Helper {
    let efs = sandbox.directory("efs");
    sandbox.helper(MountRules {
        file_systems: file_systems(&[
            format!("fs-1={}", efs.display()),
            "fs-1/app=/points/app:1000:1001:0750".to_owned(),
            "fs-1/deep=/a/b/c:5:6".to_owned(),
            "fs-1/team=/team:1000:1001:2775".to_owned(),
        ]),
        ..MountRules::default()
    })
}

fn point(id: &str) -> BindRequest {
    let (file_system, id) = ("fs-1".to_owned(), id.to_owned());
    request(MountSource::AccessPoint { file_system, id, encrypted: false })
}

fn below_efs(directory: &str) -> BindRequest {
    let (id, root_directory) = ("fs-1".to_owned(), PathBuf::from(directory));
    request(MountSource::FileSystem { id, root_directory, encrypted: false })
}

#[test]
fn access_point_is_made_whole_with_its_owner_and_mode() {
    let sandbox = Sandbox::new();
    let helper = with_efs(&sandbox);
    let place = helper.bind(&point("app")).unwrap();
    assert_eq!(shown(&sandbox.path("efs/points/app")), (1000, 1001, 0o750));
    assert_eq!(shown(&place), (1000, 1001, 0o750));
    helper.bind(&BindRequest { volume: 1, ..point("deep") }).unwrap();
    assert_eq!(shown(&sandbox.path("efs/a/b/c")), (5, 6, 0o755));
    assert_eq!(shown(&sandbox.path("efs/a/b")), (0, 0, 0o755));
    let names: Vec<_> = fs_err::read_dir(sandbox.path("efs/points")).unwrap().collect();
    assert_eq!(names.len(), 1, "half a directory is left: {names:?}");
    helper.bind(&BindRequest { volume: 2, ..point("team") }).unwrap();
    assert_eq!(shown(&sandbox.path("efs/team")), (1000, 1001, 0o2775));
}

#[test]
fn access_point_that_a_crash_left_half_is_completed() {
    let sandbox = Sandbox::new();
    let helper = with_efs(&sandbox);
    let half = sandbox.directory("efs/points/app");
    let mode = std::fs::Permissions::from_mode;
    // Before its owner, and before its mode.
    for owner in [0, 1000] {
        fs_err::set_permissions(&half, mode(0)).unwrap();
        std::os::unix::fs::chown(&half, Some(owner), Some(0)).unwrap();
        helper.bind(&point("app")).unwrap();
        assert_eq!(shown(&half), (1000, 1001, 0o750));
    }
    fs_err::set_permissions(&half, mode(0)).unwrap();
    std::os::unix::fs::chown(&half, Some(7), Some(0)).unwrap();
    helper.bind(&point("app")).unwrap();
    assert_eq!(shown(&half), (7, 0, 0), "another's directory was taken");
}

#[test]
fn access_point_that_is_there_keeps_its_owner() {
    let sandbox = Sandbox::new();
    let helper = with_efs(&sandbox);
    let there = sandbox.directory("efs/points/app");
    fs_err::set_permissions(&there, std::fs::Permissions::from_mode(0o711)).unwrap();
    helper.bind(&point("app")).unwrap();
    assert_eq!(shown(&there), (0, 0, 0o711));
}

#[test]
fn access_point_that_cannot_be_made_names_call_path_and_cure() {
    let sandbox = Sandbox::new();
    let helper = with_efs(&sandbox);
    let efs = sandbox.path("efs");
    mount_bind(&efs, &efs).unwrap();
    use rustix::mount::mount_remount;
    mount_remount(&efs, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
    let said = helper.bind(&point("app")).unwrap_err();
    let call = format!("mkdir {}", sandbox.path("efs/points").display());
    assert!(said.starts_with(&call) && said.contains("read-only; mount it for writing"), "{said}");
}

#[test]
fn planted_links_lead_out_of_no_file_system() {
    let sandbox = Sandbox::new();
    let helper = with_efs(&sandbox);
    sandbox.directory("efs/inner");
    sandbox.link("efs/evil", "/");
    sandbox.link("efs/up", "..");
    sandbox.link("efs/near", "inner");
    sandbox.link("efs/proc", "/proc/self/root");
    sandbox.link("efs/points", "/");
    sandbox.link("efs/a", "inner");
    let escapes = [
        below_efs("evil"),
        below_efs("evil/etc"),
        below_efs("up"),
        below_efs("near"),
        below_efs("proc/etc"),
        below_efs("../srv"),
        below_efs("inner/../../x"),
        point("app"),
        point("deep"),
    ];
    for escape in escapes {
        let said = helper.bind(&escape);
        assert!(said.is_err(), "{escape:?} became {said:?}");
    }
    assert!(!sandbox.path("efs/inner/b").exists(), "a link was followed to make something");
    assert_eq!(MountTable::read().unwrap().below(&sandbox.0).count(), 0);
    helper.bind(&below_efs("inner")).unwrap();
}

#[test]
fn file_system_mount_takes_neither_set_user_ids_nor_devices() {
    let sandbox = Sandbox::new();
    let helper = with_efs(&sandbox);
    let place = helper.bind(&below_efs("")).unwrap();
    use rustix::fs::{StatVfsMountFlags, statvfs};
    let wanted = StatVfsMountFlags::NOSUID | StatVfsMountFlags::NODEV;
    assert!(statvfs(&place).unwrap().f_flag.contains(wanted));
    let own = sandbox.directory("own");
    let device = BindRequest { volume: 1, devices: true, ..of_host(own) };
    let flags = statvfs(helper.bind(&device).unwrap()).unwrap().f_flag;
    assert!(!flags.contains(StatVfsMountFlags::NOSUID), "{flags:?}");
}
