//! What of an agent's words is kept: no more than an agent of ours says, and no time or number that
//! cannot be. An enrolled host is a machine that may be in foreign hands: what it says goes into the
//! journal, into answers and into logs, and concerns its own tasks alone.
//!
//! Never: a refusal of the whole for a part. A task that stopped has stopped, however its host words
//! it; the same report again is cut to the same.

use std::{net::IpAddr, time::Duration};

use longshore_common::{
    clock::Timestamp,
    limits::{
        DEFINITION_BYTES_MAX, IMAGES_REPORTED_MAX, LAST_LINES_BYTES_MAX, LAST_LINES_MAX,
        NETWORK_BINDINGS_MAX, OVERRIDES_CHARS_MAX, REASON_CHARS_KEPT,
    },
    protocol::{ContainerReport, HeldImages, PullReport, ReportedPhase, RunIntent, TaskReport},
    task_definition::ContainerDefinition,
};

use super::task_definitions::REVISIONS_MAX;

/// Maximum time that a host's clock may be ahead of ours (ours): a later time is left out, since
/// nothing happened then, and since clients of the API cannot read every number as a date.
const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);
/// Maximum number of containers of one task (ecs-behaviour 1.3).
const CONTAINERS_MAX: usize = 10;
/// Maximum number of revisions of a family that the lost part of a journal is believed to have had
/// more (ours): what a host tells beyond is not believed, so that no host uses up the numbers.
pub(crate) const REVISIONS_LOST_MAX: u32 = 1_000;
/// Maximum length of a task's overrides in bytes: [`OVERRIDES_CHARS_MAX`] characters of at most
/// four bytes each.
const OVERRIDES_BYTES_MAX: usize = 4 * OVERRIDES_CHARS_MAX;
/// Maximum length of an id in characters (ours): Docker's ids have 64, digests of images 71
/// (`sha256:` and 64 digits) or, by a longer hash, 135; the rest is room to spare.
const ID_CHARS_MAX: usize = 256;
/// Maximum length of an image's name in characters (ours): the longest that ECS's `image` takes,
/// with some room for a digest.
const IMAGE_CHARS_MAX: usize = 512;

/// A report on a task of these containers, as it is kept.
pub(super) fn report(
    said: &TaskReport,
    containers: &[ContainerDefinition],
    at: Timestamp,
) -> TaskReport {
    let time = |said: Option<Timestamp>| said.filter(|said| can_be(*said, at));
    let mut phase = said.phase.clone();
    if let ReportedPhase::Stopping(cause) | ReportedPhase::Stopped(cause) = &mut phase {
        cut(&mut cause.reason, REASON_CHARS_KEPT);
    }
    // Reports on containers that the definition does not name are dropped.
    let told = containers.iter().filter_map(|defined| {
        let told = said.containers.iter().find(|told| told.name == defined.name)?;
        Some(container(told, bindings_max(defined), at))
    });
    let pulls = said.pulls.iter().filter(|pull| pull.image.len() <= IMAGE_CHARS_MAX);
    TaskReport {
        task: said.task,
        generation: said.generation,
        phase,
        containers: told.collect(),
        pull_started_at: time(said.pull_started_at),
        pull_stopped_at: time(said.pull_stopped_at),
        stopping_at: time(said.stopping_at),
        execution_stopped_at: time(said.execution_stopped_at),
        pulls: pulls.take(containers.len()).map(pull).collect(),
    }
}

fn pull(said: &PullReport) -> PullReport {
    let mut kept = said.clone();
    kept.last_error.iter_mut().for_each(|error| cut(error, REASON_CHARS_KEPT));
    kept
}

/// Each port of a range has a binding of its own, over IPv4 and IPv6.
fn bindings_max(defined: &ContainerDefinition) -> usize {
    let ranges = defined.port_mappings.iter().filter_map(|mapping| mapping.range());
    let ports: usize =
        ranges.map(|(first, last)| usize::from(last.saturating_sub(first)) + 1).sum();
    NETWORK_BINDINGS_MAX + 2 * ports
}

