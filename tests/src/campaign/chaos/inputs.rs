//! What clients ask: for each operation of the router a generator of inputs, mostly valid in the
//! world as the clients know it, now and then stale, foreign or garbage.

mod clusters;
mod definitions;
mod fleet;
mod logs;
mod callers;
mod scaling;
mod services;
mod tasks;

use longshore_common::clock::Timestamp;
use longshore_coordinator::edge::in_process::Offered;
use serde_json::{Map, Value, json};

use super::known::Known;
use crate::chance::Chance;

/// One operation: its service, its name, how often it is asked for, and what.
pub(super) struct Generator {
    pub(super) service: &'static str,
    pub(super) operation: &'static str,
    pub(super) weight: usize,
    pub(super) input: fn(&mut Draw<'_>) -> Value,
}

const fn ecs(
    operation: &'static str,
    weight: usize,
    input: fn(&mut Draw<'_>) -> Value,
) -> Generator {
    Generator { service: "ecs", operation, weight, input }
}

/// All of them.
pub(super) fn generators() -> Vec<Generator> {
    let of_resources = [
        clusters::generators(),
        definitions::generators(),
        tasks::generators(),
        services::generators(),
        fleet::generators(),
        scaling::generators(),
        logs::generators(),
        callers::generators(),
    ];
    of_resources.into_iter().flatten().collect()
}

/// One input in so many is spoilt.
const SPOILT: usize = 25;
/// One name in so many is of something else, or of nothing.
const FOREIGN: usize = 30;

pub(super) const CLUSTERS: [&str; 4] = ["default", "web", "batch", "edge"];
const GARBAGE: [&str; 8] = [
    "",
    "no such thing",
    "arn:aws:ecs:eu-west-1:999999999999:cluster/foreign",
    "arn:aws:ecs:us-east-1:000000000000:task/web/00000000000000000000000000000000",
    "x:0",
    "\u{202e}\u{0}",
    "-1",
    "arn:::::",
];

/// What a generator draws from.
pub(super) struct Draw<'a> {
    pub(super) chance: &'a mut Chance,
    pub(super) known: &'a Known,
    pub(super) now: Timestamp,
}

impl Draw<'_> {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.chance.below(bound)
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.chance.one_in(n)
    }

    pub(super) fn pick<'v>(&mut self, from: &[&'v str]) -> &'v str {
        self.chance.pick(from).copied().unwrap_or_default()
    }

    /// A name like any other, of nothing.
    fn garbage(&mut self) -> String {
        self.pick(&GARBAGE).to_owned()
    }

    /// The ARN of one that the clients have read of, or for a while of nothing.
    pub(super) fn arn(&mut self, kind: &str) -> String {
        if self.one_in(FOREIGN) {
            let other = self.known.anything(self.chance);
            return other.filter(|_| self.chance.one_in(2)).unwrap_or_else(|| self.garbage());
        }
        self.known.any(kind, self.chance).unwrap_or_else(|| self.garbage())
    }

    /// Up to `most` of them.
    pub(super) fn arns(&mut self, kind: &str, most: usize) -> Vec<String> {
        let count = 1 + self.below(most);
        (0..count).map(|_| self.arn(kind)).collect()
    }

    /// One of the same cluster, where the clients know any.
    pub(super) fn arn_in(&mut self, kind: &str, cluster: &str) -> String {
        let fits = |arn: &String| in_cluster(arn).is_some_and(|(other, _)| other == cluster);
        let found = (0..6).map(|_| self.arn(kind)).find(fits);
        found.unwrap_or_else(|| self.arn(kind))
    }

    pub(super) fn cluster(&mut self) -> String {
        if self.one_in(FOREIGN) {
            return self.arn("cluster");
        }
        // Most of what happens happens in two of them.
        let few = if self.one_in(4) { CLUSTERS.len() } else { 2 };
        CLUSTERS[self.below(few)].to_owned()
    }

    /// A service's cluster and the service, as an ARN or by name.
    pub(super) fn service(&mut self) -> (String, String) {
        let arn = self.arn("service");
        match (in_cluster(&arn), self.one_in(2)) {
            (Some((cluster, _)), true) => (cluster, arn),
            (Some((cluster, name)), false) => (cluster, name),
            (None, _) => (self.cluster(), arn),
        }
    }

    /// Something that belongs to a cluster, with that cluster.
    pub(super) fn within(&mut self, kind: &str) -> (String, String) {
        let arn = self.arn(kind);
        match in_cluster(&arn) {
            Some((cluster, _)) => (cluster, arn),
            None => (self.cluster(), arn),
        }
    }

    pub(super) fn tags(&mut self) -> Value {
        let count = self.below(3);
        let tags = (0..count).map(|at| json!({"key": format!("team-{at}"), "value": "web"}));
        tags.collect()
    }

    /// maxResults and nextToken of a list.
    pub(super) fn paged(&mut self, operation: &'static str, mut input: Value) -> Value {
        if self.one_in(2) {
            input["maxResults"] = json!(1 + self.below(4));
        }
        if self.one_in(3) {
            let token = match self.one_in(8) {
                true => Some(self.garbage()),
                false => self.known.page(operation, self.chance),
            };
            token.into_iter().for_each(|token| input["nextToken"] = json!(token));
        }
        input
    }
}

