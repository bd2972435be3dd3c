//! The query protocol: a form with `Action` and `Version` in, XML out.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write};

use http::{HeaderValue, StatusCode};

use super::tree::Tree;
use crate::api::{
    error::{ApiError, ErrorCode},
    input::{DEPTH_MAX, Node},
};

/// More parameters than any action of ours takes; bounds the work for a caller that is known.
const PARAMETERS_MAX: usize = 10_000;

/// The parameters of a request, each given once.
#[derive(Debug)]
pub(crate) struct Form<'b>(BTreeMap<Cow<'b, str>, Cow<'b, str>>);

impl<'b> Form<'b> {
    pub(crate) fn read(body: &'b [u8]) -> Result<Self, ApiError> {
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            if parameters.len() == PARAMETERS_MAX {
                return Err(ApiError::serialization(format!(
                    "The request has more than {PARAMETERS_MAX} parameters."
                )));
            }
            if let Some(_twice) = parameters.insert(name.clone(), value) {
                return Err(ApiError::serialization(format!(
                    "The parameter {} is given twice.",
                    shortened(&name)
                )));
            }
        }
        Ok(Form(parameters))
    }

    pub(crate) fn take(&mut self, name: &str) -> Result<Cow<'b, str>, ApiError> {
        self.0
            .remove(name)
            .ok_or_else(|| ApiError::invalid_parameter(format!("The parameter {name} is missing.")))
    }

    /// What the parameters that are left say together: `A.B=1` is an object in an object,
    /// `A.member.1=x` a list.
    pub(crate) fn into_node(self) -> Result<Node<'b>, ApiError> {
        let mut root = Branch::default();
        for (name, value) in self.0 {
            root.insert(&name, value)?;
        }
        root.into_node("")
    }
}

/// Parameters whose names begin alike.
#[derive(Default)]
struct Branch<'b> {
    value: Option<Cow<'b, str>>,
    below: BTreeMap<String, Branch<'b>>,
}

impl<'b> Branch<'b> {
    fn insert(&mut self, name: &str, value: Cow<'b, str>) -> Result<(), ApiError> {
        let mut at = self;
        for (depth, segment) in name.split('.').enumerate() {
            if segment.is_empty() || depth == DEPTH_MAX {
                return Err(malformed(name, "is not a name"));
            }
            at = at.below.entry(segment.to_owned()).or_default();
        }
        at.value = Some(value);
        Ok(())
    }

    fn into_node(self, name: &str) -> Result<Node<'b>, ApiError> {
        let Branch { value, mut below } = self;
        match value {
            Some(word) if below.is_empty() => return Ok(Node::Word(word)),
            Some(_) => return Err(malformed(name, "has a value and members too")),
            None => {}
        }
        if below.len() == 1
            && let Some(items) = below.remove("member")
        {
            return items.into_list(name);
        }
        let inside = |member: &str| match name {
            "" => member.to_owned(),
            name => format!("{name}.{member}"),
        };
        let members = below.into_iter().map(|(member, branch)| {
            let node = branch.into_node(&inside(&member))?;
            Ok((Cow::Owned(member), node))
        });
        Ok(Node::Object(members.collect::<Result<_, ApiError>>()?))
    }

    /// Its parts are numbered from 1, without a gap.
    fn into_list(mut self, name: &str) -> Result<Node<'b>, ApiError> {
        if self.value.is_some() {
            return Err(malformed(name, "is a list and its members have no numbers"));
        }
        let mut items = Vec::with_capacity(self.below.len());
        for index in 1..=self.below.len() {
            let item = self.below.remove(&index.to_string());
            let item = item.ok_or_else(|| {
                malformed(name, &format!("is a list and its member {index} is missing"))
            })?;
            items.push(item.into_node(&format!("{name}.member.{index}"))?);
        }
        Ok(Node::List(items))
    }
}

fn malformed(name: &str, why: &str) -> ApiError {
    ApiError::serialization(format!("The parameter {} {why}.", shortened(name)))
}

/// The answer to an action. One that says nothing has no result.
pub(crate) fn answer(action: &str, namespace: &str, result: &Tree, request_id: &str) -> Vec<u8> {
    let result = match xml(result) {
        nothing if nothing.is_empty() => nothing,
        result => format!("<{action}Result>{result}</{action}Result>"),
    };
    format!(
        "<{action}Response xmlns=\"{namespace}\">{result}\
         <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>\
         </{action}Response>"
    )
    .into_bytes()
}

/// The content of an element.
pub(super) fn xml(tree: &Tree) -> String {
    let mut xml = String::new();
    write_xml(&mut xml, tree);
    xml
}

fn write_xml(xml: &mut String, tree: &Tree) {
    // Writing to a string cannot fail.
    let _ = match tree {
        Tree::Bool(value) => write!(xml, "{value}"),
        Tree::Whole(value) => write!(xml, "{value}"),
        Tree::Number(value) => write!(xml, "{value}"),
        Tree::Text(text) => write!(xml, "{}", escaped(text)),
        Tree::Moment(moment) => {
            let moment = jiff::Timestamp::from_millisecond(moment.0 as i64).unwrap_or_default();
            write!(xml, "{}", moment.strftime("%Y-%m-%dT%H:%M:%S.%3fZ"))
        }
        Tree::List(items) => {
            items.iter().for_each(|item| element(xml, "member", item));
            Ok(())
        }
        Tree::Object(members) => {
            members.iter().for_each(|(name, value)| element(xml, name, value));
            Ok(())
        }
        // The query protocol's map: entries of a key and a value.
        Tree::Map(pairs) => {
            for (key, value) in pairs {
                let entry = Tree::object().with("key", key).with("value", value.clone());
                element(xml, "entry", &entry);
            }
            Ok(())
        }
    };
}