fn container(said: &ContainerReport, bindings_max: usize, at: Timestamp) -> ContainerReport {
    let short = |text: &Option<String>, chars| {
        text.as_ref().map(|text| text.chars().take(chars).collect::<String>())
    };
    let is_address = |bound: &&longshore_common::protocol::NetworkBinding| {
        bound.bind_ip.is_empty() || bound.bind_ip.parse::<IpAddr>().is_ok()
    };
    let bindings = said.network_bindings.iter().filter(is_address);
    ContainerReport {
        name: said.name.clone(),
        status: said.status,
        runtime_id: short(&said.runtime_id, ID_CHARS_MAX),
        image_digest: short(&said.image_digest, ID_CHARS_MAX),
        exit_code: said.exit_code,
        reason: short(&said.reason, REASON_CHARS_KEPT),
        network_bindings: bindings.take(bindings_max).cloned().collect(),
        health: said.health,
        started_at: said.started_at.filter(|said| can_be(*said, at)),
        finished_at: said.finished_at.filter(|said| can_be(*said, at)),
        last_lines: last_lines(&said.last_lines),
    }
}

/// The newest of the lines, in the room that an agent fills.
fn last_lines(said: &[String]) -> Vec<String> {
    let mut room = LAST_LINES_BYTES_MAX;
    let fits = |line: &&String| {
        let fits = line.len() <= room;
        room = room.saturating_sub(line.len());
        fits
    };
    let mut kept: Vec<String> =
        said.iter().rev().take(LAST_LINES_MAX).take_while(fits).cloned().collect();
    kept.reverse();
    kept
}

/// The images that a host holds, as far as placement looks at them.
pub(super) fn images(said: &HeldImages) -> HeldImages {
    let names = said.references.iter().filter(|name| name.len() <= IMAGE_CHARS_MAX);
    let references = names.take(IMAGES_REPORTED_MAX).cloned().collect();
    HeldImages { position: said.position, references }
}

/// Whether a task can be taken back by what its host says it was run with.
pub(super) fn can_be_taken_back(run: &RunIntent, at: Timestamp) -> bool {
    let order = &run.order;
    let texts = [&order.group, order.started_by.as_ref().unwrap_or(&order.group)];
    (1..=REVISIONS_MAX).contains(&run.definition.revision)
        && can_be(order.created_at, at)
        && texts.iter().all(|text| text.chars().count() <= ID_CHARS_MAX * 2)
        && order.container_ids.len() <= CONTAINERS_MAX
        && run.definition.spec.container_definitions.len() <= CONTAINERS_MAX
        && is_short(&run.definition.spec, DEFINITION_BYTES_MAX)
        && is_short(&order.overrides, OVERRIDES_BYTES_MAX)
}

/// Whether the value takes at most this number of bytes as JSON.
fn is_short(what: &impl serde::Serialize, bytes: usize) -> bool {
    serde_json::to_vec(what).is_ok_and(|json| json.len() <= bytes)
}

fn can_be(said: Timestamp, at: Timestamp) -> bool {
    said <= at.saturating_add(CLOCK_AHEAD_MAX)
}

