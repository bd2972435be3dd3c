//! The shapes of ECS's inputs: names, types, what is required (`!`), limits. Facts of ECS's model,
//! and of its documentation where a container, a volume or a tag is concerned, in
//! `tests/golden/ecs-inputs.json`.

use serde_json::{Map, Value, json};

/// What a value must be.
#[derive(Clone, Debug)]
pub(in crate::api) enum Shape {
    Object(Vec<Member>),
    List {
        item: Box<Shape>,
        max: Option<usize>,
    },
    Map(Box<Shape>),
    Enum(Vec<String>),
    Boolean,
    Integer {
        min: Option<i64>,
        max: Option<i64>,
    },
    Double,
    /// Any JSON at all.
    Any,
    String {
        min: Option<usize>,
        max: Option<usize>,
    },
}

#[derive(Clone, Debug)]
pub(in crate::api) struct Member {
    pub(in crate::api) name: String,
    pub(in crate::api) required: bool,
    pub(in crate::api) shape: Shape,
}

/// Each operation with its input, in the order of the file.
pub(in crate::api) fn inputs() -> Vec<(String, Shape)> {
    inputs_in(include_str!("../../../../../tests/golden/ecs-inputs.json"))
}

/// Inputs in another service's golden file.
pub(in crate::api) fn inputs_in(golden: &str) -> Vec<(String, Shape)> {
    let golden: Map<String, Value> = serde_json::from_str(golden).unwrap();
    golden.into_iter().map(|(operation, shape)| (operation, Shape::read(&shape))).collect()
}

impl Shape {
    fn read(json: &Value) -> Self {
        let (kind, rest) = match json {
            Value::String(kind) => (kind.as_str(), json!({})),
            other => {
                let object = other.as_object().unwrap();
                let named = ["object", "list", "map", "enum", "string", "integer", "double"];
                let kind = named.into_iter().find(|kind| object.contains_key(*kind)).unwrap();
                (kind, other.clone())
            }
        };
        let inner = &rest[kind];
        let bounds = |of: &Value| (of["min"].as_i64(), of["max"].as_i64());
        match kind {
            "object" => {
                Shape::Object(inner.as_object().unwrap().iter().map(Member::read).collect())
            }
            "list" => Shape::List {
                item: Box::new(Shape::read(inner)),
                max: rest["max"].as_u64().map(|max| max as usize),
            },
            "map" => Shape::Map(Box::new(Shape::read(inner))),
            "enum" => Shape::Enum(serde_json::from_value(inner.clone()).unwrap()),
            "boolean" => Shape::Boolean,
            "integer" | "long" => {
                let (min, max) = bounds(inner);
                Shape::Integer { min, max }
            }
            "double" => Shape::Double,
            "any" => Shape::Any,
            "string" => {
                let (min, max) = bounds(inner);
                Shape::String { min: min.map(|n| n as usize), max: max.map(|n| n as usize) }
            }
            other => panic!("the golden file has the type {other}"),
        }
    }

    /// The smallest value: required members only.
    pub(in crate::api) fn least(&self) -> Value {
        self.value(&|member| member.required)
    }

    /// A value with every member there is.
    pub(in crate::api) fn whole(&self) -> Value {
        self.value(&|_| true)
    }

    fn value(&self, has: &dyn Fn(&Member) -> bool) -> Value {
        match self {
            Shape::Object(members) => {
                let given = members.iter().filter(|member| has(member));
                given.map(|m| (m.name.clone(), m.shape.value(has))).collect::<Map<_, _>>().into()
            }
            Shape::List { item, .. } => json!([item.value(has)]),
            Shape::Map(value) => json!({"key": value.value(has)}),
            Shape::Enum(values) => json!(values[0]),
            Shape::Boolean => json!(true),
            Shape::Integer { min, .. } => json!(min.unwrap_or(1).max(1)),
            Shape::Double => json!(1.5),
            Shape::Any => json!({"a": ["b"]}),
            Shape::String { .. } => json!("a"),
        }
    }

    /// Values of every other JSON type.
    pub(in crate::api) fn wrong(&self) -> Vec<Value> {
        let all = [json!("a"), json!(7), json!(7.5), json!(true), json!(["a"]), json!({"a": "b"})];
        let fits = |value: &Value| match self {
            Shape::Object(_) | Shape::Map(_) => value.is_object(),
            Shape::List { .. } => value.is_array(),
            Shape::Enum(_) | Shape::String { .. } => value.is_string(),
            Shape::Boolean => value.is_boolean(),
            Shape::Integer { .. } => value.is_i64(),
            Shape::Double => value.is_number(),
            Shape::Any => true,
        };
        all.into_iter().filter(|value| !fits(value)).collect()
    }

    /// Calls `visit` for each member at each depth, with a function that puts a value in its place
    /// in an otherwise least input.
    pub(in crate::api) fn visit(&self, visit: &mut dyn FnMut(&str, Place<'_>)) {
        self.visit_in("", &|value| value, visit);
    }

    fn visit_in(
        &self,
        path: &str,
        wrap: &dyn Fn(Value) -> Value,
        visit: &mut dyn FnMut(&str, Place<'_>),
    ) {
        match self {
            Shape::Object(members) => {
                visit(path, Place { shape: self, member: None, wrap });
                for member in members {
                    let with = |value: Value| {
                        let mut object = self.least();
                        match value {
                            Value::Null => object.as_object_mut().unwrap().remove(&member.name),
                            value => {
                                object.as_object_mut().unwrap().insert(member.name.clone(), value)
                            }
                        };
                        wrap(object)
                    };
                    let path = match path {
                        "" => member.name.clone(),
                        path => format!("{path}.{}", member.name),
                    };
                    visit(&path, Place { shape: &member.shape, member: Some(member), wrap: &with });
                    member.shape.visit_in(&path, &with, visit);
                }
            }
            Shape::List { item, .. } => {
                let path = format!("{path}[0]");
                item.visit_in(&path, &|value| wrap(json!([value])), visit);
            }
            Shape::Map(value) => {
                let path = format!("{path}.key");
                value.visit_in(&path, &|value| wrap(json!({"key": value})), visit);
            }
            Shape::Enum(_)
            | Shape::Boolean
            | Shape::Integer { .. }
            | Shape::Double
            | Shape::Any
            | Shape::String { .. } => {}
        }
    }
}

/// One place in an input.
pub(in crate::api) struct Place<'a> {
    pub(in crate::api) shape: &'a Shape,
    /// Absent where the place is an object itself, not a member of one.
    pub(in crate::api) member: Option<&'a Member>,
    /// The whole input with this value here; null leaves the member out.
    pub(in crate::api) wrap: &'a dyn Fn(Value) -> Value,
}

impl Member {
    fn read((name, shape): (&String, &Value)) -> Self {
        Member {
            name: name.trim_end_matches('!').to_owned(),
            required: name.ends_with('!'),
            shape: Shape::read(shape),
        }
    }
}

#[test]
fn every_operation_of_ecs_has_the_shape_of_its_input() {
    let known: Vec<String> = inputs().into_iter().map(|(operation, _)| operation).collect();
    let operations = crate::api::ecs::operations();
    let names = operations.iter().map(|operation| operation.name());
    let without: Vec<&str> = names.filter(|name| !known.iter().any(|k| k == name)).collect();
    assert!(without.is_empty(), "add to tests/golden/ecs-inputs.json: {without:?}");
}
