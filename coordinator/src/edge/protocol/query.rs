//! The query protocol: a form with `Action` and `Version` in, XML out.

use std::{borrow::Cow, fmt::Write};

use http::{HeaderValue, StatusCode};

use super::tree::Tree;
use crate::edge::{
    error::{ApiError, ErrorCode},
    input::{DEPTH_MAX, Node},
};

/// Maximum number of parameters of a request (ours): more than any action of ours takes.
const PARAMETERS_MAX: usize = 10_000;
/// Maximum number of objects, lists and values that a request's names may spell (ours), so that
/// many long names cannot cost more than their bytes. A group with 50 tags of 5 members has 300.
const NODES_MAX: usize = 20_000;

/// The parameters of a request, each given once, in the order of their names' segments.
#[derive(Debug)]
pub(crate) struct Form<'b>(Vec<Parameter<'b>>);

type Parameter<'b> = (Cow<'b, str>, Cow<'b, str>);

impl<'b> Form<'b> {
    pub(crate) fn read(body: &'b [u8]) -> Result<Self, ApiError> {
        // Counted before anything is made of them.
        let count = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).count();
        if count > PARAMETERS_MAX {
            return Err(ApiError::serialization(format!(
                "The request has more than {PARAMETERS_MAX} parameters."
            )));
        }
        let mut parameters: Vec<Parameter<'b>> = form_urlencoded::parse(body).collect();
        // Names that begin alike stand together, whatever characters their segments hold.
        parameters.sort_unstable_by(|(a, _), (b, _)| a.split('.').cmp(b.split('.')));
        if let Some(pair) = parameters.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(ApiError::serialization(format!(
                "The parameter {} is given twice.",
                shortened(&pair[0].0)
            )));
        }
        Ok(Form(parameters))
    }

    pub(crate) fn take(&mut self, name: &str) -> Result<Cow<'b, str>, ApiError> {
        let found = self.0.iter().position(|(given, _)| given == name);
        let missing = || ApiError::invalid_parameter(format!("The parameter {name} is missing."));
        Ok(self.0.remove(found.ok_or_else(missing)?).1)
    }

    /// What the parameters that are left say together: `A.B=1` is an object in an object,
    /// `A.member.1=x` a list.
    pub(crate) fn into_node(mut self) -> Result<Node<'b>, ApiError> {
        let mut nodes = 0;
        let mut before = "";
        for (name, _) in &self.0 {
            let mut depth = 0;
            for segment in name.split('.') {
                if segment.is_empty() || depth == DEPTH_MAX {
                    return Err(malformed(name, "is not a name"));
                }
                depth += 1;
            }
            let shared = name.split('.').zip(before.split('.')).take_while(|(a, b)| a == b);
            nodes += depth - shared.count().min(depth);
            if nodes > NODES_MAX {
                return Err(ApiError::serialization(format!(
                    "The names of the request's parameters spell more than {NODES_MAX} members."
                )));
            }
            before = name;
        }
        object(&mut self.0, 0)
    }
}

/// Groups parameters whose names have a further segment at `start` by that segment.
fn by_segment<'p, 'b>(
    mut parameters: &'p mut [Parameter<'b>],
    start: usize,
) -> Vec<(String, &'p mut [Parameter<'b>])> {
    let mut groups = Vec::new();
    while let Some((first, _)) = parameters.first() {
        let segment = segment(first, start).to_owned();
        let end = parameters.partition_point(|(name, _)| self::segment(name, start) == segment);
        let (group, rest) = std::mem::take(&mut parameters).split_at_mut(end);
        groups.push((segment, group));
        parameters = rest;
    }
    groups
}

/// The segment of a name that begins at `start`.
fn segment(name: &str, start: usize) -> &str {
    let rest = &name[start..];
    rest.split_once('.').map_or(rest, |(segment, _)| segment)
}

fn object<'b>(parameters: &mut [Parameter<'b>], start: usize) -> Result<Node<'b>, ApiError> {
    let members = by_segment(parameters, start).into_iter().map(|(segment, of_it)| {
        let node = member(of_it, start + segment.len())?;
        Ok((Cow::Owned(segment), node))
    });
    Ok(Node::Object(members.collect::<Result<_, ApiError>>()?))
}

/// What parameters say together of the member whose name is the first `end` bytes of theirs.
fn member<'b>(parameters: &mut [Parameter<'b>], end: usize) -> Result<Node<'b>, ApiError> {
    // The shortest name is the first.
    match parameters {
        [(name, value)] if name.len() == end => return Ok(Node::Word(std::mem::take(value))),
        [(name, _), ..] if name.len() == end => {
            return Err(malformed(name, "has a value and members too"));
        }
        _ => {}
    }
    let start = end + 1;
    let is_list = parameters.iter().all(|(name, _)| segment(name, start) == "member");
    if is_list { list(parameters, end) } else { object(parameters, start) }
}

/// Items are numbered from 1, without a gap.
fn list<'b>(parameters: &mut [Parameter<'b>], end: usize) -> Result<Node<'b>, ApiError> {
    let name = parameters.first().map(|(name, _)| name[..end].to_owned()).unwrap_or_default();
    let start = end + ".member".len();
    if parameters.iter().any(|(name, _)| name.len() == start) {
        return Err(malformed(&name, "is a list and its members have no numbers"));
    }
    let mut numbered = by_segment(parameters, start + 1);
    numbered.sort_by_key(|(number, _)| number.parse::<usize>().unwrap_or(usize::MAX));
    let items = numbered.into_iter().zip(1..).map(|((number, of_it), index)| {
        if number != index.to_string() {
            let missing = format!("is a list and its member {index} is missing");
            return Err(malformed(&name, &missing));
        }
        member(of_it, start + 1 + number.len())
    });
    Ok(Node::List(items.collect::<Result<_, ApiError>>()?))
}

