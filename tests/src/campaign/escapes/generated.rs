//! Definitions made of the recipes at random: several at once, with their paths, options and words
//! written otherwise. Each goes the agent's own way under one policy, as far as the call of the
//! engine, and the validator judges what would be asked for.
//!
//! Nothing is run. Never: a path that would be made outside of the ground.

use std::{
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use longshore_agent::rehearsal::{Rehearsal, Rehearsed};
use longshore_common::task_definition::{TaskDefinition, TaskSpec};
use serde_json::{Value, json};

use super::{
    ground::Ground,
    recipes::{Recipe, recipes},
    validator::{Policy, Validator},
};
use crate::{chance::Chance, figures::progress};
use longshore_harness::image::SAMPLE_IMAGE;

/// Recipes that one definition is made of, at most.
const MIXED_MAX: usize = 4;
/// So many definitions between two words of progress.
const PROGRESS_EVERY: usize = 20_000;
/// Escapes that are told in full.
const TOLD_MAX: usize = 20;
/// What a path may have more of.
const PARTS: [&str; 12] =
    [".", "..", "a", "top", "etc", "run", "up", "swap", "evil", "proc/self/root", "twice", "inner"];
/// What an option of a mount may be instead.
const WORDS: [&str; 12] = [
    "bind",
    "rbind",
    "ro",
    "remount",
    "shared",
    "size=1m",
    "lowerdir=/",
    "BIND",
    " bind",
    "move",
    "suid",
    "addr=127.0.0.1",
];

pub(super) struct Generated {
    count: usize,
    seed: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) definitions: usize,
    /// As the coordinator does too, with the same settings.
    pub(super) refused_by_text: usize,
    /// For what the host has there.
    pub(super) refused_by_file: usize,
    pub(super) creates: usize,
    pub(super) escapes: usize,
}

/// Where definitions are judged: one ground, with a socket that stands for an engine's.
struct Place {
    ground: Ground,
    socket: PathBuf,
    _listener: UnixListener,
    recipes: Vec<Recipe>,
}

impl Place {
    fn lay() -> Result<Place> {
        let ground = Ground::lay()?;
        fs_err::create_dir_all(ground.path("engine/run"))?;
        let socket = ground.path("engine/run/engine.sock");
        let listener = UnixListener::bind(&socket)?;
        let recipes = recipes(&ground, &vec![socket.clone()], &ground.path("agent"))?;
        Ok(Place { ground, socket, _listener: listener, recipes })
    }

    fn agent(&self, policy: &Policy) -> Result<Rehearsal> {
        let folder = self.ground.path("agent");
        let efs = self.ground.file_systems();
        Ok(Rehearsal::new(&folder, policy.of_task(&self.ground)?, &efs, vec![self.socket.clone()])?)
    }

    fn validator(&self, policy: &Policy) -> Result<Validator> {
        let own_files = self.ground.path("agent/tasks");
        Validator::new(policy.for_validation(&self.ground), vec![self.socket.clone()], own_files)
    }

    fn definition(&self, chance: &mut Chance) -> Result<TaskDefinition> {
        let mut container = json!({ "name": "main", "image": SAMPLE_IMAGE, "memory": 16 });
        let mut definition = json!({ "family": "generated" });
        let (mut volumes, mut mounts, mut side) = (Vec::new(), Vec::new(), None);
        for number in 0..=chance.below(MIXED_MAX) {
            let recipe = chance.pick(&self.recipes).context("no recipes")?;
            merge(&mut definition, &recipe.task);
            merge(&mut container, &recipe.container);
            side = recipe.side.clone().or(side);
            for mut volume in taken(&mut definition, "volumes") {
                let name = format!("{}-{number}", volume["name"].as_str().unwrap_or_default());
                volume["name"] = json!(name);
                self.vary(&mut volume, chance);
                volumes.push(volume);
                for mut mount in taken(&mut container, "mountPoints") {
                    mount["sourceVolume"] = json!(name);
                    mount["containerPath"] = json!(format!("/out{number}"));
                    mounts.push(mount);
                }
            }
        }
        if let Some(side) = &mut side {
            taken(side, "mountPoints");
        }
        container["mountPoints"] = json!(mounts);
        // RegisterTaskDefinition refuses settings of the kernel that are not a container's own.
        taken(&mut container, "systemControls");
        definition["volumes"] = json!(volumes);
        definition["containerDefinitions"] = json!([container]);
        let side = side.into_iter();
        definition["containerDefinitions"].as_array_mut().context("no list")?.extend(side);
        let spec: TaskSpec = serde_json::from_value(definition)?;
        Ok(TaskDefinition { family: "generated".to_owned(), revision: 1, spec })
    }

