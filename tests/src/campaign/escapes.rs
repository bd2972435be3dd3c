//! P23: guardrails hold. Recipes by which task definitions have got out of their container, each
//! under every policy, on a real engine; what the agent asks of Docker is judged by a validator on
//! the way there, which shares no code with the agent.
//!
//! The coordinator has no policy here, so that the agent and its helper have to hold alone (its own is
//! shown in the tests of its state machine). Definitions made of the recipes at random go the same way
//! as far as the call of the engine. A last run without any policy shows that the recipes do reach
//! something, and that the validator sees it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use self::{
    generated::Generated,
    ground::Ground,
    recipes::{Recipe, recipes},
    validator::{Policy, Validator},
};
use crate::figures::{count, progress, reached};
use longshore_harness::{
    ecs::EcsClient,
    fleet::{Fleet, FleetSettings},
    image::SAMPLE_IMAGE,
};

mod generated;
mod ground;
mod recipes;
mod validator;

/// The promise's number.
const RECIPES: usize = 160;
pub(super) const ALL: usize = usize::MAX;
/// The promise's number of generated definitions.
pub(super) const DEFINITIONS: usize = 200_000;
/// Tasks under way at once.
const AT_ONCE: usize = 6;
const STOP_PATIENCE: Duration = Duration::from_secs(120);

/// So many recipes, taken evenly from all that there are, and definitions made of them.
pub struct Escapes {
    count: usize,
    generated: usize,
    seed: u64,
}

#[derive(Clone, Debug, Default)]
pub struct EscapesCounts {
    asked: usize,
    pub recipes: usize,
    pub policies: usize,
    pub runs: usize,
    /// Refused at registration, whatever the policy.
    pub unregistered: usize,
    /// Containers that Docker was asked for.
    pub creates: usize,
    pub escapes: usize,
    /// What the validator flags where nothing is forbidden.
    pub reached_without_policy: usize,
    seed: u64,
    asked_to_generate: usize,
    generated: generated::Counts,
}

impl Escapes {
    /// `generated` definitions besides, which go as far as the call of the engine.
    pub fn of(count: usize, generated: usize, seed: u64) -> Escapes {
        Escapes { count: count.max(1), generated, seed }
    }

    pub async fn run(self) -> Result<EscapesCounts> {
        let mut counts = EscapesCounts::default();
        for policy in Policy::all() {
            let run = self.under(&policy).await?;
            for escape in &run.escapes {
                progress(&format!("escapes: policy {}: {escape}", policy.name));
            }
            counts.recipes = run.recipes;
            if policy.forbids_nothing() {
                counts.reached_without_policy = run.escapes.len();
                continue;
            }
            counts.policies += 1;
            counts.runs += run.recipes;
            counts.unregistered += run.unregistered;
            counts.creates += run.creates;
            counts.escapes += run.escapes.len();
        }
        counts.asked = RECIPES.min(self.count);
        (counts.seed, counts.asked_to_generate) = (self.seed, self.generated);
        let generated = Generated::of(self.generated, self.seed);
        counts.generated = tokio::task::spawn_blocking(move || generated.run()).await??;
        counts.escapes += counts.generated.escapes;
        Ok(counts)
    }

