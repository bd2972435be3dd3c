//! The clients: several at once, with what they have read and what they asked last.

use std::collections::{BTreeMap, VecDeque};

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use longshore_coordinator::edge::in_process::{Offered, Told};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    coordinator::Coordinator,
    inputs::{
        generator::{self, Draw, Generator},
        generators,
    },
    judge::Fault,
    known::Known,
};
use crate::chance::Chance;

/// What every change is told while the journal is known to be old.
const OLD_JOURNAL: [&str; 2] =
    ["journal is older than what its hosts have seen", "hosts may have done more than it holds"];
/// Calls that are shown when a run fails.
const TRACED: usize = 40;
/// Characters of an input or answer that are shown.
const SHOWN_CHARS: usize = 300;
/// Clients that ask at the same time.
const AT_ONCE_MAX: usize = 3;
/// Pages of one list.
const PAGES_MAX: usize = 500;

pub(super) struct Clients {
    table: Vec<(Offered, Generator)>,
    total: usize,
    pub(super) known: Known,
    pub(super) chance: Chance,
    pub(super) calls: usize,
    trace: VecDeque<String>,
    faults: Vec<(Fault, String)>,
    /// Answers by operation: refused, and not.
    pub(super) answered: BTreeMap<&'static str, [usize; 2]>,
    /// Of all calls and answers so far: the same whenever a run is repeated.
    course: Sha256,
}

impl Clients {
    /// Fails when the router offers what no generator asks for, or a generator what it does not.
    pub(super) fn of(offered: &[Offered], chance: Chance) -> Result<Self> {
        let mut generators = generators();
        let mut table = Vec::new();
        for offered in offered {
            let at = generators.iter().position(|generator| {
                generator.service == offered.service && generator.operation == offered.operation
            });
            ensure!(
                at.is_some(),
                "the router offers {} of {}: give it a generator in campaign/chaos/inputs",
                offered.operation,
                offered.service
            );
            table.extend(at.map(|at| (*offered, generators.swap_remove(at))));
        }
        let left: Vec<&str> = generators.iter().map(|generator| generator.operation).collect();
        ensure!(left.is_empty(), "the router does not offer {}", left.join(", "));
        Ok(Clients {
            total: table.iter().map(|(_, generator)| generator.weight).sum(),
            table,
            known: Known::default(),
            chance,
            calls: 0,
            trace: VecDeque::new(),
            faults: Vec::new(),
            answered: BTreeMap::new(),
            course: Sha256::new(),
        })
    }

    /// One call, or several at once.
    pub(super) async fn ask(&mut self, coordinator: &mut Coordinator) {
        let calls = self.draw(coordinator);
        let asked = calls.iter().map(|(offered, body)| coordinator.ask(*offered, body.clone()));
        let asked = join_all(asked.collect::<Vec<_>>());
        let answers = coordinator.drive(asked).await;
        let answers = answers.into_iter().flatten();
        for ((offered, body), answer) in calls.into_iter().zip(answers) {
            self.take(coordinator, offered, &body, answer);
        }
    }

    /// Calls whose answers nobody will hear.
    pub(super) async fn ask_in_vain(&mut self, coordinator: &mut Coordinator, turns: usize) {
        let calls = self.draw(coordinator);
        let asked = calls.into_iter().map(|(offered, body)| {
            self.trace(format!("{} {} -> the coordinator dies", offered.operation, shown(&body)));
            coordinator.ask(offered, body)
        });
        let asked = join_all(asked.collect::<Vec<_>>());
        coordinator.abandon(async { drop(asked.await) }, turns).await;
    }

    fn draw(&mut self, coordinator: &Coordinator) -> Vec<(Offered, Vec<u8>)> {
        let mut calls = vec![self.draw_one(coordinator)];
        // Whoever only looks looks alone: what is read decides what is asked next.
        while calls.len() < AT_ONCE_MAX
            && calls.iter().all(|(offered, _)| changes(offered))
            && self.chance.one_in(4)
        {
            calls.push(self.draw_one(coordinator));
        }
        if calls.iter().any(|(offered, _)| !changes(offered)) {
            calls.truncate(1);
        }
        self.calls += calls.len();
        calls
    }

    fn draw_one(&mut self, coordinator: &Coordinator) -> (Offered, Vec<u8>) {
        let mut at = self.chance.below(self.total);
        let chosen = self.table.iter().find(|(_, generator)| {
            let here = at < generator.weight;
            at = at.saturating_sub(generator.weight);
            here
        });
        let (offered, generator) = chosen.expect("the weights sum up to the total");
        let mut draw =
            Draw { chance: &mut self.chance, known: &self.known, now: coordinator.now() };
        (*offered, generator::body(*offered, generator, &mut draw))
    }