fn element(xml: &mut String, name: &str, content: &Tree) {
    let content = self::xml(content);
    let _ = match content.is_empty() {
        true => write!(xml, "<{name}/>"),
        false => write!(xml, "<{name}>{content}</{name}>"),
    };
}

/// Status and body of a refusal, by the names that the query protocol has for them.
pub(super) fn refusal(error: &ApiError, request_id: &str) -> (StatusCode, Vec<u8>) {
    let (status, code) = error_name(error);
    let fault = if status.is_server_error() { "Receiver" } else { "Sender" };
    let message = escaped(&error.message);
    let body = format!(
        "<ErrorResponse><Error><Type>{fault}</Type><Code>{code}</Code><Message>{message}</Message>\
         </Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    );
    (status, body.into_bytes())
}

/// `X-Amzn-Query-Error`: the name and whose fault it is.
pub(crate) fn error_header(error: &ApiError) -> HeaderValue {
    let (status, code) = error_name(error);
    let fault = if status.is_server_error() { "Receiver" } else { "Sender" };
    let value = HeaderValue::from_str(&format!("{code};{fault}"));
    value.expect("the names of errors are letters")
}

fn error_name(error: &ApiError) -> (StatusCode, &'static str) {
    match error.code {
        ErrorCode::MissingAuthenticationToken => {
            (StatusCode::FORBIDDEN, "MissingAuthenticationToken")
        }
        ErrorCode::IncompleteSignature => (StatusCode::BAD_REQUEST, "IncompleteSignature"),
        ErrorCode::UnrecognizedClient => (StatusCode::FORBIDDEN, "InvalidClientTokenId"),
        ErrorCode::InvalidSignature => (StatusCode::FORBIDDEN, "SignatureDoesNotMatch"),
        ErrorCode::AccessDenied => (StatusCode::FORBIDDEN, "AccessDenied"),
        ErrorCode::UnknownOperation => (StatusCode::BAD_REQUEST, "InvalidAction"),
        ErrorCode::Throttling => (StatusCode::BAD_REQUEST, "Throttling"),
        ErrorCode::Server => (StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure"),
        ErrorCode::ServiceUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
        ErrorCode::Serialization => (StatusCode::BAD_REQUEST, "MalformedQueryString"),
        ErrorCode::Monitoring(fault) => (error.status(), fault.query_name()),
        ErrorCode::AutoScaling(fault) => (error.status(), fault.query_name()),
        _ if error.status() == StatusCode::BAD_REQUEST => {
            (StatusCode::BAD_REQUEST, "ValidationError")
        }
        other => (error.status(), other.wire_name()),
    }
}

fn escaped(text: &str) -> Cow<'_, str> {
    let is_special = |c: char| matches!(c, '<' | '>' | '&' | '"' | '\'') || is_no_xml(c);
    if !text.contains(is_special) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            // Or parsers change it to a line feed.
            '\r' => escaped.push_str("&#xD;"),
            // XML 1.0 cannot say these at all.
            other if is_no_xml(other) => escaped.push(char::REPLACEMENT_CHARACTER),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

fn is_no_xml(character: char) -> bool {
    matches!(character, '\0'..='\x08' | '\x0b'..='\x1f' | '\u{fffe}' | '\u{ffff}')
}

fn shortened(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_given_once() {
        let mut form = Form::read(b"Action=Get%2BIt&Name=a+b").unwrap();
        assert_eq!(form.take("Action").unwrap(), "Get+It");
        assert_eq!(form.take("Name").unwrap(), "a b");
        assert!(form.take("Absent").is_err());
        assert!(Form::read(b"A=1&%41=2").is_err());
    }

    #[test]
    fn names_with_dots_are_objects_and_lists() {
        let said = |form: &str| match Form::read(form.as_bytes()).unwrap().into_node() {
            Ok(node) => format!("{node:?}"),
            Err(refusal) => refusal.message,
        };
        expect_test::expect![[r#"Object([("L", List([Object([("K", Word("x"))]), Object([("K", Word("y"))])])), ("O", Object([("P", Word("1"))]))])"#]]
            .assert_eq(&said("O.P=1&L.member.2.K=y&L.member.1.K=x"));
        for (form, expected) in [
            ("A.member.1=x&A.member.3=y", "member 2 is missing"),
            ("A.member.01=x", "member 1 is missing"),
            ("A.member=x", "have no numbers"),
            ("A=x&A.B=y", "a value and members too"),
            ("A..B=y", "is not a name"),
            (&format!("A{}=y", ".A".repeat(100)), "is not a name"),
        ] {
            let said = said(form);
            assert!(said.contains(expected), "{form}: {said}");
        }
        let eleven = (1..=11).map(|index| format!("A.member.{index}={index}&")).collect::<String>();
        assert!(said(&eleven).ends_with(r#"Word("10"), Word("11")]))])"#), "{}", said(&eleven));
    }

    #[test]
    fn texts_in_xml_are_escaped() {
        assert_eq!(xml(&"<&>\"'\r\x01".into()), "&lt;&amp;&gt;&quot;&apos;&#xD;\u{fffd}");
    }
}
