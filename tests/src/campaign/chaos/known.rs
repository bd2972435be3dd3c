//! What the clients have read: names and ARNs, of what there is and of what is long gone.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use crate::chance::Chance;

/// Of each kind; a newer one takes the place of any.
const KEPT_MAX: usize = 40;
/// The newest of each kind, of which half of the choices are.
const NEWEST: usize = 6;

/// By what an ARN says it names, `task` or `capacity-provider`, and by operation for page tokens.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    arns: BTreeMap<String, Vec<String>>,
    newest: BTreeMap<String, VecDeque<String>>,
    pages: BTreeMap<&'static str, Vec<String>>,
    /// Deployments with their hooks that wait.
    pub(super) hooks: Vec<(String, String)>,
    /// Join tokens as they were shown, and their ids.
    pub(super) tokens: Vec<(String, String)>,
    /// Instances with their Auto Scaling groups.
    pub(super) instances: Vec<(String, String)>,
    draws: u64,
}

impl Known {
    pub(super) fn any(&self, kind: &str, chance: &mut Chance) -> Option<String> {
        let newest = self.newest.get(kind).filter(|newest| !newest.is_empty());
        match newest.filter(|_| chance.one_in(2)) {
            Some(newest) => newest.get(chance.below(newest.len())).cloned(),
            None => self.arns.get(kind).and_then(|known| chance.pick(known)).cloned(),
        }
    }

    /// What a refused request named is used more rarely from now on.
    pub(super) fn doubt(&mut self, input: &str) {
        self.draws += 1;
        let seldom = self.draws.is_multiple_of(2);
        for (kind, newest) in &mut self.newest {
            newest.retain(|known| !input.contains(known.as_str()));
            if let Some(known) = self.arns.get_mut(kind).filter(|_| seldom) {
                known.retain(|known| !input.contains(known.as_str()));
            }
        }
        self.hooks.retain(|(_, hook)| !input.contains(hook.as_str()));
        self.instances.retain(|(_, instance)| !seldom || !input.contains(instance.as_str()));
    }

    pub(super) fn page(&self, operation: &str, chance: &mut Chance) -> Option<String> {
        self.pages.get(operation).and_then(|known| chance.pick(known)).cloned()
    }

    /// Whatever has an ARN.
    pub(super) fn anything(&self, chance: &mut Chance) -> Option<String> {
        let kinds: Vec<&Vec<String>> = self.arns.values().collect();
        chance.pick(&kinds).and_then(|known| chance.pick(known)).cloned()
    }

    /// Reads an answer.
    pub(super) fn harvest(&mut self, operation: &'static str, answer: &Value) {
        if let Some(token) = answer.get("nextToken").and_then(Value::as_str) {
            let pages = self.pages.entry(operation).or_default();
            put(&mut self.draws, pages, token.to_owned());
        }
        if operation == "CreateJoinToken" {
            let id = answer["joinToken"]["id"].as_str().zip(answer["token"].as_str());
            let token = id.map(|(id, token)| (token.to_owned(), id.to_owned()));
            token.into_iter().for_each(|token| put(&mut self.draws, &mut self.tokens, token));
        }
        self.walk(answer);
    }

    /// The same of an answer in XML.
    pub(super) fn harvest_text(&mut self, answer: &str) {
        for word in answer.split(['<', '>']).filter(|word| word.starts_with("arn:")) {
            self.keep(word);
        }
        for member in answer.split("<member>") {
            let text = |tag: &str| {
                let text = member.split_once(&format!("<{tag}>"))?.1;
                Some(text.split_once('<')?.0.to_owned())
            };
            let instance = text("AutoScalingGroupName").zip(text("InstanceId"));
            let instances = &mut self.instances;
            instance.into_iter().for_each(|one| keep(&mut self.draws, instances, one));
        }
    }

    fn walk(&mut self, value: &Value) {
        match value {
            Value::String(text) if text.starts_with("arn:") => self.keep(text),
            Value::Array(values) => values.iter().for_each(|value| self.walk(value)),
            Value::Object(members) => {
                if let Some(deployment) = value["serviceDeploymentArn"].as_str() {
                    let hooks = value["lifecycleHookDetails"].as_array();
                    let waits = |hook: &&Value| hook["status"] == "AWAITING_ACTION";
                    for hook in hooks.into_iter().flatten().filter(waits) {
                        let hook = hook["hookId"].as_str().unwrap_or_default().to_owned();
                        keep(&mut self.draws, &mut self.hooks, (deployment.to_owned(), hook));
                    }
                }
                members.values().for_each(|value| self.walk(value));
            }
            _ => {}
        }
    }

    fn keep(&mut self, arn: &str) {
        // arn:aws:SERVICE:REGION:ACCOUNT:KIND/… or KIND:…
        let mut parts = arn.splitn(6, ':');
        let service = parts.nth(2).unwrap_or_default();
        let resource = parts.nth(2).unwrap_or_default();
        let kind = resource.split(['/', ':']).next().unwrap_or_default();
        let kind = if service == "ecs" { kind } else { service };
        let newest = self.newest.entry(kind.to_owned()).or_default();
        newest.retain(|known| known != arn);
        newest.push_back(arn.to_owned());
        if newest.len() > NEWEST {
            newest.pop_front();
        }
        let known = self.arns.entry(kind.to_owned()).or_default();
        keep(&mut self.draws, known, arn.to_owned());
    }
}

fn keep<T: PartialEq>(draws: &mut u64, known: &mut Vec<T>, new: T) {
    if !known.contains(&new) {
        put(draws, known, new);
    }
}

fn put<T>(draws: &mut u64, known: &mut Vec<T>, new: T) {
    *draws += 1;
    match known.len() < KEPT_MAX {
        true => known.push(new),
        // Neither the oldest nor the newest: some stay until they are stale.
        false => known[(*draws * 7 % KEPT_MAX as u64) as usize] = new,
    }
}
