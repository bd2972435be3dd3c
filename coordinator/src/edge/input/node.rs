//! A request's body as it came, within limits: nesting, number of values, no member twice.
//!
//! `serde_json::Value` would keep the last of two equal members without a word, and another reader
//! of the same bytes the first: what is checked must be what is used.

use std::{borrow::Cow, cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// Maximum depth of lists and objects within one another (promises.md 4; ECS's deepest input nests
/// 7).
pub(crate) const DEPTH_MAX: usize = 64;
/// Maximum number of values in a body (ours), so that `[0,0,…` cannot cost much more memory than
/// its bytes.
pub(crate) const VALUES_MAX: usize = 100_000;
/// Maximum number of characters of a client's own text that an error repeats (ours).
const QUOTED_CHARS_MAX: usize = 64;

/// One value of any protocol.
#[derive(Debug, PartialEq)]
pub(crate) enum Node<'a> {
    Null,
    Bool(bool),
    Number(Number),
    String(Cow<'a, str>),
    /// A form's value: a string, or a number or boolean if that is what is wanted.
    Word(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl<'a> Node<'a> {
    /// The error says which member is given twice.
    pub(crate) fn object(members: Vec<(Cow<'a, str>, Node<'a>)>) -> Result<Self, String> {
        match twice(&members) {
            Some(name) => Err(format!("the member `{}` is given twice", quoted(name))),
            None => Ok(Node::Object(members)),
        }
    }

    /// Whether leaving the member out would mean the same.
    pub(crate) fn says_nothing(&self) -> bool {
        match self {
            Node::Null | Node::Bool(false) => true,
            Node::Bool(true) | Node::Number(_) => false,
            Node::String(text) | Node::Word(text) => text.is_empty(),
            Node::List(items) => items.is_empty(),
            Node::Object(members) => members.is_empty(),
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Bool(_) => "a boolean",
            Node::Number(_) => "a number",
            Node::String(_) | Node::Word(_) => "a string",
            Node::List(_) => "a list",
            Node::Object(_) => "an object",
        }
    }
}

/// Reads one JSON value that is all of `body`. The error is a sentence.
pub(crate) fn read(body: &[u8]) -> Result<Node<'_>, String> {
    if body.is_empty() {
        return Err("The request body is empty; send a JSON object, {} at least.".to_owned());
    }
    let values_left = Cell::new(VALUES_MAX);
    let mut json = serde_json::Deserializer::from_slice(body);
    let node = ReadNode { depth: 0, values_left: &values_left }.deserialize(&mut json);
    let whole = node.and_then(|node| json.end().map(|()| node));
    whole.map_err(|error| match error.classify() {
        // Our own refusals: already a sentence's worth.
        serde_json::error::Category::Data => format!("The request body is refused: {error}."),
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => {
            format!("The request body is not valid JSON: {error}.")
        }
    })
}

#[derive(Clone, Copy)]
struct ReadNode<'c> {
    depth: usize,
    values_left: &'c Cell<usize>,
}

impl<'c> ReadNode<'c> {
    fn inner<E: Error>(self) -> Result<ReadNode<'c>, E> {
        match self.depth + 1 {
            depth if depth > DEPTH_MAX => {
                Err(E::custom(format_args!("it nests deeper than {DEPTH_MAX} levels")))
            }
            depth => Ok(ReadNode { depth, ..self }),
        }
    }
}

impl<'a> DeserializeSeed<'a> for ReadNode<'_> {
    type Value = Node<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Node<'a>, D::Error> {
        let left = self.values_left.get().checked_sub(1).ok_or_else(|| {
            D::Error::custom(format_args!("it holds more than {VALUES_MAX} values"))
        })?;
        self.values_left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for ReadNode<'_> {
    type Value = Node<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'a>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'a>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'a>, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'a>, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node<'a>, E> {
        Number::from_f64(value).map(Node::Number).ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Node<'a>, E> {
        Ok(Node::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node<'a>, E> {
        Ok(Node::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Node<'a>, A::Error> {
        let inner = self.inner()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Node<'a>, A::Error> {
        let inner = self.inner()?;
        let mut members: Vec<(Cow<'a, str>, Node<'a>)> = Vec::new();
        while let Some(MemberName(name)) = map.next_key()? {
            members.push((name, map.next_value_seed(inner)?));
        }
        Node::object(members).map_err(Error::custom)
    }
}

/// A member's name, borrowed from the body where it has no escapes.
struct MemberName<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for MemberName<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(MemberNameVisitor)
    }
}

struct MemberNameVisitor;

impl<'de> Visitor<'de> for MemberNameVisitor {
    type Value = MemberName<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<MemberName<'de>, E> {
        Ok(MemberName(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<MemberName<'de>, E> {
        Ok(MemberName(Cow::Owned(text.to_owned())))
    }
}

fn twice<'m>(members: &'m [(Cow<'_, str>, Node<'_>)]) -> Option<&'m str> {
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

/// The begin of a client's own text, for an error.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