fn malformed(name: &str, why: &str) -> ApiError {
    ApiError::serialization(format!("The parameter {} {why}.", shortened(name)))
}

/// The answer to an action. One that says nothing has no result.
pub(crate) fn answer(
    action: &str,
    namespace: &str,
    result: &Tree,
    empty_output: bool,
    request_id: &str,
) -> Vec<u8> {
    let result = match xml(result) {
        nothing if nothing.is_empty() && !empty_output => nothing,
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
    let (status, code) = error_name(error.code);
    let fault = if status.is_server_error() { "Receiver" } else { "Sender" };
    let message = escaped(&error.message);
    let body = format!(
        "<ErrorResponse><Error><Type>{fault}</Type><Code>{code}</Code><Message>{message}</Message>\
         </Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    );
    (status, body.into_bytes())
}

/// Body of a refusal as EC2's own shape of the protocol has it.
pub(crate) fn ec2_refusal(error: &ApiError, request_id: &str) -> Vec<u8> {
    let (_, code) = error_name(error.code);
    let message = escaped(&error.message);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Errors><Error><Code>{code}</Code>\
         <Message>{message}</Message></Error></Errors><RequestID>{request_id}</RequestID></Response>"
    )
    .into_bytes()
}

/// Body of a refusal as S3 has it.
pub(crate) fn s3_refusal(error: &ApiError, request_id: &str) -> Vec<u8> {
    let (_, code) = error_name(error.code);
    let message = escaped(&error.message);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code>\
         <Message>{message}</Message><RequestId>{request_id}</RequestId></Error>"
    )
    .into_bytes()
}

/// `X-Amzn-Query-Error`: the name and whose fault it is.
pub(crate) fn error_header(error: &ApiError) -> HeaderValue {
    let (status, code) = error_name(error.code);
    let fault = if status.is_server_error() { "Receiver" } else { "Sender" };
    let value = HeaderValue::from_str(&format!("{code};{fault}"));
    value.expect("the names of errors are letters")
}

/// What the protocol calls an error.
#[cfg(test)]
pub(crate) fn name(code: ErrorCode) -> &'static str {
    error_name(code).1
}

fn error_name(code: ErrorCode) -> (StatusCode, &'static str) {
    match code {
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
        ErrorCode::Monitoring(fault) => (code.status(), fault.query_name()),
        ErrorCode::AutoScaling(fault) => (code.status(), fault.query_name()),
        _ if code.status() == StatusCode::BAD_REQUEST => {
            (StatusCode::BAD_REQUEST, "ValidationError")
        }
        other => (code.status(), other.wire_name()),
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

    /// The largest forms that a body of 1 MiB can hold, by what they are large in.
    #[test]
    fn form_costs_no_more_than_its_limits_allow() {
        let fill = |parameter: &dyn Fn(usize) -> String| {
            let mut form = String::new();
            for n in 0.. {
                let next = parameter(n);
                if form.len() + next.len() + 1 > 1024 * 1024 {
                    return form;
                }
                form += &next;
                form.push('&');
            }
            unreachable!("the form is full by then")
        };
        let deep = |n: usize| format!("{}{n}=", "a.".repeat(60));
        let deep_from_the_root = |n: usize| format!("a{n}{}=", ".a".repeat(60));
        let list = |n: usize| format!("a.member.{}=", n + 1);
        let flat = |n: usize| format!("a{n}=");
        let long = |n: usize| format!("{}{n}=", "a".repeat(1_000));
        for (name, form, refused) in [
            ("deep", fill(&deep), false),
            ("deep from the root", fill(&deep_from_the_root), true),
            ("list", fill(&list), true),
            ("flat", fill(&flat), true),
            ("long", fill(&long), false),
            ("ampersands", "&".repeat(1024 * 1024), false),
        ] {
            let said = Form::read(form.as_bytes()).and_then(Form::into_node);
            assert_eq!(said.is_err(), refused, "{name}");
            if let Ok(node) = said {
                assert!(nodes_in(&node) <= NODES_MAX + 1, "{name}");
            }
        }
        let most: String = (0..150).map(|n| format!("a{n}{}=&", ".a".repeat(62))).collect();
        assert!(Form::read(most.as_bytes()).unwrap().into_node().is_ok());
    }

    fn nodes_in(node: &Node<'_>) -> usize {
        1 + match node {
            Node::List(items) => items.iter().map(nodes_in).sum(),
            Node::Object(members) => members.iter().map(|(_, member)| nodes_in(member)).sum(),
            _ => 0,
        }
    }

    #[test]
    fn members_stand_together_whatever_sorts_between_them() {
        let form = Form::read(b"A.B=1&A-B=2&A.C.D=3&A%21=4&A.C-D=5").unwrap();
        let node = form.into_node().unwrap();
        expect_test::expect![[r#"Object([("A", Object([("B", Word("1")), ("C", Object([("D", Word("3"))])), ("C-D", Word("5"))])), ("A!", Word("4")), ("A-B", Word("2"))])"#]].assert_eq(&format!("{node:?}"));
    }

    #[test]
    fn texts_in_xml_are_escaped() {
        assert_eq!(xml(&"<&>\"'\r\x01".into()), "&lt;&amp;&gt;&quot;&apos;&#xD;\u{fffd}");
    }
}
