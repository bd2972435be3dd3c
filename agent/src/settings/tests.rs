use std::{fmt::Write, path::PathBuf, time::Duration};

use expect_test::{Expect, expect};
use longshore_common::{
    protocol::Attribute,
    resources::{CpuUnits, MemoryMib},
    telemetry::LogFormat,
};

use super::*;

mod ecs_agent;
mod every_setting;
mod refusals;

/// What comes of flags, variables (one `NAME=VALUE` a line) and a file.
fn outcome(flags: &[&str], variables: &str, file: &str) -> Result<Settings, SettingsEnd> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.toml");
    fs_err::write(&path, file).unwrap();
    let mut arguments = vec!["longshore-agent".to_owned()];
    arguments.extend(["--config".to_owned(), path.display().to_string()]);
    arguments.extend(flags.iter().map(|&flag| flag.to_owned()));
    let environment = variables
        .lines()
        .filter_map(|line| line.trim().split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    load(&arguments, &environment)
}

/// 256 and 128 bits of nothing.
const TOKEN: &str =
    "v1-00000000000000000000000000000000000000000000000000-0000000000000000000000000";
const COORDINATOR: &str = "coordinator = 'c:1'";

fn good(flags: &[&str], variables: &str, file: &str) -> Settings {
    match outcome(flags, variables, &format!("{COORDINATOR}\n{file}")) {
        Ok(settings) => settings,
        Err(ended) => panic!("{ended:?}"),
    }
}

/// What is wrong, with the file's folder left out.
fn check_refused(flags: &[&str], variables: &str, file: &str, expected: Expect) {
    let Err(SettingsEnd::Bad(problems)) = outcome(flags, variables, file) else {
        panic!("these settings should be refused");
    };
    let mut shown = String::new();
    for line in problems.to_string().lines() {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        for word in &mut words {
            if let Some(at) = word.find("/agent.toml") {
                *word = format!("FILE{}", &word[at + "/agent.toml".len()..]);
            }
        }
        writeln!(shown, "{}", words.join(" ")).unwrap();
    }
    expected.assert_eq(&shown);
}

fn check_warnings(variables: &str, expected: Expect) {
    expected.assert_eq(&good(&[], variables, "").warnings.join("\n"));
}

