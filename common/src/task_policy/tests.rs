use serde_json::{Value, json};

use super::*;

fn policy(names: &[&str], roots: Option<&[&str]>) -> TaskPolicy {
    let owned = |texts: &[&str]| texts.iter().map(|&t| t.to_owned()).collect::<Vec<_>>();
    TaskPolicy {
        forbidden: forbidden(&owned(names)).unwrap(),
        bind_roots: roots.map(|roots| bind_roots(&owned(roots)).unwrap()),
        allowed_volumes: BTreeSet::new(),
    }
}

fn refusal(policy: &TaskPolicy, task: Value, container: Value) -> Option<String> {
    let mut spec = task;
    spec["containerDefinitions"] = json!([container]);
    spec["containerDefinitions"][0]["name"] = json!("app");
    policy.refusal(&serde_json::from_value(spec).unwrap())
}

#[test]
fn each_thing_is_forbidden_by_its_name_and_only_then() {
    let cases = [
        ("privileged", json!({}), json!({ "privileged": true }), "privileged of container app"),
        ("host-network", json!({ "networkMode": "host" }), json!({}), "networkMode host"),
        ("host-processes", json!({ "pidMode": "host" }), json!({}), "pidMode host"),
        ("host-ipc", json!({ "ipcMode": "host" }), json!({}), "ipcMode host"),
        (
            "devices",
            json!({}),
            json!({ "linuxParameters": { "devices": [{ "hostPath": "/dev/kvm" }] } }),
            "linuxParameters.devices of container app",
        ),
        (
            "devices",
            json!({}),
            json!({ "privileged": true }),
            "privileged (it has all devices) of container app",
        ),
        (
            "capabilities",
            json!({}),
            json!({ "linuxParameters": { "capabilities": { "add": ["SYS_ADMIN"] } } }),
            "linuxParameters.capabilities.add of container app",
        ),
        (
            "unconfined",
            json!({}),
            json!({ "dockerSecurityOptions": ["apparmor:unconfined"] }),
            "the dockerSecurityOptions entry `apparmor:unconfined` of container app",
        ),
        (
            "docker-socket",
            json!({ "volumes": [{ "name": "v", "host": { "sourcePath": "/var/run/docker.sock" } }] }),
            json!({}),
            "host.sourcePath /var/run/docker.sock (a container engine's socket is there)",
        ),
    ];
    let nothing = TaskPolicy::default();
    for (name, task, container, said) in cases {
        let policy = policy(&[name], None);
        let refused = refusal(&policy, task.clone(), container.clone());
        assert_eq!(refused.as_deref(), Some(said));
        assert_eq!(refusal(&nothing, task, container), None, "{said}");
        assert_eq!(refusal(&policy, json!({}), json!({})), None, "{said}");
    }
}

#[test]
fn a_folder_that_shows_dockers_socket_is_as_good_as_it() {
    let policy = policy(&["docker-socket"], None);
    let mounts = |path: &str| {
        let volumes = json!([{ "name": "v", "host": { "sourcePath": path } }]);
        refusal(&policy, json!({ "volumes": volumes }), json!({})).is_some()
    };
    let shown = [
        "/",
        "/run",
        "/var",
        "/var/run/",
        "/run/docker.sock",
        "/srv/../run",
        "/./var",
        "/run/containerd",
        "/run/containerd/s/1",
        "/run/podman/podman.sock",
    ];
    assert!(shown.into_iter().all(mounts));
    let hidden = ["/srv", "/var/lib", "/run/user", "/var/run/docker.sock.old"];
    assert!(!hidden.into_iter().any(mounts));
}

#[test]
fn host_paths_are_mounted_from_below_the_listed_roots_only() {
    let said = |roots: &[&str], path: &str| {
        let volumes = json!([{ "name": "v", "host": { "sourcePath": path } }]);
        refusal(&policy(&[], Some(roots)), json!({ "volumes": volumes }), json!({}))
    };
    for path in ["/srv", "/srv/a", "/srv/a/../b", "/data/x"] {
        assert_eq!(said(&["/srv", "/data/"], path), None, "{path}");
    }
    for path in ["/", "/srvs", "/srv/../etc", "/var"] {
        let refused = said(&["/srv", "/data"], path).unwrap();
        assert!(refused.ends_with("(it is not below /srv or /data)"), "{refused}");
    }
    let none = said(&[], "/srv").unwrap();
    assert!(none.ends_with("(no host path may be mounted)"), "{none}");
    let volumes = json!([{ "name": "v" }]);
    let kept = refusal(&policy(&[], Some(&[])), json!({ "volumes": volumes }), json!({}));
    assert_eq!(kept, None, "a volume of Docker's is no host path");
}

type Options = &'static [(&'static str, &'static str)];

fn docker_volume(driver: Option<&str>, options: &[(&str, &str)]) -> Value {
    let options: serde_json::Map<String, Value> =
        options.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let config = json!({ "scope": "task", "driver": driver, "driverOpts": options });
    json!({ "volumes": [{ "name": "v", "dockerVolumeConfiguration": config }] })
}

