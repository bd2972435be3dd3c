//! An answer before it is bytes: what JSON, CBOR and XML can all say.
//!
//! The protocols differ in more than syntax: a moment is a number in JSON, a tagged number in CBOR
//! and ISO 8601 in XML. Handlers of services with several protocols answer with a [`Tree`].

use longshore_common::clock::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    Bool(bool),
    Whole(u64),
    Number(f64),
    Text(String),
    Moment(Timestamp),
    List(Vec<Tree>),
    Object(Vec<(&'static str, Tree)>),
    /// Members whose names are the client's own.
    Map(Vec<(String, Tree)>),
}

impl Tree {
    /// An object without members: add them [with](Tree::with) names.
    pub(crate) fn object() -> Self {
        Tree::Object(Vec::new())
    }

    /// A value of an enum that serde names as the wire does.
    pub(crate) fn word(value: impl Serialize) -> Self {
        match serde_json::to_value(value) {
            Ok(serde_json::Value::String(word)) => Tree::Text(word),
            other => panic!("an enum without content is written as a word, not as {other:?}"),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Tree>) -> Self {
        match &mut self {
            Tree::Object(members) => members.push((name, value.into())),
            other => panic!("{name} cannot be a member of {other:?}"),
        }
        self
    }

    /// Adds nothing when there is no value.
    pub(crate) fn with_some(self, name: &'static str, value: Option<impl Into<Tree>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

impl From<bool> for Tree {
    fn from(value: bool) -> Self {
        Tree::Bool(value)
    }
}

impl From<u32> for Tree {
    fn from(value: u32) -> Self {
        Tree::Whole(value.into())
    }
}

impl From<f64> for Tree {
    fn from(value: f64) -> Self {
        Tree::Number(value)
    }
}

impl From<&str> for Tree {
    fn from(text: &str) -> Self {
        Tree::Text(text.to_owned())
    }
}

impl From<&String> for Tree {
    fn from(text: &String) -> Self {
        Tree::Text(text.clone())
    }
}

impl From<String> for Tree {
    fn from(text: String) -> Self {
        Tree::Text(text)
    }
}

impl From<Timestamp> for Tree {
    fn from(moment: Timestamp) -> Self {
        Tree::Moment(moment)
    }
}

/// Writes a tree as AWS's JSON protocols do.
impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Tree::Bool(value) => serializer.serialize_bool(*value),
            Tree::Whole(value) => serializer.serialize_u64(*value),
            Tree::Number(value) => serializer.serialize_f64(*value),
            Tree::Text(text) => serializer.serialize_str(text),
            Tree::Moment(moment) => serializer.serialize_f64(moment.as_epoch_seconds()),
            Tree::List(items) => serializer.collect_seq(items),
            Tree::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
            Tree::Map(pairs) => serializer.collect_map(pairs.iter().map(|(k, v)| (k, v))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::protocol::{cbor, query};

    #[test]
    fn every_kind_of_value_has_its_form_in_each_protocol() {
        let tree = Tree::object()
            .with("Yes", true)
            .with("Whole", 7)
            .with("Number", 0.5)
            .with("Text", "<a>")
            .with_some("Absent", None::<bool>)
            .with("At", Timestamp(1_767_323_045_678))
            .with("List", Tree::List(vec!["a".into(), "b".into()]))
            .with("Empty", Tree::List(Vec::new()));
        expect_test::expect![[r#"{"Yes":true,"Whole":7,"Number":0.5,"Text":"<a>","At":1767323045.678,"List":["a","b"],"Empty":[]}"#]]
            .assert_eq(&serde_json::to_string(&tree).unwrap());
        expect_test::expect!["<Yes>true</Yes><Whole>7</Whole><Number>0.5</Number><Text>&lt;a&gt;</Text><At>2026-01-02T03:04:05.678Z</At><List><member>a</member><member>b</member></List><Empty/>"]
            .assert_eq(&query::xml(&tree));
        expect_test::expect![[r#"{"Yes": true, "Whole": 7, "Number": 5e-1, "Text": "<a>", "At": 1(1.767323045678e9), "List": ["a", "b"], "Empty": []}"#]]
            .assert_eq(&minicbor::display(&cbor::write(&tree)).to_string());
    }
}
