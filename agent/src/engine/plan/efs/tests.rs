use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;

fn systems(items: &[&str]) -> Result<FileSystems, String> {
    FileSystems::read(&items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>())
}

fn mounted(config: Value) -> Result<Efs, String> {
    let systems =
        systems(&["fs-1=/mnt/efs", "fs-1/fsap-app=/apps/web:1000:1001", "fs-2=10.0.0.9:/export"]);
    systems.unwrap().mounted(&serde_json::from_value(config).unwrap())
}

#[test]
fn a_mounted_file_system_is_a_path_of_the_host() {
    let below = |path: &str| {
        let (id, root_directory) = ("fs-1".to_owned(), PathBuf::from(path));
        Ok(Efs::Mounted(Mounted::FileSystem { id, root_directory, encrypted: false }))
    };
    assert_eq!(mounted(json!({ "fileSystemId": "fs-1" })), below(""));
    let config = json!({ "fileSystemId": "fs-1", "rootDirectory": "/data/x" });
    assert_eq!(mounted(config), below("data/x"));
}

#[test]
fn an_access_point_is_a_directory_of_its_owner() {
    let config = json!({
        "fileSystemId": "fs-1", "transitEncryption": "ENABLED",
        "authorizationConfig": { "accessPointId": "fsap-app" },
    });
    let (file_system, id) = ("fs-1".to_owned(), "fsap-app".to_owned());
    let source = Mounted::AccessPoint { file_system, id, encrypted: true };
    assert_eq!(mounted(config), Ok(Efs::Mounted(source)));
    let points = systems(&["fs-1=/mnt/efs", "fs-1/a=/apps/web:1000:1001", "fs-1/b=/b:0:0:0750"]);
    let points = points.unwrap();
    let made = |id: &str| {
        let point = points.access_point("fs-1", id).unwrap();
        format!("{} {:?} {:o}", point.path.display(), point.owner, point.mode)
    };
    assert_eq!([made("a"), made("b")], ["apps/web (1000, 1001) 755", "b (0, 0) 750"]);
}

#[test]
fn an_nfs_server_is_mounted_by_docker() {
    let config = json!({ "fileSystemId": "fs-2", "rootDirectory": "/" });
    let Ok(Efs::Nfs(options)) = mounted(config) else { panic!("no NFS") };
    assert_eq!((options["type"].as_str(), options["device"].as_str()), ("nfs", ":/export/"));
    assert!(options["o"].starts_with("addr=10.0.0.9,nfsvers=4.1,"), "{}", options["o"]);
    // No link there leads anywhere but to what the volume shows anyway.
    let whole = systems(&["fs-3=10.0.0.9:/"]).unwrap();
    let config = json!({ "fileSystemId": "fs-3", "rootDirectory": "/data" });
    let Ok(Efs::Nfs(options)) = whole.mounted(&serde_json::from_value(config).unwrap()) else {
        panic!("no NFS")
    };
    assert_eq!(options["device"], ":/data");
}

#[test]
fn an_access_point_is_for_containers_of_its_user() {
    let systems = systems(&["fs-1=/mnt", "fs-1/own=/a:1000:1001", "fs-1/any=/b:5:6:any-user"]);
    let systems = systems.unwrap();
    let said = |id: &str, user: Option<&str>| {
        let (file_system, id) = ("fs-1".to_owned(), id.to_owned());
        let source = Mounted::AccessPoint { file_system, id, encrypted: false };
        let user = user.map(str::to_owned);
        systems.check_user(&source, &ContainerDefinition { user, ..Default::default() })
    };
    assert_eq!(said("own", Some("1000:1001")), Ok(()));
    assert_eq!(said("any", None), Ok(()));
    for other in [None, Some("1000"), Some("0:0"), Some("root"), Some("1000:0"), Some("app")] {
        let refused = said("own", other).unwrap_err();
        assert!(refused.contains("set the container's user to 1000:1001"), "{refused}");
    }
}

#[test]
fn what_this_host_cannot_keep_is_refused_by_name() {
    let refused = |config: Value| mounted(config).unwrap_err();
    let lines = [
        refused(json!({ "fileSystemId": "fs-3" })),
        refused(json!({ "fileSystemId": "fs-1", "rootDirectory": "/../etc" })),
        refused(json!({ "fileSystemId": "fs-1", "authorizationConfig": { "iam": "ENABLED" } })),
        refused(json!({ "fileSystemId": "fs-1", "authorizationConfig": { "accessPointId": "x" } })),
        refused(json!({ "fileSystemId": "fs-2", "transitEncryption": "ENABLED" })),
        refused(json!({ "fileSystemId": "fs-2", "rootDirectory": "/evil" })),
    ];
    expect_test::expect![[r#"
        file system fs-3, which this host's setting efs does not name
        rootDirectory of file system fs-1, which leads out of it
        file system fs-1 with IAM authorization
        access point x, which this host's setting efs does not name
        transitEncryption of file system fs-2, which is served by NFS here
        rootDirectory of file system fs-2, which is served by NFS here: mount it on the host and give that path in the setting efs (fs-2=/mnt/fs-2), for no link to lead out of it"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn a_slip_in_the_setting_is_answered_with_what_to_write() {
    let advice = |items: &[&str]| systems(items).unwrap_err();
    let lines = [
        advice(&["fs-1"]),
        advice(&["fs-1=mnt"]),
        advice(&["fs-1=/a", "fs-1=/b"]),
        advice(&["fs-1/fsap-1=/app:1:1"]),
        advice(&["fs-1=/a", "fs-1/fsap-1=/app"]),
        advice(&["fs-1=/a", "fs-1/fsap-1=/app:1:1:0"]),
        advice(&["fs-1=h:/a", "fs-1/fsap-1=/app:1:1"]),
    ];
    expect_test::expect![[r#"
        `fs-1` names no place: write fs-1=/mnt/efs or fs-1=10.0.0.9:/export
        `mnt` is no place: give /a/path, or SERVER:/export
        `fs-1` is there twice
        `fs-1` has access points and no place: add fs-1=/mnt/efs
        `/app` is no access point: give /PATH:USER:GROUP, /PATH:USER:GROUP:MODE, or either with :any-user, /app:1000:1000
        `/app:1:1:0` is no access point: give /PATH:USER:GROUP, /PATH:USER:GROUP:MODE, or either with :any-user, /app:1000:1000
        `fs-1` is served by NFS: mount it on the host and give that path, for its access points to be made"#]]
    .assert_eq(&lines.join("\n"));
}