#[test]
fn no_way_of_a_volume_driver_leads_around_the_policy() {
    let escapes: [(Option<&str>, Options); 22] = [
        (None, &[("type", "none"), ("o", "bind"), ("device", "/")]),
        (None, &[("type", "none"), ("o", "rbind"), ("device", "/etc")]),
        (Some("local"), &[("o", "bind,ro"), ("device", "/run")]),
        (None, &[("type", "tmpfs"), ("o", "size=1m,bind"), ("device", "/")]),
        (None, &[("type", "nfs"), ("o", "addr=::1,bind"), ("device", "/")]),
        (None, &[("o", "bind"), ("device", "etc")]),
        (None, &[("o", "bind,shared"), ("device", "/srv/a")]),
        (None, &[("type", "ext4"), ("device", "/dev/vda")]),
        (None, &[("type", "xfs"), ("device", "/dev/nvme0n1p1"), ("o", "ro")]),
        (None, &[("type", "devtmpfs"), ("device", "devtmpfs")]),
        (None, &[("type", "proc"), ("device", "proc")]),
        (None, &[("type", "sysfs"), ("device", "sysfs")]),
        (None, &[("type", "cgroup"), ("device", "cgroup")]),
        (None, &[("type", "cgroup2"), ("device", "none")]),
        (None, &[("type", "overlay"), ("o", "lowerdir=/,upperdir=/a,workdir=/b")]),
        (None, &[("type", "none"), ("device", "/")]),
        (None, &[("o", "remount,rw"), ("device", "/")]),
        (None, &[("type", "tmpfs"), ("o", "lowerdir=/"), ("device", "x")]),
        (None, &[("type", "nfs"), ("o", "addr=10.0.0.1"), ("device", ":/")]),
        (None, &[("device", "/dev/sda")]),
        (None, &[("mountpoint", "/")]),
        (Some("local-persist"), &[("mountpoint", "/")]),
    ];
    let policies = [
        policy(&[], Some(&[])),
        policy(&["docker-socket"], Some(&["/srv"])),
        policy(&["devices", "docker-socket"], Some(&["/srv", "/data"])),
    ];
    for (driver, options) in escapes {
        let task = docker_volume(driver, options);
        for policy in &policies {
            assert!(refusal(policy, task.clone(), json!({})).is_some(), "{options:?}");
        }
        assert_eq!(refusal(&TaskPolicy::default(), task, json!({})), None, "{options:?}");
    }
}

#[test]
fn a_volume_that_reaches_nothing_of_the_host_passes_every_policy() {
    let plain: [Options; 4] = [
        &[],
        &[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=64m,uid=1000,noexec")],
        &[("size", "10G")],
        &[("type", "none"), ("o", "bind,ro"), ("device", "/srv/a")],
    ];
    let fenced = policy(&["docker-socket", "devices"], Some(&["/srv"]));
    for options in plain {
        assert_eq!(refusal(&fenced, docker_volume(None, options), json!({})), None, "{options:?}");
    }
}

#[test]
fn a_volume_of_an_allowed_kind_passes_and_no_other_call_by_its_name() {
    let kinds = ["nfs", "driver:rexray/ebs"].map(str::to_owned);
    let fenced = TaskPolicy {
        allowed_volumes: allowed_volumes(&kinds).unwrap(),
        ..policy(&["devices"], Some(&[]))
    };
    let said = |driver, options: &[(&str, &str)]| {
        refusal(&fenced, docker_volume(driver, options), json!({}))
    };
    let nfs = |of, o| [("type", of), ("o", o), ("device", ":/export")];
    assert_eq!(said(None, &nfs("nfs", "addr=10.0.0.1,ro")), None);
    assert_eq!(said(None, &nfs("nfs4", "addr=10.0.0.1")), None);
    assert_eq!(said(Some("rexray/ebs"), &[("size", "5")]), None);
    assert!(said(None, &nfs("nfs", "addr=10.0.0.1,rbind")).is_some());
    assert!(said(None, &nfs("cifs", "addr=10.0.0.1")).unwrap().contains("allow_volumes"));
    for refused in ["none", "proc", "driver:local", "driver:", "a b", ""] {
        let refused = allowed_volumes(&[refused.to_owned()]);
        assert!(matches!(refused, Err(NotAPolicy::NotAKind(_))), "{refused:?}");
    }
}

#[test]
fn log_options_that_make_the_engine_connect_or_read_can_be_forbidden() {
    let log = |driver: &str, options: Value| json!({ "logConfiguration": { "logDriver": driver, "options": options } });
    let reaching = [
        log("splunk", json!({ "splunk-url": "http://127.0.0.1:8088", "splunk-token": "t" })),
        log("splunk", json!({ "splunk-capath": "/etc/shadow" })),
        log("gelf", json!({ "gelf-address": "udp://127.0.0.1:1" })),
        log("fluentd", json!({ "fluentd-address": "unix:///run/docker.sock" })),
        log("fluentd", json!({})),
        log("syslog", json!({ "syslog-address": "unixgram:///run/systemd/notify" })),
        log("syslog", json!({ "syslog-tls-key": "/etc/ssl/private/key" })),
        log("awesome-plugin", json!({})),
    ];
    let forbids = policy(&["log-addresses"], None);
    for container in reaching {
        assert!(refusal(&forbids, json!({}), container.clone()).is_some(), "{container}");
        assert_eq!(refusal(&TaskPolicy::default(), json!({}), container), None);
    }
    let own = [
        log("json-file", json!({ "max-size": "1m" })),
        log("syslog", json!({ "tag": "x" })),
        log("awslogs", json!({ "awslogs-group": "g" })),
    ];
    for container in own {
        assert_eq!(refusal(&forbids, json!({}), container.clone()), None, "{container}");
    }
}
