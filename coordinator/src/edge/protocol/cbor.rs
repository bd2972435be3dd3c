//! Smithy RPC v2 with CBOR: the path names service and operation, the body is one CBOR map.
//!
//! Bodies become the same [`Node`]s as JSON's, within the same limits.

use std::borrow::Cow;

use minicbor::{Decoder, Encoder, data::IanaTag, data::Type, decode};
use serde_json::Number;

use super::tree::Tree;
use crate::edge::{
    error::ApiError,
    input::{DEPTH_MAX, Node, VALUES_MAX},
};

/// What a path names: `/service/<service>/operation/<operation>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rpc<'p> {
    pub(crate) service: &'p str,
    pub(crate) operation: &'p str,
}

impl<'p> Rpc<'p> {
    /// Only of letters, digits and underscores, so that the path is its own canonical form.
    pub(crate) fn of(path: &'p str) -> Option<Self> {
        let (service, operation) = path.strip_prefix("/service/")?.split_once("/operation/")?;
        let is_name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        (is_name(service) && is_name(operation)).then_some(Rpc { service, operation })
    }
}

/// Reads one value that is all of `body`. No body at all is an object without members.
pub(crate) fn read(body: &[u8]) -> Result<Node<'_>, ApiError> {
    if body.is_empty() {
        return Ok(Node::Object(Vec::new()));
    }
    let mut reader = Reader { cbor: Decoder::new(body), values_left: VALUES_MAX };
    let node = reader.node(0).map_err(ApiError::serialization)?;
    if reader.cbor.position() != body.len() {
        return Err(ApiError::serialization("The request body goes on after its CBOR value."));
    }
    Ok(node)
}

/// The bytes of an answer.
pub(crate) fn write(tree: &Tree) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    write_into(&mut encoder, tree).expect("a vector takes any bytes");
    encoder.into_writer()
}

struct Reader<'b> {
    cbor: Decoder<'b>,
    values_left: usize,
}

impl<'b> Reader<'b> {
    /// The error is a sentence.
    fn node(&mut self, depth: usize) -> Result<Node<'b>, String> {
        if depth > DEPTH_MAX {
            return Err(refused(format_args!("it nests deeper than {DEPTH_MAX} levels")));
        }
        self.values_left = self
            .values_left
            .checked_sub(1)
            .ok_or_else(|| refused(format_args!("it holds more than {VALUES_MAX} values")))?;
        match self.cbor.datatype().map_err(broken)? {
            Type::Null => self.cbor.null().map(|()| Node::Null).map_err(broken),
            Type::Undefined => self.cbor.undefined().map(|()| Node::Null).map_err(broken),
            Type::Bool => self.cbor.bool().map(Node::Bool).map_err(broken),
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => {
                self.cbor.u64().map(|value| Node::Number(value.into())).map_err(broken)
            }
            Type::I8 | Type::I16 | Type::I32 | Type::I64 => {
                self.cbor.i64().map(|value| Node::Number(value.into())).map_err(broken)
            }
            Type::F16 => self.cbor.f16().map_err(broken).and_then(|value| number(value.into())),
            Type::F32 => self.cbor.f32().map_err(broken).and_then(|value| number(value.into())),
            Type::F64 => self.cbor.f64().map_err(broken).and_then(number),
            Type::String | Type::StringIndef => self.text().map(Node::String),
            Type::Array | Type::ArrayIndef => self.list(depth),
            Type::Map | Type::MapIndef => self.object(depth),
            other @ (Type::Int
            | Type::Simple
            | Type::Bytes
            | Type::BytesIndef
            | Type::Tag
            | Type::Break
            | Type::Unknown(_)) => {
                Err(refused(format_args!("no member of this API is a CBOR {other}")))
            }
        }
    }

    fn text(&mut self) -> Result<Cow<'b, str>, String> {
        if self.cbor.datatype().map_err(broken)? == Type::String {
            return self.cbor.str().map(Cow::Borrowed).map_err(broken);
        }
        let pieces = self.cbor.str_iter().map_err(broken)?;
        pieces.collect::<Result<String, _>>().map(Cow::Owned).map_err(broken)
    }

    fn list(&mut self, depth: usize) -> Result<Node<'b>, String> {
        let mut left = self.cbor.array().map_err(broken)?;
        // Grows as items come: a length is only a claim.
        let mut items = Vec::new();
        while self.goes_on(&mut left)? {
            items.push(self.node(depth + 1)?);
        }
        Ok(Node::List(items))
    }

    fn object(&mut self, depth: usize) -> Result<Node<'b>, String> {
        let mut left = self.cbor.map().map_err(broken)?;
        let mut members = Vec::new();
        while self.goes_on(&mut left)? {
            let name = self.text()?;
            members.push((name, self.node(depth + 1)?));
        }
        Node::object(members).map_err(refused)
    }

    /// Whether there is one more item; without a count, a break ends them.
    fn goes_on(&mut self, left: &mut Option<u64>) -> Result<bool, String> {
        match left {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if self.cbor.datatype().map_err(broken)? == Type::Break => {
                self.cbor.set_position(self.cbor.position() + 1);
                Ok(false)
            }
            None => Ok(true),
        }
    }
}