fn cut(text: &mut String, chars: usize) {
    if let Some((end, _)) = text.char_indices().nth(chars) {
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use longshore_common::{
        id::TaskId,
        protocol::{ContainerStatus, NetworkBinding, ReportPosition},
        resources::Transport,
        task::{StopCause, StopCode},
    };

    use super::*;

    /// Time of the coordinator's clock in these tests.
    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn defined() -> Vec<ContainerDefinition> {
        let named =
            |name: &str| ContainerDefinition { name: name.to_owned(), ..Default::default() };
        vec![named("main"), named("side")]
    }

    fn huge(name: &str) -> ContainerReport {
        let binding = NetworkBinding {
            bind_ip: "::".to_owned(),
            container_port: 80,
            host_port: 8080,
            protocol: Transport::Tcp,
        };
        let foreign = NetworkBinding { bind_ip: "\u{1b}".repeat(1000), ..binding.clone() };
        ContainerReport {
            name: name.to_owned(),
            status: ContainerStatus::Stopped,
            runtime_id: Some("é".repeat(100_000)),
            image_digest: Some("s".repeat(100_000)),
            reason: Some("é".repeat(100_000)),
            network_bindings: [vec![foreign; 10], vec![binding; 20_000]].concat(),
            started_at: Some(Timestamp(u64::MAX)),
            finished_at: Some(Timestamp(7)),
            last_lines: vec!["x".repeat(100); 5000],
            ..ContainerReport::default()
        }
    }

    fn endless() -> TaskReport {
        let reason = "R".repeat(1_000_000);
        let other = ContainerReport { name: "other".to_owned(), ..ContainerReport::default() };
        let last_error = Some("E".repeat(100_000));
        let pull = |bytes| PullReport {
            image: "i".repeat(bytes),
            last_error: last_error.clone(),
            ..PullReport::default()
        };
        TaskReport {
            task: TaskId::new(1),
            generation: 1,
            phase: ReportedPhase::Stopped(StopCause { code: StopCode::UserInitiated, reason }),
            containers: [vec![other; 5000], vec![huge("side"); 2], vec![huge("main")]].concat(),
            pull_started_at: Some(Timestamp(u64::MAX)),
            pull_stopped_at: Some(NOW.saturating_add(CLOCK_AHEAD_MAX)),
            stopping_at: Some(Timestamp(1 << 63)),
            execution_stopped_at: Some(Timestamp(u64::MAX)),
            pulls: [vec![pull(100_000)], vec![pull(10); 5000]].concat(),
        }
    }

    #[test]
    fn report_without_end_is_kept_within_every_limit() {
        let kept = report(&endless(), &defined(), NOW);
        let ReportedPhase::Stopped(cause) = &kept.phase else { panic!("{:?}", kept.phase) };
        assert_eq!(cause.reason.chars().count(), REASON_CHARS_KEPT);
        let names: Vec<&str> = kept.containers.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["main", "side"]);
        for container in &kept.containers {
            let chars = |text: &Option<String>| text.as_ref().unwrap().chars().count();
            assert_eq!(chars(&container.reason), REASON_CHARS_KEPT);
            assert_eq!(chars(&container.runtime_id), ID_CHARS_MAX);
            assert_eq!(chars(&container.image_digest), ID_CHARS_MAX);
            assert_eq!(container.network_bindings.len(), NETWORK_BINDINGS_MAX);
            assert!(container.network_bindings.iter().all(|bound| bound.bind_ip == "::"));
            assert_eq!(container.last_lines.len(), LAST_LINES_MAX);
            assert_eq!((container.started_at, container.finished_at), (None, Some(Timestamp(7))));
        }
        assert_eq!(kept.pulls.len(), 2);
        for pull in &kept.pulls {
            let error = pull.last_error.as_ref().unwrap();
            assert_eq!((pull.image.len(), error.len()), (10, REASON_CHARS_KEPT));
        }
        assert_eq!((kept.pull_started_at, kept.stopping_at), (None, None));
        assert_eq!(kept.execution_stopped_at, None);
        assert_eq!(kept.pull_stopped_at, Some(NOW.saturating_add(CLOCK_AHEAD_MAX)));
    }

    #[test]
    fn what_was_cut_is_cut_no_further() {
        let once = report(&endless(), &defined(), NOW);
        assert_eq!(report(&once, &defined(), NOW), once);
    }

    #[test]
    fn last_lines_that_do_not_fit_are_the_older_ones() {
        let lines = ["a".repeat(LAST_LINES_BYTES_MAX), "b".to_owned(), "c".to_owned()];
        assert_eq!(last_lines(&lines), ["b", "c"]);
        assert_eq!(last_lines(&lines[..1]), lines[..1]);
    }

    #[test]
    fn images_beyond_the_limits_are_left_out() {
        let position = ReportPosition { session: 1, seq: 1 };
        let names = (0..10_000).map(|at| format!("image:{at}"));
        let references: Vec<String> = ["r".repeat(5000)].into_iter().chain(names).collect();
        let kept = images(&HeldImages { position, references });
        assert_eq!(kept.references.len(), IMAGES_REPORTED_MAX);
        assert_eq!(kept.references[0], "image:0");
    }
}