    fn take(
        &mut self,
        coordinator: &Coordinator,
        offered: Offered,
        body: &[u8],
        answer: Result<Told, String>,
    ) -> Value {
        let told = match answer {
            Ok(told) => told,
            Err(panic) => {
                self.faults.push((Fault::Panic, format!("{}: {panic}", offered.operation)));
                return Value::Null;
            }
        };
        self.course.update(offered.operation);
        self.course.update(body);
        self.course.update(&told.body);
        let (input, answer) = (shown(body), shown(&told.body));
        let (operation, status) = (offered.operation, told.status.as_u16());
        self.trace(format!("{operation} {input} -> {status} {answer}"));
        let refused = usize::from(told.status.is_client_error());
        self.answered.entry(operation).or_default()[1 - refused] += 1;
        let old = OLD_JOURNAL.iter().any(|words| answer.contains(words));
        // A host that is silent may have logs that nobody else has.
        let silent = offered.service == "logs" && status == 503;
        if told.status.is_server_error() && !old && !silent && !coordinator.broken {
            self.faults.push((Fault::ServerError, format!("{operation} {input}: {answer}")));
        }
        if !told.status.is_success() {
            if gone(&answer) {
                self.known.doubt(&input);
            }
            return json!({"refused": answer});
        }
        match serde_json::from_slice(&told.body) {
            Ok(answer) => {
                self.known.harvest(operation, &answer);
                answer
            }
            Err(_) => {
                self.known.harvest_text(&String::from_utf8_lossy(&told.body));
                Value::Null
            }
        }
    }

    fn trace(&mut self, what: String) {
        if self.trace.len() == TRACED {
            self.trace.pop_front();
        }
        self.trace.push_back(what);
    }

    /// Notes what happened beside the calls.
    pub(super) fn note(&mut self, what: &str) {
        self.trace(format!("-- {what}"));
    }

    /// The last calls, and what became of them.
    pub(super) fn last_calls(&self) -> Vec<String> {
        self.trace.iter().cloned().collect()
    }

    /// In a few digits, what all calls and their answers were.
    pub(super) fn course(&self) -> u32 {
        let digest: [u8; 32] = self.course.clone().finalize().into();
        u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
    }

    pub(super) fn take_faults(&mut self) -> Vec<(Fault, String)> {
        std::mem::take(&mut self.faults)
    }

    /// A call of the campaign's own; null when it was refused.
    pub(super) async fn told(
        &mut self,
        coordinator: &mut Coordinator,
        operation: &str,
        input: Value,
    ) -> Value {
        let found = self.table.iter().find(|(offered, _)| offered.operation == operation);
        let Some(&(offered, _)) = found else { return Value::Null };
        let body = match offered.target {
            Some(_) => input.to_string().into_bytes(),
            None => generator::form(offered, &input),
        };
        let asked = coordinator.ask(offered, body.clone());
        match coordinator.drive(asked).await {
            Some(answer) => self.take(coordinator, offered, &body, answer),
            None => Value::Null,
        }
    }

    /// All pages of a list of texts.
    pub(super) async fn pages(
        &mut self,
        coordinator: &mut Coordinator,
        operation: &str,
        mut input: Value,
        member: &str,
    ) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..PAGES_MAX {
            let page = self.told(coordinator, operation, input.clone()).await;
            let listed = page[member].as_array().into_iter().flatten();
            all.extend(listed.filter_map(Value::as_str).map(str::to_owned));
            match page.get("nextToken") {
                Some(token) => input["nextToken"] = token.clone(),
                None => return all,
            }
        }
        self.faults.push((Fault::Disagreement, format!("{operation} {input} has no end")));
        all
    }
}

/// Whether an operation may change the state, and waits for nothing but the driver.
fn changes(offered: &Offered) -> bool {
    let reads = ["Describe", "List", "Get", "Discover", "Filter", "Start", "Explain"];
    let looks = reads.iter().any(|read| offered.operation.starts_with(read));
    !looks && offered.service != "logs" || offered.operation == "StartTask"
}

/// Whether a refusal says that what was named is not there.
fn gone(answer: &str) -> bool {
    ["not found", "NotFound", "not ACTIVE", "INACTIVE", "cannot be stopped", "not waiting"]
        .iter()
        .any(|word| answer.contains(word))
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::chaos::planted::Planted;

    #[tokio::test]
    async fn every_operation_of_the_router_has_a_generator() {
        let chance = Chance::from_seed(1);
        let coordinator = Coordinator::start(&chance, Planted::default()).await.unwrap();
        let offered = coordinator.edge.offered();
        assert!(offered.len() > 80, "{}", offered.len());
        Clients::of(&offered, chance.part(1)).unwrap();
        let error = Clients::of(&offered[1..], chance.part(1)).err().unwrap();
        assert!(error.to_string().contains("does not offer"), "{error}");
        let unknown = Offered { operation: "NoSuchThing", ..offered[0] };
        let error = Clients::of(&[offered, vec![unknown]].concat(), chance).err().unwrap();
        assert!(error.to_string().contains("give it a generator"), "{error}");
    }
}
