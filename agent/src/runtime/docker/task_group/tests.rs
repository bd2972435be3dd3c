use std::{fs, path::Path};

use expect_test::expect;

use super::*;
use crate::runtime::CpuQuota;

fn group() -> TaskGroup {
    TaskGroup {
        name: "longshore_0123_1".to_owned(),
        cpu_shares: 512,
        cpu_quota: Some(CpuQuota { us: 50_000, period_us: 100_000 }),
        memory_bytes: Some(128 * 1024 * 1024),
        processes: None,
    }
}

fn at(root: &Path, version: CgroupVersion) -> ControlGroups {
    ControlGroups { root: root.to_owned(), version, driver: CgroupDriver::Cgroupfs }
}

fn written(root: &Path) -> String {
    let mut lines = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                lines.push(format!("{name}: {}", fs::read_to_string(&path).unwrap()));
            }
        }
    }
    lines.sort();
    lines.join("\n")
}

#[test]
fn version_1_limits_in_a_hierarchy_for_each_controller() {
    let root = tempfile::tempdir().unwrap();
    at(root.path(), CgroupVersion::V1).write(&group()).unwrap();
    expect![[r#"
        cpu/docker/longshore_0123_1/cpu.cfs_period_us: 100000
        cpu/docker/longshore_0123_1/cpu.cfs_quota_us: 50000
        cpu/docker/longshore_0123_1/cpu.shares: 512
        memory/docker/longshore_0123_1/memory.limit_in_bytes: 134217728"#]]
    .assert_eq(&written(root.path()));
}

#[test]
fn version_2_limits_in_its_one_hierarchy_and_passes_the_controllers_down() {
    let root = tempfile::tempdir().unwrap();
    at(root.path(), CgroupVersion::V2).write(&group()).unwrap();
    expect![[r#"
        cgroup.subtree_control: +cpu +memory
        docker/cgroup.subtree_control: +cpu +memory
        docker/longshore_0123_1/cpu.max: 50000 100000
        docker/longshore_0123_1/cpu.weight: 20
        docker/longshore_0123_1/memory.max: 134217728"#]]
    .assert_eq(&written(root.path()));
}

#[test]
fn a_limit_that_the_task_does_not_have_is_not_written() {
    let root = tempfile::tempdir().unwrap();
    let group = TaskGroup { memory_bytes: None, cpu_quota: None, ..group() };
    at(root.path(), CgroupVersion::V2).write(&group).unwrap();
    expect![[r#"
        cgroup.subtree_control: +cpu +memory
        docker/cgroup.subtree_control: +cpu +memory
        docker/longshore_0123_1/cpu.weight: 20"#]]
    .assert_eq(&written(root.path()));
}

#[test]
fn quota_of_a_shorter_period_is_told_with_it() {
    let quota = CpuQuota { us: 5_000, period_us: 10_000 };
    let group = TaskGroup { cpu_quota: Some(quota), memory_bytes: None, ..group() };
    let root = tempfile::tempdir().unwrap();
    at(root.path(), CgroupVersion::V2).write(&group).unwrap();
    let file = root.path().join("docker/longshore_0123_1/cpu.max");
    assert_eq!(fs::read_to_string(file).unwrap(), "5000 10000");
    expect!["set-property --runtime system-longshore_0123_1.slice CPUWeight=20 CPUQuota=50% CPUQuotaPeriodSec=10000us"]
        .assert_eq(&set_property(&group).join(" "));
}

#[test]
fn processes_of_a_task_are_limited_by_either_version_and_driver() {
    let group = TaskGroup { processes: Some(100), memory_bytes: None, cpu_quota: None, ..group() };
    let (v1, v2) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    at(v1.path(), CgroupVersion::V1).write(&group).unwrap();
    at(v2.path(), CgroupVersion::V2).write(&group).unwrap();
    expect![[r#"
        cpu/docker/longshore_0123_1/cpu.shares: 512
        pids/docker/longshore_0123_1/pids.max: 100"#]]
    .assert_eq(&written(v1.path()));
    expect![[r#"
        cgroup.subtree_control: +cpu +memory +pids
        docker/cgroup.subtree_control: +cpu +memory +pids
        docker/longshore_0123_1/cpu.weight: 20
        docker/longshore_0123_1/pids.max: 100"#]]
    .assert_eq(&written(v2.path()));
    expect!["set-property --runtime system-longshore_0123_1.slice CPUWeight=20 TasksMax=100"]
        .assert_eq(&set_property(&group).join(" "));
}

#[test]
fn systemd_is_told_of_a_slice_beside_dockers_scopes() {
    expect!["set-property --runtime system-longshore_0123_1.slice CPUWeight=20 CPUQuota=50% MemoryMax=134217728"]
        .assert_eq(&set_property(&group()).join(" "));
    expect!["stop system-longshore_0123_1.slice"].assert_eq(&stop("longshore_0123_1").join(" "));
    expect!["--no-reload revert system-longshore_0123_1.slice"]
        .assert_eq(&revert("longshore_0123_1").join(" "));
}

#[test]
fn docker_is_told_the_parent_in_its_drivers_words() {
    let parent = |driver| ControlGroups::new(Some("2"), Some(driver)).parent("longshore_0123_1");
    expect!["/docker/longshore_0123_1"].assert_eq(&parent("cgroupfs"));
    expect!["system-longshore_0123_1.slice"].assert_eq(&parent("systemd"));
}

#[test]
fn a_group_is_removed_from_every_hierarchy_and_none_is_no_error() {
    let root = tempfile::tempdir().unwrap();
    let groups = at(root.path(), CgroupVersion::V1);
    for hierarchy in ["cpu", "memory", "devices"] {
        fs::create_dir_all(root.path().join(hierarchy).join("docker/longshore_0123_1")).unwrap();
        fs::create_dir_all(root.path().join(hierarchy).join("docker/another")).unwrap();
    }
    groups.delete("longshore_0123_1").unwrap();
    groups.delete("longshore_0123_1").unwrap();
    for hierarchy in ["cpu", "memory", "devices"] {
        let left = fs::read_dir(root.path().join(hierarchy).join("docker")).unwrap();
        assert_eq!(left.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>(), ["another"]);
    }
}

#[test]
fn shares_become_the_weight_that_runc_gives() {
    assert_eq!((weight(2), weight(1024), weight(262_144)), (1, 39, 10_000));
}

/// The top of a hierarchy is closed to a root without capabilities.
#[test]
fn prepared_host_has_a_group_to_make_others_in() {
    for (version, made) in [
        (CgroupVersion::V1, vec!["cpu/docker", "memory/docker"]),
        (CgroupVersion::V2, vec!["docker"]),
    ] {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("cpu")).unwrap();
        fs::create_dir_all(root.path().join("memory")).unwrap();
        at(root.path(), version).prepare().unwrap();
        at(root.path(), version).prepare().unwrap();
        for group in made {
            assert!(root.path().join(group).is_dir(), "{version:?}: {group}");
        }
    }
}
