//! Ways out of a container that a task definition can ask for.
//!
//! Made from a few lists: what is to be reached, how its path may be written, and the members that
//! reach something by themselves.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::ground::{Ground, Sockets};
use longshore_harness::image::SAMPLE_IMAGE;

/// Members of the definition and of its container.
#[derive(Clone, Debug, Default)]
pub(super) struct Recipe {
    pub(super) task: Value,
    pub(super) container: Value,
    /// A second container.
    pub(super) side: Option<Value>,
}

pub(super) fn recipes(ground: &Ground, sockets: &Sockets, agent: &Path) -> Result<Vec<Recipe>> {
    let mut all = Vec::new();
    for target in targets(sockets, agent) {
        all.extend(spellings(&target).into_iter().map(|path| host_path(&path)));
    }
    all.extend(planted(ground).iter().map(|path| host_path(path)));
    all.extend(aliases(ground, sockets)?.iter().map(|path| host_path(path)));
    for options in local_options(ground, sockets) {
        for scope in
            [json!({ "scope": "task" }), json!({ "scope": "shared", "autoprovision": true })]
        {
            all.push(docker_volume(scope, None, &options, all.len()));
        }
    }
    let drivers = ["local-persist", "nfs", "vieux/sshfs", "convoy"];
    let scope = json!({ "scope": "task" });
    all.extend(drivers.iter().enumerate().map(|(at, driver)| {
        docker_volume(scope.clone(), Some(driver), &[("mountpoint", "/")].map(own), at)
    }));
    all.extend(file_systems());
    all.extend(containers());
    all.extend(tasks());
    Ok(all)
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn targets(sockets: &Sockets, agent: &Path) -> Vec<String> {
    let mut all: Vec<String> = sockets.iter().map(|s| s.display().to_string()).collect();
    all.extend(sockets.first().and_then(|s| s.parent()).map(|f| f.display().to_string()));
    all.push(agent.display().to_string());
    all.push(agent.join("volumes/mounts").display().to_string());
    all.extend(["/etc", "/dev", "/proc", "/sys", "/"].map(str::to_owned));
    all
}

/// How a path can be written that leads to the same.
fn spellings(path: &str) -> Vec<String> {
    vec![
        path.to_owned(),
        format!("{path}/."),
        format!("//{}", path.trim_start_matches('/')),
        format!("/srv/..{path}"),
        format!("/proc/self/root{path}"),
        format!("/proc/1/root{path}"),
        format!("/proc/thread-self/root{path}"),
        format!("/proc/self/cwd/../../../../../../../..{path}"),
        format!("/dev/fd/../../1/root{path}"),
    ]
}

/// Links in a folder from which tasks may mount, and names that change meanwhile.
fn planted(ground: &Ground) -> Vec<String> {
    let names = [
        "top",
        "top/etc",
        "etc",
        "etc/ssl",
        "run",
        "proc",
        "proc/etc",
        "up",
        "up/outside",
        "twice",
        "twice/etc",
        "a/../../outside",
        "swap",
        "swap/inner",
        "evil",
        "evil/inner",
        "evil/new",
        "swap/new",
        "a",
        "file",
        "new/deep/er",
    ];
    names.map(|name| ground.path("srv").join(name).display().to_string()).to_vec()
}

/// Other names of the sockets, and links to their folder.
fn aliases(ground: &Ground, sockets: &Sockets) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for (number, socket) in sockets.iter().enumerate() {
        let folder = socket.parent().unwrap_or(Path::new("/"));
        for (name, to) in [("socket", socket.as_path()), ("folder", folder)] {
            let link = ground.root().join(format!("{name}-{number}"));
            std::os::unix::fs::symlink(to, &link)?;
            let second = ground.root().join(format!("{name}-{number}-again"));
            std::os::unix::fs::symlink(&link, &second)?;
            all.extend([link, second].map(|path| path.display().to_string()));
        }
        let hard = folder.join(format!("other-name-{number}"));
        if std::fs::hard_link(socket, &hard).is_ok() {
            all.push(hard.display().to_string());
        }
    }
    Ok(all)
}

