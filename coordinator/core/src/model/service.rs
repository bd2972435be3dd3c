//! What a service is told to be: the typed parts that commands, events and records share.
//!
//! Owns the words and their arithmetic (percentages, thresholds). Never: state, or a decision that
//! needs any.

use std::{fmt, time::Duration};

use longshore_common::{boolean, id::Id};
use serde::{Deserialize, Serialize};

use super::{capacity_provider::StrategyItem, name::ClusterName};
use crate::{
    model::{
        attachment::{self, AttachmentSpec, RESOURCES_TAG, TARGETS_TAG},
        options::{OPTION_PREFIX, not_a_time, parse_seconds},
        tags::Tags,
    },
    placement::{AVAILABILITY_ZONE, SpreadOver, Strategy},
    query::Constraint,
};

pub use super::name::ServiceName;

/// One service, from its creation to the end of its description. A later service of the same name
/// is another one.
pub type ServiceId = Id<kind::Service>;
/// One run of the deployment engine: the last part of a service deployment's ARN.
pub type DeploymentId = Id<kind::Deployment>;
/// A lifecycle hook of one deployment at one stage.
pub type HookId = Id<kind::Hook>;

/// What these ids name. The types have no values.
pub mod kind {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Service {}
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Deployment {}
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Hook {}
}

/// Names one revision of a service, or one task set: the 19 digits of `ecs-svc/<digits>`. The same
/// digits end its service revision's ARN, which is how clients find the one from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RevisionId(u64);

impl RevisionId {
    /// Least number that has 19 digits.
    const LEAST: u64 = 1_000_000_000_000_000_000;

    /// Makes an id from random bits.
    pub fn from_entropy(bits: u64) -> Self {
        RevisionId(Self::LEAST + bits % (9 * Self::LEAST))
    }

    pub fn value(self) -> u64 {
        self.0
    }

    pub fn parse(digits: &str) -> Option<Self> {
        let all = digits.len() == 19 && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse().ok().filter(|_| all).map(RevisionId)
    }
}

impl fmt::Display for RevisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:019}", self.0)
    }
}

/// A service as users name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceRef {
    pub cluster: ClusterName,
    pub name: ServiceName,
}

