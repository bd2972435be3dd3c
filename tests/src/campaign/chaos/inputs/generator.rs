//! What a generator of inputs is, what it draws from, and how its input becomes a request's body.

use longshore_common::clock::Timestamp;
use longshore_coordinator::edge::in_process::Offered;
use serde_json::{Map, Value, json};

use crate::{campaign::chaos::known::Known, chance::Chance};

/// One operation: its service, its name, how often it is asked for, and what.
pub(in crate::campaign::chaos) struct Generator {
    pub(in crate::campaign::chaos) service: &'static str,
    pub(in crate::campaign::chaos) operation: &'static str,
    pub(in crate::campaign::chaos) weight: usize,
    pub(in crate::campaign::chaos) input: fn(&mut Draw<'_>) -> Value,
}

pub(super) const fn ecs(
    operation: &'static str,
    weight: usize,
    input: fn(&mut Draw<'_>) -> Value,
) -> Generator {
    Generator { service: "ecs", operation, weight, input }
}

/// One input in so many is spoilt.
const SPOILT: usize = 25;
/// One name in so many is of something else, or of nothing.
const FOREIGN: usize = 30;

pub(in crate::campaign::chaos) const CLUSTERS: [&str; 4] = ["default", "web", "batch", "edge"];
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
pub(in crate::campaign::chaos) struct Draw<'a> {
    pub(in crate::campaign::chaos) chance: &'a mut Chance,
    pub(in crate::campaign::chaos) known: &'a Known,
    pub(in crate::campaign::chaos) now: Timestamp,
}

impl Draw<'_> {
    pub(in crate::campaign::chaos) fn below(&mut self, bound: usize) -> usize {
        self.chance.below(bound)
    }

    pub(in crate::campaign::chaos) fn one_in(&mut self, n: usize) -> bool {
        self.chance.one_in(n)
    }

    pub(in crate::campaign::chaos) fn pick<'v>(&mut self, from: &[&'v str]) -> &'v str {
        self.chance.pick(from).copied().unwrap_or_default()
    }

    /// A name like any other, of nothing.
    fn garbage(&mut self) -> String {
        self.pick(&GARBAGE).to_owned()
    }

    /// The ARN of one that the clients have read of, or for a while of nothing.
    pub(in crate::campaign::chaos) fn arn(&mut self, kind: &str) -> String {
        if self.one_in(FOREIGN) {
            let other = self.known.anything(self.chance);
            return other.filter(|_| self.chance.one_in(2)).unwrap_or_else(|| self.garbage());
        }
        self.known.any(kind, self.chance).unwrap_or_else(|| self.garbage())
    }

    /// Up to `most` of them.
    pub(in crate::campaign::chaos) fn arns(&mut self, kind: &str, most: usize) -> Vec<String> {
        let count = 1 + self.below(most);
        (0..count).map(|_| self.arn(kind)).collect()
    }

    /// One of the same cluster, where the clients know any.
    pub(in crate::campaign::chaos) fn arn_in(&mut self, kind: &str, cluster: &str) -> String {
        let fits = |arn: &String| in_cluster(arn).is_some_and(|(other, _)| other == cluster);
        let found = (0..6).map(|_| self.arn(kind)).find(fits);
        found.unwrap_or_else(|| self.arn(kind))
    }

    pub(in crate::campaign::chaos) fn cluster(&mut self) -> String {
        if self.one_in(FOREIGN) {
            return self.arn("cluster");
        }
        // Most of what happens happens in two of them.
        let few = if self.one_in(4) { CLUSTERS.len() } else { 2 };
        CLUSTERS[self.below(few)].to_owned()
    }

    /// A service's cluster and the service, as an ARN or by name.
    pub(in crate::campaign::chaos) fn service(&mut self) -> (String, String) {
        let arn = self.arn("service");
        match (in_cluster(&arn), self.one_in(2)) {
            (Some((cluster, _)), true) => (cluster, arn),
            (Some((cluster, name)), false) => (cluster, name),
            (None, _) => (self.cluster(), arn),
        }
    }

    /// Something that belongs to a cluster, with that cluster.
    pub(in crate::campaign::chaos) fn within(&mut self, kind: &str) -> (String, String) {
        let arn = self.arn(kind);
        match in_cluster(&arn) {
            Some((cluster, _)) => (cluster, arn),
            None => (self.cluster(), arn),
        }
    }

    pub(in crate::campaign::chaos) fn tags(&mut self) -> Value {
        let count = self.below(3);
        let tags = (0..count).map(|at| json!({"key": format!("team-{at}"), "value": "web"}));
        tags.collect()
    }

    /// maxResults and nextToken of a list.
    pub(in crate::campaign::chaos) fn paged(
        &mut self,
        operation: &'static str,
        mut input: Value,
    ) -> Value {
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
pub(in crate::campaign::chaos) fn in_cluster(arn: &str) -> Option<(String, String)> {
    let resource = arn.strip_prefix("arn:")?.splitn(5, ':').nth(4)?;
    let mut parts = resource.split('/').skip(1);
    let cluster = parts.next()?.to_owned();
    Some((cluster, parts.last()?.to_owned()))
}

/// The body of a request; now and then not what the operation takes.
pub(in crate::campaign::chaos) fn body(
    offered: Offered,
    generator: &Generator,
    draw: &mut Draw<'_>,
) -> Vec<u8> {
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
pub(in crate::campaign::chaos) fn form(offered: Offered, input: &Value) -> Vec<u8> {
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
pub(super) fn given(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let drawn = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(drawn.collect::<Map<_, _>>())
        }
        other => other,
    }
}
