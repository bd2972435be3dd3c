//! What the `awslogs` driver becomes on a host: Docker's own `local` log, which keeps bytes as they
//! were written, and a label that says to which group and stream the lines go.
//!
//! The log is Docker's so that a container never waits for this agent; the label is on the container
//! so that an agent without a ledger still knows where its lines belong. Pure.

use longshore_common::{
    logs::{
        mode::{self, LogDriverMode, MAX_BUFFER_SIZE, MAX_BUFFER_SIZE_DEFAULT, MODE},
        options::{AWSLOGS, AwslogsOptions},
    },
    task_definition::{ContainerDefinition, LogConfiguration},
};

use crate::{
    logs::destination::LogDestination,
    runtime::{
        LogTarget,
        local_log::{DRIVER, FILES},
    },
    task::key::TaskKey,
};

/// What Docker keeps for an agent that is away: a number of files of this size. Then it drops the oldest.
const FILE_SIZE: &str = "20m";

fn options(container: &ContainerDefinition) -> Option<AwslogsOptions> {
    let log = container.log_configuration.as_ref()?;
    if log.log_driver != AWSLOGS {
        return None;
    }
    // Refused before, otherwise: see `problem`.
    AwslogsOptions::parse(&log.options).ok()
}

/// What of the options cannot be carried out.
pub(crate) fn problem(container: &ContainerDefinition) -> Option<String> {
    let log = container.log_configuration.as_ref().filter(|log| log.log_driver == AWSLOGS)?;
    let invalid = AwslogsOptions::parse(&log.options).err()?;
    Some(format!("log driver {AWSLOGS}, which {invalid}"))
}

/// What the label says of a container that logs by this driver.
pub(crate) fn label(container: &ContainerDefinition, key: TaskKey) -> Option<String> {
    let options = options(container)?;
    let stream = stream(container, key);
    let destination = LogDestination {
        group: options.group,
        stream,
        event_start: options.event_start.map(|start| start.as_str().to_owned()),
    };
    Some(serde_json::to_string(&destination).expect("plain values only"))
}

/// The stream of a container that logs by this driver, when it is known before Docker has made it.
pub(crate) fn stream(container: &ContainerDefinition, key: TaskKey) -> Option<String> {
    let prefix = options(container)?.stream_prefix?;
    Some(format!("{prefix}/{}/{}", container.name, key.task))
}

/// The log that the container is made with.
pub(crate) fn log_target(
    container: &ContainerDefinition,
    mode_of_account: Option<LogDriverMode>,
) -> Option<LogTarget> {
    let options = options(container)?;
    // What is not set here would be as daemon.json's log-opts say: compressed files lose lines to
    // whoever reads them.
    let mut docker = vec![
        ("max-size", FILE_SIZE.to_owned()),
        ("max-file", FILES.to_string()),
        ("compress", "false".to_owned()),
    ];
    match options.buffer(mode_of_account) {
        Some(buffer) => docker.extend([
            (MODE, LogDriverMode::NonBlocking.as_str().to_owned()),
            (MAX_BUFFER_SIZE, buffer.to_owned()),
        ]),
        None => docker.push((MODE, LogDriverMode::Blocking.as_str().to_owned())),
    }
    let options = docker.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Some(LogTarget { driver: DRIVER.to_owned(), options })
}

/// The log of a container that logs by one of Docker's own drivers. A mode that the definition does
/// not name is the account's; a buffer belongs to the mode non-blocking alone.
pub(crate) fn passed_through(
    log: &LogConfiguration,
    mode_of_account: Option<LogDriverMode>,
) -> LogTarget {
    let mut options = log.options.clone();
    let given = options.get(MODE).and_then(|mode| LogDriverMode::parse(mode));
    // What Docker does not know is Docker's to refuse; an older order said nothing of a mode.
    if !options.contains_key(MODE) && mode_of_account.is_some() {
        let mode = mode::effective(given, mode_of_account);
        options.insert(MODE.to_owned(), mode.as_str().to_owned());
        match mode {
            LogDriverMode::NonBlocking => {
                options
                    .entry(MAX_BUFFER_SIZE.to_owned())
                    .or_insert_with(|| MAX_BUFFER_SIZE_DEFAULT.to_owned());
            }
            LogDriverMode::Blocking => {
                options.remove(MAX_BUFFER_SIZE);
            }
        }
    }
    LogTarget { driver: log.log_driver.clone(), options }
}

#[cfg(test)]
mod tests {
    use crate::logs::destination::LABEL;
    use expect_test::expect;
    use longshore_common::id::TaskId;
    use std::collections::BTreeMap;