fn number<'b>(value: f64) -> Result<Node<'b>, String> {
    let number = Number::from_f64(value).map(Node::Number);
    number.ok_or_else(|| refused("a number is not finite"))
}

fn broken(error: decode::Error) -> String {
    format!("The request body is not valid CBOR: {error}.")
}

fn refused(why: impl std::fmt::Display) -> String {
    format!("The request body is refused: {why}.")
}

type Written = Result<(), minicbor::encode::Error<core::convert::Infallible>>;

fn write_into(encoder: &mut Encoder<Vec<u8>>, tree: &Tree) -> Written {
    match tree {
        Tree::Bool(value) => encoder.bool(*value)?,
        Tree::Whole(value) => encoder.u64(*value)?,
        Tree::Number(value) => encoder.f64(*value)?,
        Tree::Text(text) => encoder.str(text)?,
        Tree::Moment(moment) => encoder.tag(IanaTag::Timestamp)?.f64(moment.as_epoch_seconds())?,
        Tree::List(items) => {
            encoder.array(items.len() as u64)?;
            return items.iter().try_for_each(|item| write_into(encoder, item));
        }
        Tree::Object(members) => {
            encoder.map(members.len() as u64)?;
            return members.iter().try_for_each(|(name, value)| {
                encoder.str(name)?;
                write_into(encoder, value)
            });
        }
        Tree::Map(pairs) => {
            encoder.map(pairs.len() as u64)?;
            return pairs.iter().try_for_each(|(name, value)| {
                encoder.str(name)?;
                write_into(encoder, value)
            });
        }
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(body: &[u8]) -> String {
        match read(body) {
            Ok(node) => format!("{node:?}"),
            Err(refusal) => refusal.message,
        }
    }

    #[test]
    fn a_path_names_a_service_and_an_operation() {
        let rpc = Rpc { service: "Granite_1", operation: "PutIt" };
        assert_eq!(Rpc::of("/service/Granite_1/operation/PutIt"), Some(rpc));
        for path in [
            "/",
            "/service//operation/A",
            "/service/A/operation/",
            "/service/A/operation/B/",
            "/service/A/operation/%42",
            "/service/A/operations/B",
            "/x/service/A/operation/B",
        ] {
            assert_eq!(Rpc::of(path), None, "{path}");
        }
    }

    #[test]
    fn values_are_read_with_and_without_counts() {
        let counted = b"\xa2\x61a\x83\x01\x20\xf9\x38\x00\x61b\xf6";
        let uncounted = b"\xbf\x61a\x9f\x01\x20\xfa\x3f\x00\x00\x00\xff\x7f\x61b\xff\xf7\xff";
        assert_eq!(said(counted), said(uncounted));
        assert_eq!(said(b""), "Object([])");
    }

    #[test]
    fn what_is_not_one_value_within_limits_is_refused_with_a_sentence() {
        for (body, expected) in [
            (&b"\xa1\x61a"[..], "not valid CBOR"),
            (b"\xa0\xa0", "goes on"),
            (b"\xa1\x01\x02", "not valid CBOR"),
            (b"\xa2\x61a\x01\x61a\x02", "`a` is given twice"),
            (b"\xa1\x61a\xc1\x00", "tag"),
            (b"\xa1\x61a\x41\x00", "bytes"),
            (b"\xa1\x61a\xf9\x7e\x00", "not finite"),
            (b"\xa1\x61a\x61\xff", "not valid CBOR"),
            (b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", "not valid CBOR"),
            (b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff", "no member"),
            (b"\xff", "break"),
        ] {
            let said = said(body);
            assert!(said.contains(expected), "{body:x?}: {said}");
        }
        assert!(said(&[0x81; 100_000]).contains("64 levels"));
        assert!(said(&[&[0x9a, 0, 2, 0, 0][..], &[0; 0x20000]].concat()).contains("100000 values"));
    }
}
