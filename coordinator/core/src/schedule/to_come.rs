//! What is known of a capacity provider's hosts that are still to come: what tasks they may be given.
//!
//! Hosts that are there tell it best. While there are none, the group's earlier instances do, which
//! may be wrong: an image, an agent or a launcher changes without a word to the coordinator. So what
//! they rule out holds for a time only, and then one instance is tried.

use std::time::Duration;

use longshore_common::{clock::Timestamp, protocol::Attribute, resources::Demand};

use super::Work;
use crate::{
    launch::ids::Ids,
    managed_scaling::Group as Alike,
    model::name::CapacityProviderName,
    placement::{ClusterIndex, Eligibility, HostOffer, HostSlot, Particulars, Request},
    state::{Service, State},
};

/// Time for which what earlier instances ruled out is believed (ours). An instance that is tried in
/// vain exists for a quarter of an hour until it is scaled in (ecs-behaviour 1.15): a task that
/// never fits may cost one instance an hour.
const NO_BELIEVED_FOR: Duration = Duration::from_secs(3600);

/// Hosts of one capacity provider that are to come.
pub(super) struct ToCome {
    mark: Attribute,
    /// An index of hosts as the last instances of the group were.
    earlier: ClusterIndex,
    /// End of the time in which what all those instances ruled out is taken to be ruled out.
    no_believed_until: Timestamp,
}

/// Whether a task may be given to hosts that are to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chance {
    /// The task may be given to them, or nothing speaks against it.
    Good,
    /// No earlier instance would have done, and none has been seen for long: one is tried.
    Untried,
    /// The task may not be given to them, as far as is known until then; while hosts are there that
    /// tell so, for good.
    No { until: Option<Timestamp> },
}

impl ToCome {
    pub(super) fn of(state: &State, provider: &CapacityProviderName) -> Self {
        let mut to_come = ToCome {
            mark: state.provider_attribute(provider),
            earlier: ClusterIndex::default(),
            no_believed_until: Timestamp::default(),
        };
        let provider = state.capacity_provider(provider.as_str());
        let group = provider.and_then(|known| state.auto_scaling_group(known.group.as_str()));
        let Some((group, capacity)) = group.and_then(|group| Some((group, group.size.as_ref()?)))
        else {
            return to_come;
        };
        for (slot, shape) in (0..).zip(&group.shapes) {
            let offer = HostOffer {
                capacity,
                attributes: &shape.attributes,
                eligibility: Eligibility {
                    active: true,
                    connected: true,
                    engine_answers: true,
                    has_room: true,
                },
                particulars: Particulars {
                    instance_id: None,
                    agent_version: &shape.agent_version,
                    // As if it registered at some time to come.
                    registered_at: Timestamp(u64::MAX),
                },
            };
            to_come.earlier.insert(HostSlot(slot), offer);
            let believed_until = shape.seen_at.saturating_add(NO_BELIEVED_FOR);
            to_come.no_believed_until = to_come.no_believed_until.max(believed_until);
        }
        to_come
    }

    /// `cluster` is where the hosts would be.
    pub(super) fn chance(
        &self,
        cluster: &ClusterIndex,
        request: &Request<'_>,
        at: Timestamp,
    ) -> Chance {
        match cluster.suits(request, &self.mark) {
            Some(true) => return Chance::Good,
            Some(false) => return Chance::No { until: None },
            None => {}
        }
        match self.earlier.suits(request, &self.mark) {
            Some(true) | None => Chance::Good,
            Some(false) if self.no_believed_until <= at => Chance::Untried,
            Some(false) => Chance::No { until: Some(self.no_believed_until) },
        }
    }

    /// What a daemon takes of each of them, if it belongs there.
    pub(super) fn daemon_demand(
        &self,
        state: &State,
        daemon: &Service,
        at: Timestamp,
    ) -> Option<Demand> {
        let work = Work::new(state, daemon, at, Ids::from(0));
        let primary = daemon.primary().filter(|_| daemon.is_active())?;
        let asked = work.asked(primary);
        let index = &state.cluster_at(daemon.cluster).index;
        let belongs = self.chance(index, &work.request(&asked, 1), at) == Chance::Good;
        belongs.then_some(asked.demand)
    }
}

impl Chance {
    /// Those of the alike tasks that wait for which hosts are to come.
    pub(super) fn of(self, waiting: Alike) -> Option<Alike> {
        match self {
            Chance::Good => Some(waiting),
            Chance::Untried => Some(Alike { count: waiting.count.min(1), ..waiting }),
            Chance::No { .. } => None,
        }
    }

    /// When a refusal is to be asked again.
    pub(super) fn until(self) -> Option<Timestamp> {
        match self {
            Chance::No { until } => until,
            Chance::Good | Chance::Untried => None,
        }
    }
}
