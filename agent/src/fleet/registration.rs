//! Keeps this host registered: at each start, and again when what it says of itself changed (another
//! Docker, another address) or the coordinator was started anew: one that was restored from a backup
//! knows this host as it was then.
//!
//! Goes on trying for as long as the agent lives, and says each time why: a host whose registration
//! is refused still looks after the tasks that it has.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use longshore_common::{
    protocol::{Epoch, RegisterRequest, Registered},
    resources::Capacity,
    telemetry::chain,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    fleet::{
        coordinators::Coordinators,
        join::{CallError, Membership},
    },
    host::{address, docker_reach::DockerReach, ec2, machine::Machine},
    settings::Settings,
};

mod description;

/// First and longest pause between two attempts, before jitter. ECS's agent waits for up to 192 s; here a
/// coordinator that has recovered from a backup waits for hosts that its journal does not know.
const RETRY_MIN: Duration = Duration::from_secs(3);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Share by which a pause is lengthened or shortened at the most, so that hosts do not return
/// together.
const JITTER: f64 = 0.25;
/// Interval at which a registered host looks whether its address has changed.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Time within which all hosts have registered with a coordinator that was started anew. Each of them
/// waits for a part of it by chance.
const ANEW_WITHIN: Duration = Duration::from_secs(60);
/// Maximum time that the first registration waits for Docker's first answer, of which it tells.
const DOCKER_ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// Everything that a registration is made of but Docker.
pub(crate) struct Host {
    pub(crate) settings: Arc<Settings>,
    pub(crate) machine: Machine,
    pub(crate) capacity: Capacity,
    pub(crate) ec2: Option<ec2::Ec2Instance>,
    /// Where the poll endpoint really listens.
    pub(crate) poll_listen: SocketAddr,
    pub(crate) coordinators: Coordinators,
}

impl Host {
    async fn describe(&self, docker: &DockerReach) -> io::Result<RegisterRequest> {
        let coordinators = self.coordinators.addresses();
        let advertise = address::advertised(&self.settings, &coordinators).await?;
        Ok(description::registration(
            &self.settings,
            &self.machine,
            &self.capacity,
            self.ec2.as_ref(),
            docker.last.as_ref(),
            &advertise,
            self.poll_listen,
        ))
    }
}

#[derive(Debug, thiserror::Error)]
enum NotRegistered {
    #[error(
        "the way to the coordinator cannot be found, so this host does not know its own address: \
         check --coordinator, or give --advertise"
    )]
    NoAddress(#[source] io::Error),
    #[error(transparent)]
    Call(CallError),
}

impl NotRegistered {
    fn is_passing(&self) -> bool {
        match self {
            NotRegistered::NoAddress(_) => true,
            NotRegistered::Call(error) => error.is_passing(),
        }
    }
}

/// Who is registered with: the coordinator, or a test.
pub(crate) trait Registers: Sync {
    fn register(
        &self,
        request: &RegisterRequest,
    ) -> impl Future<Output = Result<Registered, CallError>> + Send;
}

impl Registers for Membership {
    async fn register(&self, request: &RegisterRequest) -> Result<Registered, CallError> {
        Membership::register(self, request).await
    }
}

/// What became of an attempt to register.
pub(crate) enum RegistrationOutcome {
    Registered(Registered),
    /// The coordinator's reason; somebody has to put it right.
    Refused(String),
}