    async fn under(&self, policy: &Policy) -> Result<Run> {
        let ground = Ground::lay()?;
        let settings = FleetSettings {
            hosts: 1,
            cpu: 8192,
            memory: 8192,
            record: true,
            agent_arguments: policy.agent_arguments(&ground),
            ..Default::default()
        };
        let fleet = Fleet::start(settings).await?;
        let host = &fleet.hosts[0];
        let sockets = host.engine.as_ref().context("no engine")?.sockets();
        let all = recipes(&ground, &sockets, &host.agent_folder())?;
        let step = (all.len() / self.count).max(1);
        let recipes: Vec<Recipe> = all.into_iter().step_by(step).collect();
        let validator = Arc::new(Validator::new(
            policy.for_validation(&ground),
            sockets,
            host.agent_folder().join("tasks"),
        )?);
        let proxy = host.proxy.as_ref().context("no proxy")?;
        proxy.change_creates({
            let validator = validator.clone();
            Arc::new(move |name: &str, body: &mut Value| validator.look(name, body))
        });
        let client = fleet.ecs()?;
        let mut run = Run { recipes: recipes.len(), ..Run::default() };
        for (number, some) in recipes.chunks(AT_ONCE).enumerate() {
            let swap = ground.keep_swapping();
            let begun = some
                .iter()
                .enumerate()
                .map(|(index, recipe)| begin(&client, recipe, number * AT_ONCE + index));
            let begun = futures_util::future::try_join_all(begun).await?;
            let tasks: Vec<String> = begun.into_iter().flatten().collect();
            run.unregistered += some.len() - tasks.len();
            ended(&client, &tasks).await?;
            drop(swap);
        }
        (run.creates, run.escapes) = validator.seen();
        progress(&format!(
            "escapes: policy {}: {} recipes, {} creates, {} flagged",
            policy.name,
            run.recipes,
            run.creates,
            run.escapes.len()
        ));
        Ok(run)
    }
}

#[derive(Default)]
struct Run {
    recipes: usize,
    unregistered: usize,
    creates: usize,
    escapes: Vec<String>,
}

/// The task's ARN; none if the definition is not registered, or no host may run it.
async fn begin(client: &EcsClient, recipe: &Recipe, number: usize) -> Result<Option<String>> {
    let family = format!("recipe-{number}");
    let mut container = json!({
        "name": "main", "image": SAMPLE_IMAGE, "memory": 16, "command": ["/bin/true"],
    });
    merge(&mut container, &recipe.container);
    let mut definition = json!({ "family": family, "containerDefinitions": [container] });
    if let Some(side) = &recipe.side {
        let containers = definition["containerDefinitions"].as_array_mut();
        containers.context("no containers")?.push(side.clone());
    }
    merge(&mut definition, &recipe.task);
    if client.call("RegisterTaskDefinition", definition).await.is_err() {
        return Ok(None);
    }
    let ran = client.call("RunTask", json!({ "taskDefinition": family })).await;
    let Ok(ran) = ran else { return Ok(None) };
    Ok(ran["tasks"][0]["taskArn"].as_str().map(str::to_owned))
}

fn merge(into: &mut Value, more: &Value) {
    for (name, value) in more.as_object().into_iter().flatten() {
        into[name] = value.clone();
    }
}

async fn ended(client: &EcsClient, tasks: &[String]) -> Result<()> {
    if tasks.is_empty() {
        return Ok(());
    }
    let stopped = |shown: &Value| {
        let shown = shown["tasks"].as_array()?;
        shown.iter().all(|task| task["lastStatus"] == json!("STOPPED")).then_some(())
    };
    client.eventually("DescribeTasks", json!({ "tasks": tasks }), STOP_PATIENCE, stopped).await
}

impl EscapesCounts {
    pub fn print_and_judge(&self) -> Result<()> {
        count("seed", self.seed as usize)?;
        count("recipes", self.recipes)?;
        count("policies", self.policies)?;
        count("runs", self.runs)?;
        count("unregistered", self.unregistered)?;
        count("creates", self.creates)?;
        count("reached_without_policy", self.reached_without_policy)?;
        count("generated", self.generated.definitions)?;
        count("generated_refused_by_text", self.generated.refused_by_text)?;
        count("generated_refused_by_file", self.generated.refused_by_file)?;
        count("generated_creates", self.generated.creates)?;
        count("escapes", self.escapes)?;
        self.judge()
    }

    pub fn judge(&self) -> Result<()> {
        reached("recipes", self.recipes, self.asked)?;
        reached("policies", self.policies, 3)?;
        reached("generated", self.generated.definitions, self.asked_to_generate)?;
        ensure!(self.creates > 0, "no recipe reached the engine: nothing was judged");
        ensure!(
            self.reached_without_policy * 3 > self.recipes,
            "without a policy only {} of {} recipes reached anything: they show nothing",
            self.reached_without_policy,
            self.recipes
        );
        ensure!(self.escapes == 0, "{} recipes got out", self.escapes);
        Ok(())
    }
}
