//! serde's view of a [`Node`], with errors that know where they are and what was expected.
//!
//! serde_path_to_error and serde_ignored would give the path, but not the known members beside an
//! unknown one, and serde_json's errors are text: "missing" and "wrong type", which ECS answers
//! differently, could only be told apart by reading their words.

use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor, value::StrDeserializer,
};
use serde::forward_to_deserialize_any;

use super::node::Node;

/// Why a node is not what a type asks for.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Segments from the inside out.
    pub(crate) path: Vec<Segment>,
    pub(crate) kind: FaultKind,
}

#[derive(Debug)]
pub(crate) enum Segment {
    Member(String),
    Index(usize),
}

#[derive(Debug)]
pub(crate) enum FaultKind {
    WrongType { expected: String, found: &'static str },
    OutOfRange { expected: String, found: String },
    NotOneOf { found: String, allowed: &'static [&'static str] },
    Missing(&'static str),
    Unknown { name: String, known: &'static [&'static str] },
    Other(String),
}

impl Fault {
    fn new(kind: FaultKind) -> Self {
        Fault { path: Vec::new(), kind }
    }

    fn within(mut self, segment: Segment) -> Self {
        self.path.push(segment);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Fault::new(FaultKind::Other(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Fault::new(FaultKind::WrongType {
            expected: in_json_words(&expected.to_string()),
            found: kind(found),
        })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Unsigned(value) => value.to_string(),
            Unexpected::Signed(value) => value.to_string(),
            Unexpected::Float(value) => value.to_string(),
            // A text is not repeated: it may be a secret.
            other => kind(other).to_owned(),
        };
        Fault::new(FaultKind::OutOfRange { expected: in_json_words(&expected.to_string()), found })
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Fault::new(FaultKind::NotOneOf { found: variant.to_owned(), allowed: expected })
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Fault::new(FaultKind::Unknown { name: field.to_owned(), known: expected })
    }

    fn missing_field(field: &'static str) -> Self {
        Fault::new(FaultKind::Missing(field))
    }
}

/// serde names Rust's types; a client knows JSON's.
fn in_json_words(expected: &str) -> String {
    let words = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "i32" => "a whole number from -2147483648 to 2147483647",
        "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a map" => "an object",
        other if other.starts_with("struct ") => "an object",
        other => other,
    };
    words.to_owned()
}

fn kind(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
        Unexpected::Float(_) => "a number with a fraction",
        Unexpected::Char(_) | Unexpected::Str(_) => "a string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "a list",
        Unexpected::Map | Unexpected::NewtypeStruct => "an object",
        Unexpected::Bytes(_)
        | Unexpected::Enum
        | Unexpected::UnitVariant
        | Unexpected::NewtypeVariant
        | Unexpected::TupleVariant
        | Unexpected::StructVariant
        | Unexpected::Other(_) => "something else",
    }
}