/// Cluster and last part of an ARN `…:KIND/CLUSTER/…/LAST`.
pub(super) fn in_cluster(arn: &str) -> Option<(String, String)> {
    let resource = arn.strip_prefix("arn:")?.splitn(5, ':').nth(4)?;
    let mut parts = resource.split('/').skip(1);
    let cluster = parts.next()?.to_owned();
    Some((cluster, parts.last()?.to_owned()))
}

/// The body of a request; now and then not what the operation takes.
pub(super) fn body(offered: Offered, generator: &Generator, draw: &mut Draw<'_>) -> Vec<u8> {
    let mut input = (generator.input)(draw);
    if draw.one_in(SPOILT) {
        spoil(&mut input, draw);
    }
    let json = || serde_json::to_vec(&input).unwrap_or_default();
    match offered.target {
        Some(_) => json(),
        None => form(offered, &input),
    }
}

/// One member is another one's value, garbage, missing, or unknown.
fn spoil(input: &mut Value, draw: &mut Draw<'_>) {
    let Some(members) = input.as_object_mut() else { return };
    let names: Vec<String> = members.keys().cloned().collect();
    let Some(name) = draw.chance.pick(&names).cloned() else {
        members.insert("noSuchMember".to_owned(), json!(1));
        return;
    };
    let value = match draw.below(9) {
        0 => json!(draw.garbage()),
        1 => json!(draw.known.anything(draw.chance)),
        2 => json!(-1),
        3 => json!(4_294_967_296_u64),
        4 => json!([]),
        5 => json!({"a": {"b": [null]}}),
        6 => json!("x".repeat(2_000)),
        7 => {
            members.remove(&name);
            return;
        }
        _ => {
            members.insert("noSuchMember".to_owned(), json!("1"));
            return;
        }
    };
    members.insert(name, value);
}

/// An input as a form of the query protocol: `Tags.member.1.Key=…`.
pub(super) fn form(offered: Offered, input: &Value) -> Vec<u8> {
    let mut pairs = vec![
        ("Action".to_owned(), offered.operation.to_owned()),
        ("Version".to_owned(), offered.version.to_owned()),
    ];
    flatten("", input, &mut pairs);
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    pairs.join("&").into_bytes()
}

fn flatten(prefix: &str, value: &Value, pairs: &mut Vec<(String, String)>) {
    let below = |name: &str| match prefix {
        "" => name.to_owned(),
        prefix => format!("{prefix}.{name}"),
    };
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| flatten(&below(name), value, pairs))
        }
        Value::Array(values) => values.iter().enumerate().for_each(|(at, value)| {
            flatten(&below(&format!("member.{}", at + 1)), value, pairs);
        }),
        Value::Null => {}
        Value::String(text) => pairs.push((prefix.to_owned(), text.clone())),
        Value::Bool(_) | Value::Number(_) => pairs.push((prefix.to_owned(), value.to_string())),
    }
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// An object without the members that are null: what was not drawn.
fn given(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let drawn = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(drawn.collect::<Map<_, _>>())
        }
        other => other,
    }
}