fn volume_of(volume: Value) -> Recipe {
    let mut volume = volume;
    volume["name"] = json!("v");
    Recipe {
        task: json!({ "volumes": [volume] }),
        container: json!({ "mountPoints": [{ "sourceVolume": "v", "containerPath": "/out" }] }),
        side: None,
    }
}

fn host_path(path: &str) -> Recipe {
    volume_of(json!({ "host": { "sourcePath": path } }))
}

type Options = Vec<(String, String)>;

fn local_options(ground: &Ground, sockets: &Sockets) -> Vec<Options> {
    let socket = sockets.first().map(|s| s.display().to_string()).unwrap_or_default();
    let evil = ground.path("srv/evil").display().to_string();
    let swapped = ground.path("srv/swap/inner").display().to_string();
    let options: [&[(&str, &str)]; 20] = [
        &[("type", "none"), ("o", "bind"), ("device", "/")],
        &[("type", "none"), ("o", "rbind"), ("device", "/etc")],
        &[("o", "bind,ro"), ("device", &socket)],
        &[("o", "ro,bind"), ("device", "/proc/1/root/etc")],
        &[("type", "none"), ("o", "bind"), ("device", &evil)],
        &[("type", "none"), ("o", "bind"), ("device", &swapped)],
        &[("type", "tmpfs"), ("o", "size=1m,bind"), ("device", "/")],
        &[("type", "nfs"), ("o", "addr=127.0.0.1,bind"), ("device", "/")],
        &[("o", "bind,shared"), ("device", "/etc")],
        &[("type", "ext4"), ("device", "/dev/vda")],
        &[("type", "ext4"), ("device", "/dev/sda1"), ("o", "ro")],
        &[("type", "devtmpfs"), ("device", "devtmpfs")],
        &[("type", "proc"), ("device", "proc")],
        &[("type", "sysfs"), ("device", "sysfs")],
        &[("type", "cgroup2"), ("device", "none")],
        &[("type", "cgroup"), ("device", "cgroup"), ("o", "memory")],
        &[("type", "debugfs"), ("device", "none")],
        &[("type", "overlay"), ("device", "o"), ("o", "lowerdir=/etc:/usr")],
        &[("type", "none"), ("device", "/")],
        &[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")],
    ];
    options.iter().map(|options| options.iter().copied().map(own).collect()).collect()
}

fn docker_volume(
    config: Value,
    driver: Option<&str>,
    options: &[(String, String)],
    number: usize,
) -> Recipe {
    let mut config = config;
    if let Some(driver) = driver {
        config["driver"] = json!(driver);
    }
    let options: serde_json::Map<String, Value> =
        options.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    config["driverOpts"] = Value::Object(options);
    let mut recipe = volume_of(json!({ "dockerVolumeConfiguration": config }));
    // A shared one outlives its task.
    let name = format!("v{number}");
    recipe.task["volumes"][0]["name"] = json!(name);
    recipe.container["mountPoints"][0]["sourceVolume"] = json!(name);
    recipe
}

fn file_systems() -> Vec<Recipe> {
    let mounted = |efs: Value| volume_of(json!({ "efsVolumeConfiguration": efs }));
    let roots = [
        "/top",
        "/top/etc",
        "/etc",
        "/run",
        "/proc",
        "/proc/etc",
        "/up",
        "/up/outside",
        "/twice",
        "/../etc",
        "/data/../../etc",
        "/data",
    ];
    let roots = roots.map(|root| mounted(json!({ "fileSystemId": "fs-1", "rootDirectory": root })));
    let points = ["fsap-1", "fsap-2", "fsap-3"].map(|point| {
        mounted(json!({ "fileSystemId": "fs-1", "transitEncryption": "ENABLED",
            "authorizationConfig": { "accessPointId": point } }))
    });
    roots.into_iter().chain(points).collect()
}

fn containers() -> Vec<Recipe> {
    let linux = |parameters: Value| json!({ "linuxParameters": parameters });
    let device = |path: &str| linux(json!({ "devices": [{ "hostPath": path }] }));
    let added = |names: &[&str]| linux(json!({ "capabilities": { "add": names } }));
    let option = |option: &str| json!({ "dockerSecurityOptions": [option] });
    let log = |driver: &str, options: Value| json!({ "logConfiguration": { "logDriver": driver, "options": options } });
    let tmpfs = |options: &[&str]| {
        linux(json!({ "tmpfs": [{ "containerPath": "/t", "size": 1, "mountOptions": options }] }))
    };
    let members = vec![
        json!({ "privileged": true }),
        device("/dev/mem"),
        device("/dev/vda"),
        device("/dev/kmsg"),
        device("/dev"),
        device("/dev/null"),
        added(&["ALL"]),
        added(&["SYS_ADMIN"]),
        added(&["SYS_PTRACE", "DAC_READ_SEARCH"]),
        added(&["SYS_MODULE"]),
        added(&["NET_ADMIN"]),
        added(&["SYS_RAWIO"]),
        option("apparmor:unconfined"),
        option("label:disable"),
        option("label:type:spc_t"),
        option("seccomp:unconfined"),
        option("systempaths:unconfined"),
        log("syslog", json!({ "syslog-address": "unixgram:///run/systemd/notify" })),
        log("syslog", json!({ "syslog-address": "tcp://127.0.0.1:1" })),
        log(
            "fluentd",
            json!({ "fluentd-address": "unix:///run/docker.sock", "fluentd-async": "true" }),
        ),
        log("fluentd", json!({ "fluentd-async": "true" })),
        log("gelf", json!({ "gelf-address": "udp://127.0.0.1:12201" })),
        log(
            "splunk",
            json!({ "splunk-token": "t", "splunk-url": "http://127.0.0.1:1",
            "splunk-verify-connection": "false" }),
        ),
        json!({ "user": "root" }),
        json!({ "user": "0:0" }),
        json!({ "user": "0:999" }),
        json!({ "volumesFrom": [{ "sourceContainer": "elsewhere" }] }),
        json!({ "systemControls": [{ "namespace": "kernel.core_pattern", "value": "|/x" }] }),
        json!({ "systemControls": [{ "namespace": "net.ipv4.ip_forward", "value": "0" }] }),
        tmpfs(&["bind"]),
        tmpfs(&["rbind", "rw"]),
        json!({ "dockerLabels": { "longshore.task-group": "../../x", "longshore.task-volumes": "db" } }),
        json!({ "extraHosts": [{ "hostname": "metadata", "ipAddress": "169.254.169.254" }] }),
        json!({ "environmentFiles": [{ "type": "s3", "value": "arn:aws:s3:::../etc/passwd.env" }] }),
    ];
    let plain = |container| Recipe { container, ..Recipe::default() };
    members.into_iter().map(plain).collect()
}

fn tasks() -> Vec<Recipe> {
    let side = json!({ "name": "side", "image": SAMPLE_IMAGE, "memory": 16, "command": ["/bin/true"],
        "mountPoints": [{ "sourceVolume": "v", "containerPath": "/out" }] });
    let from_side = Recipe {
        task: json!({ "volumes": [{ "name": "v", "host": { "sourcePath": "/etc" } }] }),
        container: json!({ "volumesFrom": [{ "sourceContainer": "side" }] }),
        side: Some(side),
    };
    let members = [
        json!({ "networkMode": "host" }),
        json!({ "pidMode": "host" }),
        json!({ "ipcMode": "host" }),
        json!({ "pidMode": "host", "ipcMode": "host", "networkMode": "host" }),
    ];
    let plain = |task| Recipe { task, ..Recipe::default() };
    members.into_iter().map(plain).chain([from_side]).collect()
}
