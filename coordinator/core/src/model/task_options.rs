//! What ECS's API cannot say of a task, from its `longshore:` tags (design.md rule 10).

use serde::{Deserialize, Serialize};

use crate::model::{
    attachment::{self, AttachmentSpec, RESOURCES_TAG, TARGETS_TAG},
    options::{OPTION_PREFIX, not_a_time, parse_seconds},
    tags::Tags,
};

/// How long RunTask's tasks may wait for a host.
pub(crate) const WAIT: &str = "longshore:wait";
/// How long a task may be RUNNING.
const TIMEOUT: &str = "longshore:timeout";

/// The tags of a task that are settings, in the order in which a refusal lists them.
pub const TASK_OPTION_TAGS: [&str; 4] = [RESOURCES_TAG, TARGETS_TAG, TIMEOUT, WAIT];

/// Times in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskOptions {
    /// Time that tasks of RunTask without a host wait for one before they are given up. Absent:
    /// such tasks are in `failures[]` at once, as in ECS.
    pub wait_ms: Option<u64>,
    /// Time in RUNNING after which a task is stopped. Absent: never.
    pub timeout_ms: Option<u64>,
    /// What programs of the user's attach to each task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentSpec>,
}

impl TaskOptions {
    /// Reads the `longshore:` tags; the error is a sentence for the user.
    pub fn of_tags(tags: &Tags) -> Result<Self, String> {
        let mut options = TaskOptions::default();
        for (name, value) in tags.iter().filter(|(name, _)| name.starts_with(OPTION_PREFIX)) {
            let option = match name.as_str() {
                WAIT => &mut options.wait_ms,
                TIMEOUT => &mut options.timeout_ms,
                RESOURCES_TAG | TARGETS_TAG => {
                    let specs = attachment::parse_tag(name, value)?;
                    options.attachments.extend(specs);
                    continue;
                }
                _ => {
                    return Err(format!(
                        "The tag `{name}` is not a setting of tasks. Known: {}.",
                        TASK_OPTION_TAGS.join(", ")
                    ));
                }
            };
            let time = parse_seconds(value).filter(|milliseconds| *milliseconds > 0);
            *option = Some(time.ok_or_else(|| not_a_time(name, value))?);
        }
        attachment::check(&options.attachments)?;
        Ok(options)
    }
}

/// A time as users read it: `90 s`, `0.5 s`.
pub fn seconds(milliseconds: u64) -> String {
    format!("{} s", milliseconds as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<TaskOptions, String> {
        let tags = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        TaskOptions::of_tags(&tags.collect())
    }

    #[test]
    fn options_come_from_tags_and_an_unknown_one_is_refused_with_the_list() {
        let options = read(&[(WAIT, "90"), (TIMEOUT, "0.5s"), ("team", "web")]).unwrap();
        assert_eq!(
            options,
            TaskOptions { wait_ms: Some(90_000), timeout_ms: Some(500), ..TaskOptions::default() }
        );
        assert_eq!(read(&[]), Ok(TaskOptions::default()));
        for bad in ["", "0", "-1", "soon", "1e9"] {
            assert!(read(&[(TIMEOUT, bad)]).unwrap_err().contains("in seconds"), "{bad}");
        }
        let unknown = read(&[("longshore:waits", "1")]).unwrap_err();
        assert!(unknown.ends_with("longshore:timeout, longshore:wait."), "{unknown}");
        let attached = read(&[(RESOURCES_TAG, "vip lease"), (TARGETS_TAG, "proxy")]).unwrap();
        let names = attached.attachments.iter().map(|spec| (spec.kind.name(), &*spec.name));
        let expected = [
            ("LongshoreExternalResource", "vip"),
            ("LongshoreExternalResource", "lease"),
            ("LongshoreExternalTarget", "proxy"),
        ];
        assert_eq!(names.collect::<Vec<_>>(), expected);
        assert!(read(&[(TARGETS_TAG, "a=b")]).unwrap_err().contains("names with spaces"));
        let twice = read(&[(RESOURCES_TAG, "vip"), (TARGETS_TAG, "vip")]).unwrap_err();
        assert!(twice.contains("named twice"), "{twice}");
        let many = read(&[(TARGETS_TAG, "a b c d e f g h i j k")]).unwrap_err();
        assert!(many.contains("at most 10"), "{many}");
        assert_eq!([seconds(90_000), seconds(500)], ["90 s", "0.5 s"]);
    }
}