    use super::*;

    fn container(options: serde_json::Value) -> ContainerDefinition {
        serde_json::from_value(serde_json::json!({
            "name": "app",
            "logConfiguration": { "logDriver": "awslogs", "options": options },
        }))
        .unwrap()
    }

    const KEY: TaskKey = TaskKey { task: TaskId::new(10), generation: 1 };

    #[test]
    fn lines_go_to_prefix_container_and_task() {
        let container = container(serde_json::json!({
            "awslogs-group": "/ecs/web", "awslogs-region": "us-east-1",
            "awslogs-stream-prefix": "web", "awslogs-datetime-format": "%Y",
        }));
        let label = label(&container, KEY).unwrap();
        expect![[r#"{"group":"/ecs/web","stream":"web/app/0000000000000000000000000000000a","event_start":"\\d{4}"}"#]]
            .assert_eq(&label);
        let target = log_target(&container, Some(LogDriverMode::Blocking)).unwrap();
        expect![[
            r#"local {"compress": "false", "max-file": "5", "max-size": "20m", "mode": "blocking"}"#
        ]]
        .assert_eq(&format!("{} {:?}", target.driver, target.options));
    }

    #[test]
    fn without_a_prefix_the_stream_is_the_containers_id() {
        let container = container(serde_json::json!({
            "awslogs-group": "g", "mode": "non-blocking", "max-buffer-size": "4m",
        }));
        let label = label(&container, KEY).unwrap();
        let labels = BTreeMap::from([(LABEL.to_owned(), label)]);
        let destination = LogDestination::of(&labels).unwrap();
        assert_eq!((destination.group.as_str(), destination.stream), ("g", None));
        let target = log_target(&container, None).unwrap();
        assert_eq!(target.options["max-buffer-size"], "4m");
    }

    /// By driver, the definition's options, the account's mode, and what Docker is told.
    #[test]
    fn mode_of_the_account_holds_where_the_definition_names_none() {
        use LogDriverMode::{Blocking, NonBlocking};
        let group = ("awslogs-group", "g");
        type Case<'c> = (
            &'c str,
            &'c [(&'c str, &'c str)],
            Option<LogDriverMode>,
            Option<&'c str>,
            Option<&'c str>,
        );
        let cases: &[Case<'_>] = &[
            ("awslogs", &[group], None, Some("blocking"), None),
            ("awslogs", &[group], Some(Blocking), Some("blocking"), None),
            ("awslogs", &[group], Some(NonBlocking), Some("non-blocking"), Some("10m")),
            (
                "awslogs",
                &[group, ("max-buffer-size", "1m")],
                Some(NonBlocking),
                Some("non-blocking"),
                Some("1m"),
            ),
            (
                "awslogs",
                &[group, ("max-buffer-size", "1m")],
                Some(Blocking),
                Some("blocking"),
                None,
            ),
            ("awslogs", &[group, ("mode", "blocking")], Some(NonBlocking), Some("blocking"), None),
            ("syslog", &[], None, None, None),
            ("syslog", &[], Some(Blocking), Some("blocking"), None),
            ("syslog", &[], Some(NonBlocking), Some("non-blocking"), Some("10m")),
            (
                "json-file",
                &[("max-buffer-size", "1m")],
                Some(NonBlocking),
                Some("non-blocking"),
                Some("1m"),
            ),
            ("gelf", &[("max-buffer-size", "1m")], Some(Blocking), Some("blocking"), None),
            ("gelf", &[("mode", "blocking")], Some(NonBlocking), Some("blocking"), None),
        ];
        for (driver, options, of_account, mode, buffer) in cases {
            let options: BTreeMap<&str, &str> = options.iter().copied().collect();
            let log = serde_json::json!({ "logDriver": driver, "options": options });
            let container = serde_json::json!({ "name": "app", "logConfiguration": log });
            let container: ContainerDefinition = serde_json::from_value(container).unwrap();
            let target = log_target(&container, *of_account).unwrap_or_else(|| {
                passed_through(container.log_configuration.as_ref().unwrap(), *of_account)
            });
            let told = |name: &str| target.options.get(name).map(String::as_str);
            assert_eq!(
                (told(MODE), told(MAX_BUFFER_SIZE)),
                (*mode, *buffer),
                "{driver} {options:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_carried_out_is_said() {
        let bad = container(serde_json::json!({ "awslogs-group": "g", "tag": "x" }));
        assert!(problem(&bad).unwrap().contains("has no option `tag`"));
        assert_eq!(problem(&container(serde_json::json!({ "awslogs-group": "g" }))), None);
    }
}
