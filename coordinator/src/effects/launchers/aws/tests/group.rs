//! An Auto Scaling group in this process, which does what AWS's does.

use std::sync::{Mutex, PoisonError};

use super::super::{api::Machine, *};

/// What is there when the coordinator is not.
#[derive(Clone)]
pub(super) struct Aws(Arc<Mutex<AwsGroup>>);

pub(super) struct AwsGroup {
    pub(super) min: u32,
    pub(super) max: u32,
    pub(super) desired: u32,
    pub(super) protects_new: bool,
    pub(super) machines: Vec<Machine>,
    pub(super) launched: u64,
    /// Machines that AWS ended of its own choice, because it was to have fewer.
    pub(super) chosen: u32,
    pub(super) calls: usize,
    /// The call at which the coordinator ends, and whether AWS has heard it then.
    pub(super) cut: Option<(usize, bool)>,
    /// What the next calls are answered with.
    pub(super) refusals: Vec<AwsError>,
    /// The group has no room for more machines.
    pub(super) is_full: bool,
    /// The group takes no other desired capacity.
    pub(super) is_busy: bool,
    pub(super) asked: Vec<String>,
    /// The next lists show what was there then.
    pub(super) stale: Option<(u32, Listed)>,
}

impl Aws {
    pub(super) fn new() -> Aws {
        Aws(Arc::new(Mutex::new(AwsGroup {
            min: 0,
            max: 10,
            desired: 0,
            protects_new: false,
            machines: Vec::new(),
            launched: 0,
            chosen: 0,
            calls: 0,
            cut: None,
            refusals: Vec::new(),
            is_full: false,
            is_busy: false,
            asked: Vec::new(),
            stale: None,
        })))
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&mut AwsGroup) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn call<T>(
        &self,
        asked: String,
        perform: impl FnOnce(&mut AwsGroup) -> Result<T, AwsError>,
    ) -> Result<T, AwsError> {
        let answer = self.with(|group| {
            group.calls += 1;
            let cut = group.cut.filter(|(at, _)| *at == group.calls).map(|(_, heard)| heard);
            if cut == Some(false) {
                return None;
            }
            group.asked.push(asked);
            let answer = match group.refusals.pop() {
                Some(refusal) => Err(refusal),
                None => perform(group),
            };
            (cut != Some(true)).then_some(answer)
        });
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    /// Machines that are not on their way out.
    pub(super) fn alive(&self) -> Vec<InstanceId> {
        let there = |one: &&Machine| one.state != MachineState::Leaving;
        self.with(|group| group.machines.iter().filter(there).map(|one| one.id).collect())
    }
}

impl AwsGroup {
    fn counted(&self) -> usize {
        let counted =
            |one: &&Machine| matches!(one.state, MachineState::Coming | MachineState::InService);
        self.machines.iter().filter(counted).count()
    }

    pub(super) fn listed(&self) -> Listed {
        let AwsGroup { min, max, desired, protects_new, .. } = *self;
        let machines = self.machines.clone();
        Listed { min, max, desired, protects_new, machines, strange: Vec::new() }
    }

    /// What Auto Scaling does by itself.
    pub(super) fn settle(&mut self) {
        while self.counted() < self.desired as usize && !self.is_full {
            self.launched += 1;
            let id = InstanceId { group: 0x0abc_0000, number: self.launched };
            let protected = self.protects_new;
            self.machines.push(Machine { id, state: MachineState::Coming, protected });
        }
        while self.counted() > self.desired as usize {
            let victim = self.machines.iter_mut().find(|one| {
                !one.protected
                    && matches!(one.state, MachineState::Coming | MachineState::InService)
            });
            let Some(victim) = victim else { break };
            victim.state = MachineState::Leaving;
            self.chosen += 1;
        }
    }
}

pub(super) fn refused(operation: &'static str, message: &str) -> AwsError {
    let (code, message) = ("ValidationError".to_owned(), message.to_owned());
    AwsError::Refused { operation, code, message }
}

impl AutoScaling for Aws {
    async fn describe(&self) -> Result<Listed, AwsError> {
        let describe = |group: &mut AwsGroup| {
            if let Some((lists, stale)) = &mut group.stale {
                let stale = stale.clone();
                *lists -= 1;
                if *lists == 0 {
                    group.stale = None;
                }
                return Ok(stale);
            }
            let listed = group.listed();
            // Things continue until the next look.
            group.machines.retain(|one| one.state != MachineState::Leaving);
            for one in &mut group.machines {
                if one.state == MachineState::Coming {
                    one.state = MachineState::InService;
                }
            }
            Ok(listed)
        };
        self.call("describe".to_owned(), describe).await
    }

    async fn last_failure(&self) -> Result<Option<String>, AwsError> {
        let failure = |group: &mut AwsGroup| Ok(group.is_full.then(|| "no capacity".to_owned()));
        self.call("last failure".to_owned(), failure).await
    }

    async fn protect_new(&self) -> Result<(), AwsError> {
        let protect = |group: &mut AwsGroup| {
            group.protects_new = true;
            Ok(())
        };
        self.call("protect new".to_owned(), protect).await
    }

    async fn protect(&self, machines: &[InstanceId]) -> Result<(), AwsError> {
        let protect = |group: &mut AwsGroup| {
            for one in group.machines.iter_mut().filter(|one| machines.contains(&one.id)) {
                if one.state != MachineState::InService {
                    return Err(refused("SetInstanceProtection", "is not in InService"));
                }
                one.protected = true;
            }
            Ok(())
        };
        self.call(format!("protect {}", machines.len()), protect).await
    }

    async fn set_desired(&self, desired: u32) -> Result<(), AwsError> {
        let set = |group: &mut AwsGroup| {
            if !(group.min..=group.max).contains(&desired) {
                return Err(refused("SetDesiredCapacity", "value is out of bounds"));
            }
            if group.is_busy {
                return Err(refused("SetDesiredCapacity", "a scaling activity is in progress"));
            }
            group.desired = desired;
            group.settle();
            Ok(())
        };
        self.call(format!("set desired {desired}"), set).await
    }

    async fn terminate(&self, machine: InstanceId, decrement: bool) -> Result<(), AwsError> {
        let operation = "TerminateInstanceInAutoScalingGroup";
        let terminate = |group: &mut AwsGroup| {
            if decrement && group.desired <= group.min {
                return Err(refused(operation, "would violate group's min size constraint"));
            }
            let there =
                |one: &&mut Machine| one.id == machine && one.state != MachineState::Leaving;
            let Some(found) = group.machines.iter_mut().find(there) else {
                return Err(refused(operation, "Instance Id not found"));
            };
            found.state = MachineState::Leaving;
            group.desired -= u32::from(decrement);
            group.settle();
            Ok(())
        };
        let how = if decrement { "one less" } else { "to be replaced" };
        self.call(format!("terminate {machine} {how}"), terminate).await
    }
}