/// Registers with `coordinator` and tells `tell` what comes of it, until `shutdown`. While the
/// coordinator is `silent`, it is asked again: it may have deregistered this host meanwhile. When
/// the polls of another of its starts are `answered` than before, that one is told all.
pub(crate) async fn keep_registered(
    host: Host,
    mut docker: watch::Receiver<DockerReach>,
    mut silent: watch::Receiver<bool>,
    mut answered: watch::Receiver<Option<Epoch>>,
    coordinator: impl Registers,
    tell: impl Fn(RegistrationOutcome) + Send,
    shutdown: CancellationToken,
) {
    let keep_on = async {
        let asked = docker.wait_for(|reach| reach.asked);
        let _ = tokio::time::timeout(DOCKER_ANSWERS_WITHIN, asked).await;
        let mut told: Option<RegisterRequest> = None;
        let mut backoff = RETRY_MIN;
        let mut start = *answered.borrow_and_update();
        let mut anew: Option<Instant> = None;
        loop {
            let answered_now = *answered.borrow_and_update();
            // The first that polls is the one that was registered with a moment ago.
            if answered_now != start && std::mem::replace(&mut start, answered_now).is_some() {
                anew = Some(Instant::now() + ANEW_WITHIN.mul_f64(random_share()));
            }
            let is_due = anew.is_some_and(|at| at <= Instant::now());
            let reach = docker.borrow_and_update().clone();
            let silence = *silent.borrow_and_update();
            let (pause, settled) =
                match attempt(&host, &reach, silence, is_due, &coordinator, &mut told).await {
                    Ok(news) => {
                        backoff = RETRY_MIN;
                        anew.take_if(|_| is_due);
                        if let Some(news) = news {
                            tell(RegistrationOutcome::Registered(news));
                        }
                        (if silence { jittered(LOOK_EVERY) } else { LOOK_EVERY }, true)
                    }
                    // That the coordinator is away is said where its polls are watched.
                    Err(error) if error.is_passing() && silence && told.is_some() => {
                        tracing::debug!(error = chain(&error), "the coordinator is still away");
                        (jittered(LOOK_EVERY), true)
                    }
                    Err(error) => {
                        let pause = jittered(backoff);
                        backoff = (backoff * 2).min(RETRY_MAX);
                        say(&error, pause);
                        if !error.is_passing() {
                            // It is asked until it takes this host, also when it polls again.
                            told = None;
                            tell(RegistrationOutcome::Refused(chain(&error)));
                        }
                        (pause, false)
                    }
                };
            // A coordinator that is away is not asked more often because Docker comes and goes.
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Ok(()) = docker.changed(), if settled && !silence => {}
                Ok(()) = silent.changed(), if settled => {}
                Ok(()) = answered.changed(), if settled => {}
                () = tokio::time::sleep_until(anew.unwrap_or_else(Instant::now)),
                    if settled && !silence && anew.is_some() => {}
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = keep_on => {}
    }
}

/// Registers if there is something to tell, the coordinator is silent, or it was started anew. `told`
/// is what the coordinator knows.
async fn attempt(
    host: &Host,
    docker: &DockerReach,
    silence: bool,
    anew: bool,
    coordinator: &impl Registers,
    told: &mut Option<RegisterRequest>,
) -> Result<Option<Registered>, NotRegistered> {
    let request = host.describe(docker).await.map_err(NotRegistered::NoAddress)?;
    let known = told.as_ref() == Some(&request);
    if known && !silence && !anew {
        return Ok(None);
    }
    if told.is_none() {
        warn_of_what_others_cannot_use(host, &request, docker);
    }
    let registered = coordinator.register(&request).await.map_err(NotRegistered::Call)?;
    if known && !silence {
        tracing::debug!("registered with a coordinator that was started anew");
        return Ok(Some(registered));
    }
    if known {
        tracing::warn!(
            poll.address = request.poll_address,
            "the coordinator answers this host and does not poll it: let it reach this address, or \
             give another by --advertise or --poll-listen"
        );
        return Ok(Some(registered));
    }
    tracing::info!(
        cluster = request.cluster,
        host = %registered.host,
        cpu = request.capacity.cpu.0,
        memory_mib = request.capacity.memory.0,
        advertise = request.advertise,
        docker.version = request.versions.docker,
        "{}",
        if told.is_some() { "registered anew: what this host says of itself changed" } else { "registered" }
    );
    *told = Some(request);
    Ok(Some(registered))
}

fn warn_of_what_others_cannot_use(host: &Host, request: &RegisterRequest, docker: &DockerReach) {
    let loopback = request.advertise.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    if loopback {
        tracing::info!(
            advertise = request.advertise,
            "only this machine can reach the ports of its tasks under this address; with hosts on \
             other machines, give --advertise"
        );
    }
    let is_v6 = request.advertise.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_ipv6());
    if is_v6 && host.poll_listen.is_ipv4() {
        tracing::warn!(
            advertise = request.advertise,
            poll.address = %host.poll_listen,
            "the coordinator is told an IPv6 address and this agent listens on IPv4 only, so it \
             cannot be polled: give --poll-listen as [::]:51680, or an IPv4 address by --advertise"
        );
    }
    if let Some(docker) = &docker.last {
        let allowed = description::allowed(&host.settings);
        let missing = crate::host::capabilities::missing_logging_drivers(allowed, docker);
        if !missing.is_empty() {
            tracing::warn!(
                drivers = missing.join(","),
                "this Docker has no such log drivers: tasks that need them are not placed here"
            );
        }
    }
}

fn say(error: &NotRegistered, pause: Duration) {
    let next = format!("{:.0} s", pause.as_secs_f64());
    let passing = error.is_passing();
    let error = chain(error);
    if passing {
        tracing::warn!(error, next, "cannot register yet; trying again");
    } else {
        tracing::error!(
            error,
            next,
            "the coordinator does not register this host; trying again, but somebody has to put \
             this right"
        );
    }
}

fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(1.0 - JITTER + 2.0 * JITTER * random_share())
}

/// From 0 to 1. Without random numbers all hosts keep to the same pause, which still is one.
pub(crate) fn random_share() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
