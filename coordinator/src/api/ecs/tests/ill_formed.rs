//! Every member of every operation that is built, against ECS's model: of the wrong type, missing,
//! misspelt. The answer names the member, and nothing changes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    api::ecs,
    edge::{
        context::Api,
        error::{ApiError, ErrorCode},
        input::{self, BODY_BYTES_MAX},
        operation::{Operation, Output},
        test_backend,
    },
};

/// The inputs of ECS's operations, from botocore 1.44.5: names, types, which are required.
const INPUTS: &str = include_str!("inputs.json");

#[derive(Debug, Deserialize)]
struct Shape {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    members: BTreeMap<String, Shape>,
    #[serde(default)]
    required: Vec<String>,
    element: Option<Box<Shape>>,
}

/// A place in an input: how to reach it, and what stands there.
struct Place<'m> {
    steps: Vec<Step>,
    shape: &'m Shape,
}

#[derive(Clone)]
enum Step {
    Member(String),
    Element,
    Entry,
}

/// All places below `shape`, itself included.
fn places<'m>(shape: &'m Shape, steps: &[Step], found: &mut Vec<Place<'m>>) {
    // A document: any JSON is right.
    if shape.kind == "structure" && shape.members.is_empty() && !steps.is_empty() {
        return;
    }
    found.push(Place { steps: steps.to_owned(), shape });
    let below = |step: Step| [steps, &[step]].concat();
    for (name, member) in &shape.members {
        places(member, &below(Step::Member(name.clone())), found);
    }
    if let Some(element) = &shape.element {
        let step = if shape.kind == "map" { Step::Entry } else { Step::Element };
        places(element, &below(step), found);
    }
}

/// An input with `value` at a place and nothing beside the way to it.
fn input_with(steps: &[Step], value: Value) -> Value {
    steps.iter().rev().fold(value, |inner, step| match step {
        Step::Member(name) => json!({ name: inner }),
        Step::Element => json!([inner]),
        Step::Entry => json!({ "key": inner }),
    })
}

fn path(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |path, step| match step {
        Step::Member(name) if path.is_empty() => name.clone(),
        Step::Member(name) => format!("{path}.{name}"),
        Step::Element => format!("{path}[0]"),
        Step::Entry => format!("{path}.key"),
    })
}

/// A value of no type that stands there.
fn wrong(kind: &str) -> Value {
    match kind {
        "string" => json!(7),
        "integer" | "long" | "double" | "boolean" | "timestamp" => json!("seven"),
        "list" => json!({ "a": 1 }),
        "structure" | "map" => json!(["a"]),
        other => panic!("no wrong value of type {other}"),
    }
}

async fn ask(operation: &Operation, api: &Api, input: &[u8]) -> Result<String, ApiError> {
    match operation.run(api, input::read(input)?, ErrorCode::InvalidParameter).await? {
        Output::Json(answer) => Ok(String::from_utf8(answer).unwrap()),
        Output::Tree(_) | Output::Events(_) => panic!("ECS answers JSON"),
    }
}

#[tokio::test]
async fn every_ill_formed_input_is_refused_by_name_and_changes_nothing() {
    let inputs: BTreeMap<String, Shape> = serde_json::from_str(INPUTS).unwrap();
    let api = test_backend::api();
    let before = api.driver.peek(|state| state.seq());
    let (mut wrong_types, mut missing, mut misspelt, mut broken) = (0, 0, 0, 0);
    let mut unlike_ecs = BTreeSet::new();
    for operation in ecs::operations() {
        let name = operation.name();
        let mut found = Vec::new();
        places(&inputs[name], &[], &mut found);
        for Place { steps, shape } in &found {
            let at = path(steps);
            // The value has another type.
            let input = input_with(steps, wrong(&shape.kind)).to_string();
            match ask(&operation, &api, input.as_bytes()).await {
                Err(refusal)
                    if refusal.code == ErrorCode::Serialization
                        && refusal.message.contains(&at) =>
                {
                    wrong_types += 1;
                }
                answer => {
                    unlike_ecs.insert(format!("{name} {at}: {answer:?}"));
                    continue;
                }
            }
            if shape.kind != "structure" {
                continue;
            }
            // The value has a member that does not exist.
            let input = input_with(steps, json!({ "noSuchMember": 1 })).to_string();
            let refusal = ask(&operation, &api, input.as_bytes()).await.unwrap_err();
            assert!(refusal.message.contains("noSuchMember"), "{name} {at}: {refusal}");
            misspelt += 1;
            // Without what it needs: one of them is named.
            if !shape.required.is_empty() {
                let input = input_with(steps, json!({})).to_string();
                match ask(&operation, &api, input.as_bytes()).await {
                    Err(refusal) if refusal.status().is_client_error() => missing += 1,
                    answer => panic!("{name} {at} without {:?}: {answer:?}", shape.required),
                }
            }
        }
        let large = vec![b' '; BODY_BYTES_MAX * 2];
        for body in [&b"{"[..], b"", b"[]", b"null", b"\xff", b"{\"a\":1,\"a\":1}", &large] {
            let refusal = ask(&operation, &api, body).await.unwrap_err();
            let expected = [ErrorCode::Serialization, ErrorCode::RequestTooLarge];
            assert!(expected.contains(&refusal.code), "{name}: {refusal}");
            broken += 1;
        }
    }
    eprintln!(
        "ill-formed inputs: wrong types {wrong_types}, missing {missing}, misspelt {misspelt}, \
         broken {broken}"
    );
    assert_eq!(unlike_ecs, BTreeSet::new());
    assert_eq!(api.driver.peek(|state| state.seq()), before, "the state has changed");
}