fn shown(flags: &[&str]) -> String {
    format!("{:?}", good(flags, "", ""))
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let settings = good(&[], "", "");
    expect![[r#"
        Settings {
            coordinator: "c:1",
            join_token: None,
            container_instance: None,
            cluster: "default",
            data_dir: "/var/lib/longshore/agent",
            advertise: None,
            poll_listen: [::]:51680,
            introspection_listen: 127.0.0.1:51678,
            task_endpoints_listen: Some(
                169.254.170.2:80,
            ),
            task_endpoints_rate: RequestRate {
                steady: 40,
                burst: 60,
            },
            allow_instance_metadata: false,
            docker: "/var/run/docker.sock",
            cpu: None,
            memory: None,
            reserved_memory: MemoryMib(
                0,
            ),
            gpus: None,
            gpu_runtime: None,
            container_metadata: false,
            reserved_ports: [],
            dynamic_host_ports: None,
            task_limits: LimitRules {
                cpu_and_memory: true,
                processes: None,
                cpu_period_us: 100000,
            },
            attributes: [],
            tags: [],
            instance_type: None,
            availability_zone: None,
            instance_id: None,
            ec2_metadata: Auto,
            drain_on_spot_interruption: false,
            ec2_metadata_endpoint: "http://169.254.169.254",
            logging_drivers: None,
            privileged: true,
            task_policy: TaskPolicy {
                forbidden: {},
                bind_roots: None,
                allowed_volumes: {},
            },
            engine_sockets: [],
            volumes_socket: None,
            objects: None,
            efs: FileSystems(
                {},
            ),
            repository_credentials: RepositoryCredentials(
                {},
            ),
            registries: Registries {
                docker_config: None,
                auths: None,
            },
            image_pull: PullFirst,
            pull_dependent_upfront: false,
            image_cleanup: ImageCleanup {
                enabled: true,
                interval: 1800s,
                minimum_age: 3600s,
                removed_per_cycle: 5,
                exclude: [],
            },
            timeouts: Timeouts {
                version: 10s,
                pull: 7200s,
                manifest: 60s,
                pull_silence: 60s,
                load: 60s,
                create: 240s,
                start: 180s,
                stop: 120s,
                inspect: 30s,
                list: 60s,
                remove: 300s,
                last_lines: 2s,
            },
            container_stop_timeout: 30s,
            task_cleanup_wait: 10800s,
            stopped_tasks_kept: 200,
            disk: DiskRules {
                clean_at: 85,
                refuse_at: 95,
                floor_bytes: 134217728,
            },
            log_store_age: 604800s,
            log_store_size: MemoryMib(
                2048,
            ),
            log: "info",
            log_format: Text,
            warnings: [],
        }
    "#]]
    .assert_debug_eq(&settings);
}

#[test]
fn flags_win_over_variables_over_amazons_variables_over_the_file() {
    let cluster =
        |flags: &[&str], variables: &str| good(flags, variables, "cluster='file'").cluster;
    assert_eq!(cluster(&[], ""), "file");
    assert_eq!(cluster(&[], "ECS_CLUSTER=amazon"), "amazon");
    assert_eq!(cluster(&[], "ECS_CLUSTER=amazon\nLONGSHORE_CLUSTER=ours"), "ours");
    assert_eq!(cluster(&["--cluster", "flag"], "LONGSHORE_CLUSTER=ours"), "flag");
}

#[test]
fn an_empty_variable_is_not_set() {
    assert_eq!(good(&[], "ECS_CLUSTER=\nLONGSHORE_CLUSTER=", "cluster='file'").cluster, "file");
}

#[test]
fn gpus_are_named_found_or_not_offered_at_all() {
    use super::Gpus;
    let gpus = |flags: &[&str], variables: &str| good(flags, variables, "").gpus;
    assert_eq!(gpus(&[], ""), Gpus::None);
    assert_eq!(gpus(&[], "ECS_ENABLE_GPU_SUPPORT=false"), Gpus::None);
    assert_eq!(gpus(&[], "ECS_ENABLE_GPU_SUPPORT=true"), Gpus::Auto);
    let named = Gpus::Named(vec!["GPU-b".to_owned(), "MIG-a".to_owned()]);
    assert_eq!(gpus(&["--gpus", "GPU-b,MIG-a"], "ECS_ENABLE_GPU_SUPPORT=true"), named);
}

#[test]
fn the_file_may_use_toml_of_its_own_kinds() {
    let settings = good(
        &[],
        "",
        "cpu = 2048\ndisable_privileged = true\nreserved_ports = [8080, '53/udp']\n\
         [attributes]\nrack = '12'\n[tags]\nowner = 'a,b'",
    );
    assert_eq!(settings.cpu, Some(CpuUnits(2048)));
    assert!(!settings.privileged);
    assert_eq!(settings.reserved_ports.len(), 2);
    assert_eq!(settings.attributes[0].value.as_deref(), Some("12"));
    assert_eq!(settings.tags, [("owner".to_owned(), "a,b".to_owned())]);
}

#[test]
fn the_stronger_of_a_token_and_a_token_file_counts() {
    let token = |flags: &[&str], file: &str| good(flags, "", file).join_token;
    let by_file = token(&["--join-token-file", "/t"], "join_token = 'v1-x'");
    assert!(matches!(by_file, Some(TokenSource::File(_))), "{by_file:?}");
    let given = token(&["--join-token", TOKEN], "join_token_file = '/t'");
    assert!(matches!(given, Some(TokenSource::Given(_))), "{given:?}");
    check_refused(
        &["--coordinator=c", "--join-token=a", "--join-token-file=b"],
        "",
        "",
        expect![[r#"
            longshore-agent: --join-token and --join-token-file are both set: remove one of them
        "#]],
    );
}

#[test]
fn a_coordinator_is_a_host_with_the_joining_port_unless_another_is_given() {
    let coordinator = |text: &str| good(&["--coordinator", text], "", "").coordinator;
    assert_eq!(coordinator("10.0.0.1"), "10.0.0.1:8421");
    assert_eq!(coordinator("c.example:9"), "c.example:9");
    assert_eq!(coordinator("2001:db8::1"), "[2001:db8::1]:8421");
    assert_eq!(coordinator("[2001:db8::1]:9"), "[2001:db8::1]:9");
}

#[test]
fn the_help_names_every_setting_with_its_variable() {
    let Err(SettingsEnd::Shown(help)) = outcome(&["--help"], "", "") else { panic!() };
    for setting in table::SETTINGS {
        assert!(help.contains(&format!("--{}", setting.name)), "{}", setting.name);
        assert!(help.contains(&setting.variable()), "{}", setting.name);
    }
}

#[test]
fn the_help_lists_the_subcommands_and_each_has_its_own() {
    let help = |subcommand: Option<&str>| {
        let arguments = ["longshore-agent", "--help"].map(str::to_owned);
        match load_for(subcommand, &arguments, &Environment::new()) {
            Err(SettingsEnd::Shown(help)) => help,
            other => panic!("{other:?}"),
        }
    };
    let general = help(None);
    let mut seen = vec![general.clone()];
    for (name, about) in SUBCOMMANDS {
        assert!(general.contains(&format!("  {name} ")), "{name}");
        let own = help(Some(name));
        assert!(own.starts_with(&about[..40]), "{own}");
        assert!(own.contains(&format!("Usage: longshore-agent {name} ")), "{own}");
        assert!(own.contains("--task-endpoints-listen"), "{name} takes the settings");
        assert!(!seen.contains(&own));
        seen.push(own);
    }
}

/// The file that `make install` installs: every setting stands in it, as a comment.
#[test]
fn example_file_shows_every_setting_in_a_form_that_is_accepted() {
    let example = include_str!("../../../systemd/agent.toml");
    let as_installed = outcome(&["--coordinator=c"], "", example).unwrap();
    assert_eq!(as_installed.warnings, [""; 0]);
    let shown = |line: &&str| {
        line.strip_prefix('#')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    let lines: Vec<&str> =
        example.lines().filter(shown).map(|line| line.trim_start_matches('#')).collect();
    for setting in table::SETTINGS {
        let line = lines.iter().find(|line| line.starts_with(&format!("{} = ", setting.key())));
        let line = line.unwrap_or_else(|| panic!("{} is not in the example", setting.key()));
        let flags: &[&str] = if setting.name == "coordinator" { &[] } else { &["--coordinator=c"] };
        outcome(flags, "", line).unwrap_or_else(|ended| panic!("{line}: {ended:?}"));
    }
    assert_eq!(lines.len(), table::SETTINGS.len());
}
