//! What an Auto Scaling group and its instances are: the words of commands, events and the state.
//!
//! A group says how many hosts there are to be and who launches them. An instance is a host of a
//! group from the wish for it until nothing of it is left; its id is given here, before anything is
//! launched, so that launching and terminating can be repeated.

use std::{borrow::Borrow, collections::BTreeMap, fmt, str::FromStr, sync::Arc, time::Duration};

use longshore_common::{clock::Timestamp, id::HostId, protocol::Attribute, resources::Capacity};
use serde::{Deserialize, Serialize};

/// Maximum number of groups (Auto Scaling's quota in a region).
pub const GROUPS_MAX: usize = 500;
/// Maximum number of instances in one group (ours): as many as a cluster may have hosts.
pub const GROUP_SIZE_MAX: u32 = 5_000;
/// Maximum length of a group's name in characters (Auto Scaling's limit).
pub const GROUP_NAME_CHARS_MAX: usize = 255;
/// Maximum time that a host's tasks may take to leave (ecs-behaviour 1.15, managed draining).
pub const DRAINING_MAX: Duration = Duration::from_secs(48 * 3600);
/// Interval until a launcher that failed is asked again (ours), doubled with every further failure.
const RETRY_FIRST: Duration = Duration::from_secs(5);
/// Maximum interval until a launcher that failed is asked again (ours).
const RETRY_MAX: Duration = Duration::from_secs(300);

/// Auto Scaling's rule: 1 to 255 characters, no control characters and no colon. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AutoScalingGroupName(Arc<str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of an Auto Scaling group has 1 to {GROUP_NAME_CHARS_MAX} characters, no colons and no control characters"
)]
pub struct NotAGroupName;

/// EC2's form, `i-` and 17 hexadecimal digits: the first 8 are the group's, the others count its
/// instances, so that no id is ever given twice and every id leads to its group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId {
    pub group: u32,
    pub number: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an instance id is `i-` and 17 hexadecimal digits in lower case")]
pub struct NotAnInstanceId;

/// What can be changed of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupConfig {
    pub min: u32,
    pub max: u32,
    pub desired: u32,
    /// `DefaultCooldown`: of SetDesiredCapacity with HonorCooldown.
    pub cooldown_s: u32,
    /// `HealthCheckGracePeriod`: an instance that its launcher no longer lists is not replaced so
    /// soon after it came into service.
    pub grace_s: u32,
    /// `NewInstancesProtectedFromScaleIn`.
    pub protects_new: bool,
    pub launch: LaunchSource,
    /// Zones that the launcher is told.
    pub zones: Vec<String>,
    /// `VPCZoneIdentifier`; told to the launcher.
    pub subnets: Option<String>,
    pub tags: BTreeMap<String, GroupTag>,
}

/// Both name a launcher of the settings; the form is kept to be shown again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LaunchSource {
    Configuration { launcher: String },
    Template { launcher: String, version: Option<String> },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupTag {
    pub value: String,
    /// `PropagateAtLaunch`: told to the launcher.
    pub propagate: bool,
}

/// One that UpdateAutoScalingGroup names changes, others stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupChange {
    pub min: Option<u32>,
    pub max: Option<u32>,
    pub desired: Option<u32>,
    pub cooldown_s: Option<u32>,
    pub grace_s: Option<u32>,
    pub protects_new: Option<bool>,
    pub launch: Option<LaunchSource>,
    pub zones: Option<Vec<String>>,
    pub subnets: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub id: InstanceId,
    pub lifecycle: Lifecycle,
    /// `ProtectedFromScaleIn`.
    pub protected: bool,
    /// When the instance was first wanted.
    pub created_at: Timestamp,
    /// The container instance that registered with this id, or with its machine's.
    pub host: Option<HostId>,
    /// Tries of the call that the instance's lifecycle waits for.
    pub tries: Tries,
    /// The EC2 instance that fills it, when its launcher cannot be told an id and gives one.
    #[serde(default)]
    pub machine: Option<InstanceId>,
}

/// Auto Scaling's `LifecycleState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifecycle {
    /// `Pending`: the launcher is to launch it, or has (`launched`) and it has not registered yet.
    Pending {
        launched: Option<Timestamp>,
    },
    InService {
        since: Timestamp,
    },
    /// `Terminating:Wait`: its tasks leave.
    Draining {
        since: Timestamp,
    },
    /// `Terminating`: the launcher is to terminate it.
    Terminating {
        since: Timestamp,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    /// Number of failures in a row.
    pub failures: u32,
    /// The launcher is not asked before.
    pub next: Timestamp,
    /// What the launcher said last.
    pub error: Option<String>,
}

/// A group as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    pub name: AutoScalingGroupName,
    /// The UUID of its ARN; its first 32 bits begin its instances' ids.
    pub uid: u128,
    pub config: GroupConfig,
    pub created_at: Timestamp,
    /// When `desired` last changed.
    pub scaled_at: Option<Timestamp>,
    /// The number of its next instance.
    pub next_number: u64,
    /// True when the group is removed as soon as its instances are gone.
    pub deleting: bool,
    pub instances: Vec<Instance>,
    /// What the instance offered that registered last.
    #[serde(default)]
    pub size: Option<Capacity>,
    /// Time since which the group has more instances than its tasks need.
    #[serde(default)]
    pub excess_since: Option<Timestamp>,
    /// What its instances were like for placement, the last one first.
    #[serde(default)]
    pub shapes: Vec<InstanceShape>,
}

/// Maximum number of shapes that are kept of one group (ours): instances in different zones, or
/// with attributes of their own, differ.
pub const SHAPES_MAX: usize = 8;