    /// Writes a volume's path, options or type otherwise.
    fn vary(&self, volume: &mut Value, chance: &mut Chance) {
        let places = [
            "/host/sourcePath",
            "/efsVolumeConfiguration/rootDirectory",
            "/dockerVolumeConfiguration/driverOpts/device",
        ];
        for place in places {
            let Some(Value::String(path)) = volume.pointer_mut(place) else { continue };
            for _ in 0..chance.below(3) {
                let other = with_a_part(path, chance);
                if self.is_harmless(&other) {
                    *path = other;
                }
            }
        }
        let options = volume.pointer_mut("/dockerVolumeConfiguration/driverOpts/o");
        if let Some(Value::String(options)) = options
            && chance.one_in(2)
        {
            let mut words: Vec<&str> = options.split(',').collect();
            words.insert(chance.below(words.len() + 1), WORDS[chance.below(WORDS.len())]);
            *options = words.join(",");
        }
    }

    /// What is not there would be made: only in the ground, then.
    fn is_harmless(&self, path: &str) -> bool {
        let mut there = Path::new(path);
        loop {
            if let Ok(real) = there.canonicalize() {
                return there == Path::new(path) || real.starts_with(self.ground.root());
            }
            match there.parent() {
                Some(above) => there = above,
                None => return false,
            }
        }
    }
}

fn taken(of: &mut Value, member: &str) -> Vec<Value> {
    match of.as_object_mut().and_then(|members| members.remove(member)) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn merge(into: &mut Value, more: &Value) {
    for (name, value) in more.as_object().into_iter().flatten() {
        into[name] = value.clone();
    }
}

fn with_a_part(path: &str, chance: &mut Chance) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    let at = 1 + chance.below(parts.len());
    match chance.one_in(4) && parts.len() > 2 {
        true => drop(parts.remove(at.min(parts.len() - 1))),
        false => parts.insert(at.min(parts.len()), PARTS[chance.below(PARTS.len())]),
    }
    format!("/{}", parts.join("/").trim_start_matches('/'))
}

impl Generated {
    pub(super) fn of(count: usize, seed: u64) -> Generated {
        Generated { count, seed }
    }

    pub(super) fn run(self) -> Result<Counts> {
        let place = Place::lay()?;
        let policies: Vec<Policy> =
            Policy::all().into_iter().filter(|policy| !policy.forbids_nothing()).collect();
        let judges = policies.iter().map(|policy| {
            let by_text = policy.of_task(&place.ground)?;
            Ok((policy.name, by_text, place.agent(policy)?, place.validator(policy)?))
        });
        let judges = judges.collect::<Result<Vec<_>>>()?;
        let mut chance = Chance::from_seed(self.seed);
        let mut counts = Counts::default();
        for number in 0..self.count {
            let definition = place.definition(&mut chance)?;
            let (name, by_text, agent, validator) = &judges[number % judges.len()];
            counts.definitions += 1;
            if counts.definitions.is_multiple_of(PROGRESS_EVERY) {
                progress(&format!("escapes: {} definitions", counts.definitions));
            }
            let refused = by_text.refusal(&definition.spec).is_some();
            match agent.of(definition) {
                Rehearsed::Refused(_) if refused => counts.refused_by_text += 1,
                Rehearsed::Refused(_) => counts.refused_by_file += 1,
                Rehearsed::Asked(bodies) => {
                    counts.creates += bodies.len();
                    for escape in bodies.iter().filter_map(|body| validator.judge(body)) {
                        counts.escapes += 1;
                        if counts.escapes <= TOLD_MAX {
                            progress(&format!("escapes: definition {number}, {name}: {escape}"));
                        }
                    }
                }
            }
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::escapes::validator::{Checked, EVERYTHING};

    const SEED: u64 = 23;
    /// The campaign's are a hundred times as many.
    const DEFINITIONS: usize = 2_000;

    #[test]
    fn generated_definitions_get_around_no_policy() {
        let counts = Generated::of(DEFINITIONS, SEED).run().unwrap();
        assert_eq!((counts.definitions, counts.escapes), (DEFINITIONS, 0), "{counts:?}");
        let (text, file) = (counts.refused_by_text, counts.refused_by_file);
        assert!(text > 0 && file > 0 && counts.creates > DEFINITIONS / 50, "{counts:?}");
    }

    /// An agent that keeps one rule less than it is asked to.
    #[test]
    fn a_hole_for_each_rule_is_found() {
        let place = Place::lay().unwrap();
        let agent = place.agent(&Policy::none()).unwrap();
        let rule = |forbid: &'static [&'static str], roots: Option<Vec<PathBuf>>| {
            let checked = Checked { forbid, roots, efs: place.ground.path("efs") };
            Validator::new(checked, vec![place.socket.clone()], place.ground.path("agent/tasks"))
        };
        let rules = EVERYTHING.iter().map(|word| (*word, rule(std::slice::from_ref(word), None)));
        let roots = ("bind-roots", rule(&[], Some(vec![place.ground.path("srv")])));
        for (name, validator) in rules.chain([roots]) {
            let validator = validator.unwrap();
            let mut chance = Chance::from_seed(SEED);
            let found = (0..DEFINITIONS).any(|_| {
                let Rehearsed::Asked(bodies) = agent.of(place.definition(&mut chance).unwrap())
                else {
                    return false;
                };
                bodies.iter().any(|body| {
                    let escape = validator.judge(body);
                    // The same for all rules.
                    escape.is_some_and(|what| !what.contains("great part"))
                })
            });
            assert!(found, "a hole in {name} is not found");
        }
    }
}