/// Everything of a service that can change without a new revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceConfig {
    /// Desired count; it means nothing for a daemon, whose hosts are counted.
    pub desired: u32,
    pub scheduling: Scheduling,
    pub controller: Controller,
    pub deployment: DeploymentConfig,
    pub distinct_instance: bool,
    #[serde(default)]
    pub member_of: Vec<Constraint>,
    pub strategies: Vec<Strategy>,
    /// The capacity provider strategy; none at all: every host of the cluster will do.
    #[serde(default)]
    pub capacity: Vec<StrategyItem>,
    /// healthCheckGracePeriodSeconds.
    pub grace_s: Option<u32>,
    pub az_rebalancing: bool,
    pub propagate_tags: PropagateTags,
    pub managed_tags: bool,
    pub options: ServiceOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheduling {
    Replica,
    Daemon,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Controller {
    Ecs,
    /// Task sets, made and scaled by somebody else.
    External,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PropagateTags {
    None,
    TaskDefinition,
    Service,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeploymentConfig {
    pub minimum_healthy_percent: u32,
    pub maximum_percent: u32,
    pub strategy: DeploymentStrategy,
    pub circuit_breaker: CircuitBreaker,
    pub alarms: Option<DeploymentAlarms>,
    /// Bake time of ROLLING with alarms and of BLUE_GREEN.
    pub bake_minutes: Option<u32>,
    pub hooks: Vec<LifecycleHook>,
    pub early_success: Option<EarlySuccess>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeploymentStrategy {
    Rolling,
    BlueGreen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CircuitBreaker {
    pub enable: bool,
    pub rollback: bool,
    pub reset_on_healthy_task: bool,
    pub threshold: Threshold,
}

/// `thresholdConfiguration` (ecs-behaviour 1.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Threshold {
    Count(u32),
    /// Percentage of the desired count, at least 3 tasks and at most 200.
    BoundedPercent(u32),
    UnboundedPercent(u32),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentAlarms {
    pub names: Vec<String>,
    pub enable: bool,
    pub rollback: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlySuccess {
    pub enable: bool,
    pub healthy_percent: u32,
    pub cleanup: RevisionCleanup,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RevisionCleanup {
    /// The old tasks are gone before the deployment has succeeded.
    Blocking,
    Deferred,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LifecycleHook {
    pub target: HookTarget,
    pub stages: Vec<HookStage>,
    pub timeout_minutes: u32,
    pub on_timeout: HookAction,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HookTarget {
    Pause,
    /// Called as ECS calls a Lambda function; ECS's members are kept as they were given.
    Http {
        url: String,
        role_arn: Option<String>,
        details: Option<serde_json::Value>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HookAction {
    Rollback,
    Continue,
}

/// The stages at which a hook may be (ecs-behaviour 1.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HookStage {
    ReconcileService,
    PreScaleUp,
    PostScaleUp,
    TestTrafficShift,
    PostTestTrafficShift,
    PreProductionTrafficShift,
    ProductionTrafficShift,
    PostProductionTrafficShift,
}

/// What ECS's API cannot say of a service, from the `longshore:` tags of the service or of its
/// cluster (design.md rules 6 and 10). An absent member is the next one's to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceOptions {
    pub lost_after: Option<LostAfter>,
    pub replace: Option<bool>,
    pub reconcile: Option<Reconcile>,
    pub healthy_after_ms: Option<u64>,
    pub rebalance_hosts: Option<bool>,
    /// What programs of the user's attach to each task that the service starts from now on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentSpec>,
}

/// What holds for one service: its own options, else its cluster's, else the coordinator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServicePolicy {
    /// How long a host may be silent until its tasks of this service are lost.
    pub lost_after: LostAfter,
    /// Whether lost tasks are replaced. Without it, never more than the desired count may run,
    /// whatever maximumPercent allows: a deployment stops first.
    pub replace: bool,
    pub reconcile: Reconcile,
    /// How long a task without health checks runs until it counts as healthy.
    pub healthy_after: Duration,
    /// Moves tasks to a host that joined.
    pub rebalance_hosts: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LostAfter {
    Milliseconds(u64),
    Never,
}

impl LostAfter {
    /// `None`: never.
    pub fn duration(self) -> Option<Duration> {
        match self {
            LostAfter::Milliseconds(milliseconds) => Some(Duration::from_millis(milliseconds)),
            LostAfter::Never => None,
        }
    }

    /// Seconds, or `never`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "never" => Some(LostAfter::Never),
            _ => parse_seconds(text).map(LostAfter::Milliseconds),
        }
    }
}

/// Which copy stays when a lost host returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reconcile {
    KeepOriginal,
    KeepReplacement,
    LongestRunning,
}

impl ServiceConfig {
    /// Why the service cannot be balanced over availability zones, if it cannot (ecs-behaviour
    /// 1.13): the end of a sentence.
    pub fn obstacle_to_az_rebalancing(&self) -> Option<&'static str> {
        let spreads = match self.strategies.first() {
            None => true,
            Some(Strategy::Spread(SpreadOver::Attribute(name))) => name == AVAILABILITY_ZONE,
            Some(Strategy::Spread(SpreadOver::Instance))
            | Some(Strategy::Binpack(_) | Strategy::Random) => false,
        };
        if self.scheduling == Scheduling::Daemon {
            Some("the DAEMON scheduling strategy")
        } else if self.controller == Controller::External {
            Some("the EXTERNAL deployment controller")
        } else if self.deployment.maximum_percent <= 100 {
            Some("a maximumPercent of 100")
        } else if !spreads {
            Some("a placementStrategy that does not first spread over ecs.availability-zone")
        } else if self.member_of.iter().any(|one| one.names_attribute(AVAILABILITY_ZONE)) {
            Some("a placement constraint on ecs.availability-zone")
        } else {
            None
        }
    }
}

impl Default for ServicePolicy {
    fn default() -> Self {
        ServicePolicy {
            // design.md rule 5.
            lost_after: LostAfter::Milliseconds(10_000),
            replace: true,
            reconcile: Reconcile::KeepOriginal,
            // ecs-behaviour 1.9, healthy means.
            healthy_after: Duration::from_secs(40),
            rebalance_hosts: false,
        }
    }
}

impl ServicePolicy {
    /// This policy where `options` say nothing else.
    pub fn with(self, options: &ServiceOptions) -> Self {
        let healthy_after = options.healthy_after_ms.map(Duration::from_millis);
        ServicePolicy {
            lost_after: options.lost_after.unwrap_or(self.lost_after),
            replace: options.replace.unwrap_or(self.replace),
            reconcile: options.reconcile.unwrap_or(self.reconcile),
            healthy_after: healthy_after.unwrap_or(self.healthy_after),
            rebalance_hosts: options.rebalance_hosts.unwrap_or(self.rebalance_hosts),
        }
    }
}

/// The tags of a service or cluster that are settings, in the order in which a refusal lists them.
pub const SERVICE_OPTION_TAGS: [&str; 7] = [
    RESOURCES_TAG,
    TARGETS_TAG,
    "longshore:healthy-after",
    "longshore:lost-after",
    "longshore:rebalance",
    "longshore:reconcile",
    "longshore:replace",
];

impl ServiceOptions {
    /// Reads the `longshore:` tags; the error is a sentence for the user.
    pub fn of_tags(tags: &Tags) -> Result<Self, String> {
        let mut options = ServiceOptions::default();
        for (name, value) in tags.iter().filter(|(name, _)| name.starts_with(OPTION_PREFIX)) {
            match name.as_str() {
                RESOURCES_TAG | TARGETS_TAG => {
                    options.attachments.extend(attachment::parse_tag(name, value)?);
                }
                "longshore:healthy-after" => {
                    let parsed = parse_seconds(value);
                    options.healthy_after_ms = Some(parsed.ok_or_else(|| not_a_time(name, value))?);
                }
                "longshore:lost-after" => {
                    let parsed = LostAfter::parse(value);
                    options.lost_after = Some(parsed.ok_or_else(|| not_a_time(name, value))?);
                }
                "longshore:rebalance" => {
                    let choices = [("hosts", true), ("none", false)];
                    options.rebalance_hosts = Some(one_of(name, value, &choices)?);
                }
                "longshore:reconcile" => {
                    let choices = [
                        ("keep-original", Reconcile::KeepOriginal),
                        ("keep-replacement", Reconcile::KeepReplacement),
                        ("longest-running", Reconcile::LongestRunning),
                    ];
                    options.reconcile = Some(one_of(name, value, &choices)?);
                }
                "longshore:replace" => {
                    let parsed = boolean::parse(value);
                    options.replace = Some(parsed.ok_or_else(|| {
                        format!("The tag {name} is `{value}`; say {}.", boolean::FORMS)
                    })?);
                }
                _ => {
                    return Err(format!(
                        "The tag `{name}` is not a setting of services. Known: {}.",
                        SERVICE_OPTION_TAGS.join(", ")
                    ));
                }
            }
        }
        attachment::check(&options.attachments)?;
        Ok(options)
    }

    /// What is attached to tasks of a service with these options: its own attachments, else its
    /// cluster's. Never both: together they could be too many, or named alike.
    pub(crate) fn attachments_over(&self, of_cluster: &ServiceOptions) -> Vec<AttachmentSpec> {
        match self.attachments.is_empty() {
            true => of_cluster.attachments.clone(),
            false => self.attachments.clone(),
        }
    }
}

fn one_of<T: Copy>(name: &str, value: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(word, _)| *word == value);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        format!("The tag {name} is `{value}`; say {}.", words.join(" or "))
    })
}

impl DeploymentConfig {
    /// The fewest healthy tasks while `desired` are wanted (ecs-behaviour 1.9: rounded up).
    pub fn healthy_floor(&self, desired: u32) -> u32 {
        count(percent_of(desired, self.minimum_healthy_percent).div_ceil(100))
    }

    /// The most running and pending tasks (ecs-behaviour 1.9: rounded down).
    pub fn running_ceiling(&self, desired: u32) -> u32 {
        count(percent_of(desired, self.maximum_percent) / 100)
    }
}

impl CircuitBreaker {
    /// Failures in a row that fail a deployment (ecs-behaviour 1.10).
    pub fn threshold(&self, desired: u32) -> u32 {
        let share = |percent| count(percent_of(desired, percent).div_ceil(100));
        match self.threshold {
            Threshold::Count(count) => count.max(1),
            Threshold::BoundedPercent(percent) => share(percent).clamp(3, 200),
            Threshold::UnboundedPercent(percent) => share(percent).max(1),
        }
    }
}

/// More tasks than can be counted are as many as can be.
pub(crate) fn count(tasks: u64) -> u32 {
    u32::try_from(tasks).unwrap_or(u32::MAX)
}

fn percent_of(count: u32, percent: u32) -> u64 {
    u64::from(count) * u64::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(minimum: u32, maximum: u32) -> DeploymentConfig {
        DeploymentConfig {
            minimum_healthy_percent: minimum,
            maximum_percent: maximum,
            strategy: DeploymentStrategy::Rolling,
            circuit_breaker: breaker(Threshold::BoundedPercent(50)),
            alarms: None,
            bake_minutes: None,
            hooks: Vec::new(),
            early_success: None,
        }
    }

    fn breaker(threshold: Threshold) -> CircuitBreaker {
        CircuitBreaker { enable: true, rollback: true, reset_on_healthy_task: true, threshold }
    }

    #[test]
    fn the_floor_is_rounded_up_and_the_ceiling_down() {
        // The documentation's own four examples.
        assert_eq!(config(50, 200).healthy_floor(4), 2);
        assert_eq!(config(75, 200).healthy_floor(2), 2);
        assert_eq!(config(100, 125).running_ceiling(3), 3);
        assert_eq!(config(100, 200).running_ceiling(4), 8);
    }

    /// Against arithmetic that cannot overflow, at the edges of what the API takes.
    #[test]
    fn percentages_are_exact_up_to_the_largest_count() {
        let exact = |desired: u32, percent: u32, up: bool| {
            let hundredths = u128::from(desired) * u128::from(percent);
            let whole = if up { hundredths.div_ceil(100) } else { hundredths / 100 };
            u32::try_from(whole).unwrap_or(u32::MAX)
        };
        let edges = [0, 1, 2, 99, 100, 101, 100_000, i32::MAX as u32, u32::MAX - 1, u32::MAX];
        for desired in edges {
            for percent in edges {
                let config = config(percent, percent);
                assert_eq!(config.healthy_floor(desired), exact(desired, percent, true));
                assert_eq!(config.running_ceiling(desired), exact(desired, percent, false));
                let threshold = breaker(Threshold::UnboundedPercent(percent)).threshold(desired);
                assert_eq!(threshold, exact(desired, percent, true).max(1));
            }
        }
    }

    #[test]
    fn the_breakers_threshold_is_half_of_the_desired_count_within_bounds() {
        let threshold = |desired| breaker(Threshold::BoundedPercent(50)).threshold(desired);
        assert_eq!([1, 6, 25, 100, 400, 5000].map(threshold), [3, 3, 13, 50, 200, 200]);
        assert_eq!(breaker(Threshold::Count(7)).threshold(1), 7);
        assert_eq!(breaker(Threshold::UnboundedPercent(50)).threshold(1), 1);
        assert_eq!(breaker(Threshold::UnboundedPercent(50)).threshold(1000), 500);
    }

    #[test]
    fn options_come_from_tags_and_an_unknown_one_is_refused_with_the_list() {
        let tags = |pairs: &[(&str, &str)]| -> Tags {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let read = |pairs: &[(&str, &str)]| ServiceOptions::of_tags(&tags(pairs));
        let options = read(&[
            ("team", "web"),
            ("longshore:lost-after", "2s"),
            ("longshore:healthy-after", "0.5"),
            ("longshore:replace", "false"),
            ("longshore:reconcile", "keep-replacement"),
            ("longshore:rebalance", "hosts"),
        ]);
        let policy = ServicePolicy::default().with(&options.unwrap());
        assert_eq!(policy.lost_after, LostAfter::Milliseconds(2000));
        assert_eq!(policy.healthy_after, Duration::from_millis(500));
        assert!(!policy.replace && policy.rebalance_hosts);
        assert_eq!(policy.reconcile, Reconcile::KeepReplacement);
        let never = read(&[("longshore:lost-after", "never")]).unwrap();
        assert_eq!(ServicePolicy::default().with(&never).lost_after, LostAfter::Never);
        for bad in ["", "-1", "soon", "1e9", "NaN"] {
            assert!(read(&[("longshore:lost-after", bad)]).is_err(), "{bad}");
        }
        let unknown = read(&[("longshore:lost", "1")]).unwrap_err();
        assert!(unknown.contains("longshore:lost-after"), "{unknown}");
    }

    #[test]
    fn a_revision_has_19_digits_and_is_read_back() {
        for bits in [0, 1, u64::MAX, 1 << 63] {
            let id = RevisionId::from_entropy(bits);
            assert_eq!(id.to_string().len(), 19);
            assert_eq!(RevisionId::parse(&id.to_string()), Some(id));
        }
        assert_eq!(RevisionId::parse("12"), None);
    }
}