impl<'de> Deserializer<'de> for &'de Node<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self {
            Node::Null => visitor.visit_unit(),
            Node::Bool(value) => visitor.visit_bool(*value),
            Node::Number(number) => visit_number(number, visitor),
            Node::String(text) | Node::Word(text) => visitor.visit_borrowed_str(text),
            Node::List(items) => visitor.visit_seq(Items { rest: items.iter(), index: 0 }),
            Node::Object(members) => visitor.visit_map(Members::new(members, None)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self {
            Node::Null => visitor.visit_none(),
            present => visitor.visit_some(present),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self {
            Node::Object(members) => visitor.visit_map(Members::new(members, Some(fields))),
            // A derived struct would also take a list of its fields: that is not AWS's JSON.
            other => Err(Fault::new(FaultKind::WrongType {
                expected: "an object".to_owned(),
                found: other.kind(),
            })),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self {
            Node::String(text) | Node::Word(text) => visitor.visit_enum(Variant(text)),
            other => Err(Fault::new(FaultKind::WrongType {
                expected: format!("a string, one of {}", variants.join(", ")),
                found: other.kind(),
            })),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self {
            Node::Word(word) => match word.as_ref() {
                "true" => visitor.visit_bool(true),
                "false" => visitor.visit_bool(false),
                _ => Err(Fault::new(FaultKind::WrongType {
                    expected: "true or false".to_owned(),
                    found: self.kind(),
                })),
            },
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.number(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.number(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.number(visitor)
    }

    /// A form says that a list is empty by naming it without a value.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self {
            Node::Word(word) if word.is_empty() => {
                visitor.visit_seq(Items { rest: [].iter(), index: 0 })
            }
            other => other.deserialize_any(visitor),
        }
    }

    // Numbers of other widths do not occur in forms.
    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u64 u128 f32 char str string bytes byte_buf unit unit_struct tuple
        tuple_struct map identifier ignored_any
    }
}

impl Node<'_> {
    fn number<'de, V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, Fault> {
        match self {
            Node::Word(word) => match word.parse::<serde_json::Number>() {
                Ok(number) => visit_number(&number, visitor),
                Err(_) => visitor.visit_borrowed_str(word),
            },
            other => other.deserialize_any(visitor),
        }
    }
}

fn visit_number<'de, V: Visitor<'de>>(
    number: &serde_json::Number,
    visitor: V,
) -> Result<V::Value, Fault> {
    if let Some(value) = number.as_u64() {
        visitor.visit_u64(value)
    } else if let Some(value) = number.as_i64() {
        visitor.visit_i64(value)
    } else {
        visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN))
    }
}

struct Items<'de, 'a> {
    rest: std::slice::Iter<'de, Node<'a>>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let Some(item) = self.rest.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(item).map(Some).map_err(|fault| fault.within(Segment::Index(index)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// The members of an object that are there, that is, not null.
struct Members<'de, 'a> {
    rest: std::slice::Iter<'de, (std::borrow::Cow<'a, str>, Node<'a>)>,
    current: Option<(&'de str, &'de Node<'a>)>,
    /// The members that a struct has; a map takes any.
    known: Option<&'static [&'static str]>,
}

impl<'de, 'a> Members<'de, 'a> {
    fn new(
        members: &'de [(std::borrow::Cow<'a, str>, Node<'a>)],
        known: Option<&'static [&'static str]>,
    ) -> Self {
        Members { rest: members.iter(), current: None, known }
    }
}

impl<'de> MapAccess<'de> for Members<'de, '_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        for (name, node) in self.rest.by_ref() {
            if matches!(node, Node::Null) {
                continue;
            }
            if let Some(known) = self.known
                && !known.contains(&name.as_ref())
            {
                if node.says_nothing() {
                    continue;
                }
                return Err(Fault::new(FaultKind::Unknown { name: name.to_string(), known }));
            }
            self.current = Some((name, node));
            let name: StrDeserializer<'_, Fault> = name.as_ref().into_deserializer();
            return seed.deserialize(name).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let (name, node) = self.current.take().expect("serde asks for a value after its key");
        seed.deserialize(node).map_err(|fault| fault.within(Segment::Member(name.to_owned())))
    }
}

/// A text as the name of an enum's variant. Variants with content do not occur in AWS's JSON.
struct Variant<'de>(&'de str);

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Fault;
    type Variant = WithoutContent;

    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, WithoutContent), Fault> {
        let name: StrDeserializer<'_, Fault> = self.0.into_deserializer();
        seed.deserialize(name).map(|variant| (variant, WithoutContent))
    }
}

struct WithoutContent;

impl WithoutContent {
    fn fault() -> Fault {
        de::Error::custom("a value with content cannot be given as a string")
    }
}

impl<'de> VariantAccess<'de> for WithoutContent {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _seed: T) -> Result<T::Value, Fault> {
        Err(Self::fault())
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, Fault> {
        Err(Self::fault())
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Fault> {
        Err(Self::fault())
    }
}