/// What an instance was like for placement, its size apart: the next one may be like it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceShape {
    pub attributes: Vec<Attribute>,
    pub agent_version: String,
    /// When an instance was last seen to be like this. Older journals do not say.
    #[serde(default)]
    pub seen_at: Timestamp,
}

impl InstanceShape {
    pub fn is_like(&self, other: &InstanceShape) -> bool {
        (&self.attributes, &self.agent_version) == (&other.attributes, &other.agent_version)
    }
}

/// What a launcher was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LauncherVerb {
    Launch,
    Terminate,
}

impl AutoScalingGroupName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AutoScalingGroupName {
    type Err = NotAGroupName;

    fn from_str(text: &str) -> Result<Self, NotAGroupName> {
        // No more bytes are looked at than the longest name can have.
        let fits = text.len() <= GROUP_NAME_CHARS_MAX * 4
            && (1..=GROUP_NAME_CHARS_MAX).contains(&text.chars().count());
        if !fits || text.chars().any(|c| c.is_control() || c == ':') {
            return Err(NotAGroupName);
        }
        Ok(AutoScalingGroupName(text.into()))
    }
}

impl TryFrom<String> for AutoScalingGroupName {
    type Error = NotAGroupName;

    fn try_from(text: String) -> Result<Self, NotAGroupName> {
        text.parse()
    }
}

impl From<AutoScalingGroupName> for String {
    fn from(name: AutoScalingGroupName) -> String {
        name.0.as_ref().to_owned()
    }
}

impl Borrow<str> for AutoScalingGroupName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AutoScalingGroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AutoScalingGroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl InstanceId {
    /// Maximum number that the digits of an instance's id can express.
    pub const NUMBER_MAX: u64 = (1 << 36) - 1;

    /// The part of a group's UUID that its instances' ids begin with.
    pub fn group_of(uid: u128) -> u32 {
        (uid >> 96) as u32
    }
}

impl FromStr for InstanceId {
    type Err = NotAnInstanceId;

    fn from_str(text: &str) -> Result<Self, NotAnInstanceId> {
        let digits = text.strip_prefix("i-").ok_or(NotAnInstanceId)?;
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if digits.len() != 17 || !digits.bytes().all(is_digit) {
            return Err(NotAnInstanceId);
        }
        let (group, number) = digits.split_at(8);
        let group = u32::from_str_radix(group, 16).map_err(|_| NotAnInstanceId)?;
        let number = u64::from_str_radix(number, 16).map_err(|_| NotAnInstanceId)?;
        Ok(InstanceId { group, number })
    }
}

impl TryFrom<String> for InstanceId {
    type Error = NotAnInstanceId;

    fn try_from(text: String) -> Result<Self, NotAnInstanceId> {
        text.parse()
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> String {
        id.to_string()
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i-{:08x}{:09x}", self.group, self.number)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl LaunchSource {
    pub fn launcher(&self) -> &str {
        match self {
            LaunchSource::Configuration { launcher } | LaunchSource::Template { launcher, .. } => {
                launcher
            }
        }
    }
}

impl Lifecycle {
    /// Counts towards what its group is to have.
    pub fn is_wanted(self) -> bool {
        match self {
            Lifecycle::Pending { .. } | Lifecycle::InService { .. } => true,
            Lifecycle::Draining { .. } | Lifecycle::Terminating { .. } => false,
        }
    }

    /// Auto Scaling's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Lifecycle::Pending { .. } => "Pending",
            Lifecycle::InService { .. } => "InService",
            Lifecycle::Draining { .. } => "Terminating:Wait",
            Lifecycle::Terminating { .. } => "Terminating",
        }
    }
}

impl Instance {
    /// What the launcher is to be asked, and not before when.
    pub fn call(&self) -> Option<(Timestamp, LauncherVerb)> {
        match self.lifecycle {
            Lifecycle::Pending { launched: None } => Some((self.tries.next, LauncherVerb::Launch)),
            Lifecycle::Terminating { .. } => Some((self.tries.next, LauncherVerb::Terminate)),
            Lifecycle::Pending { launched: Some(_) }
            | Lifecycle::InService { .. }
            | Lifecycle::Draining { .. } => None,
        }
    }

    /// The id by which its users and its host know it.
    pub fn known_as(&self) -> InstanceId {
        self.machine.unwrap_or(self.id)
    }

    /// The same instance in another lifecycle, whose calls begin anew.
    pub fn turned(&self, lifecycle: Lifecycle, at: Timestamp) -> Instance {
        Instance { lifecycle, tries: Tries { next: at, ..Tries::default() }, ..self.clone() }
    }
}

impl Tries {
    /// One more failure, at this time.
    pub fn failed(&self, error: String, at: Timestamp) -> Tries {
        let doubled = RETRY_FIRST.saturating_mul(1 << self.failures.min(16));
        let next = at.saturating_add(doubled.min(RETRY_MAX));
        Tries { failures: self.failures.saturating_add(1), next, error: Some(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_id_leads_to_its_group_and_is_read_back_as_it_was_written() {
        let id = InstanceId { group: 0x0123_abcd, number: 0x1f };
        assert_eq!(id.to_string(), "i-0123abcd00000001f");
        assert_eq!("i-0123abcd00000001f".parse(), Ok(id));
        for bad in ["", "i-", "i-0123abcd", "i-0123ABCD00000001f", "x-0123abcd00000001f"] {
            assert_eq!(bad.parse::<InstanceId>(), Err(NotAnInstanceId), "{bad}");
        }
    }

    #[test]
    fn a_launcher_that_fails_is_asked_ever_more_rarely_but_always_again() {
        let mut tries = Tries::default();
        let waits: Vec<u64> = (0..9)
            .map(|_| {
                tries = tries.failed("no".to_owned(), Timestamp(0));
                tries.next.0 / 1000
            })
            .collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    }
}
