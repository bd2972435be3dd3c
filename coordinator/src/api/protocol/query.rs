//! The query protocol: a form with `Action` and `Version` in, XML out.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write};

use http::StatusCode;

use crate::api::{
    Api,
    error::{ApiError, ErrorCode},
};

/// More parameters than any action of ours takes; bounds the work for a caller that is known.
const PARAMETERS_MAX: usize = 10_000;

/// One service of the query protocol.
pub(crate) struct QueryService {
    /// The service of the signature's scope.
    pub(crate) name: &'static str,
    /// The `Version` that its requests carry.
    pub(crate) version: &'static str,
    /// The XML namespace of its answers.
    pub(crate) namespace: &'static str,
    pub(crate) actions: &'static [QueryAction],
}

pub(crate) struct QueryAction {
    pub(crate) name: &'static str,
    /// The content of `<Name>Result`.
    pub(crate) run: fn(&Api, Form<'_>) -> Result<Xml, ApiError>,
}

impl QueryService {
    /// Does what a form asks for. Returns the action's name, if there is one, and its answer.
    pub(crate) fn answer(
        &self,
        api: &Api,
        body: &[u8],
        request_id: &str,
    ) -> (Option<&'static str>, Result<Vec<u8>, ApiError>) {
        let (action, form) = match self.action(body) {
            Ok(asked) => asked,
            Err(refusal) => return (None, Err(refusal)),
        };
        let answer = (action.run)(api, form).map(|result| {
            let (name, namespace, result) = (action.name, self.namespace, result.0);
            format!(
                "<{name}Response xmlns=\"{namespace}\"><{name}Result>{result}</{name}Result>\
                 <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>\
                 </{name}Response>"
            )
            .into_bytes()
        });
        (Some(action.name), answer)
    }

    fn action<'b>(&self, body: &'b [u8]) -> Result<(&QueryAction, Form<'b>), ApiError> {
        let mut form = Form::read(body)?;
        let action = form.take("Action")?;
        let version = form.take("Version")?;
        let known = self.actions.iter().find(|known| known.name == action);
        match known {
            Some(known) if version == self.version => Ok((known, form)),
            _ => Err(ApiError::new(
                ErrorCode::UnknownOperation,
                format!(
                    "Could not find operation {} for version {} of {}. Built: {}.",
                    shortened(&action),
                    shortened(&version),
                    self.name,
                    self.actions.iter().map(|known| known.name).collect::<Vec<_>>().join(", "),
                ),
            )),
        }
    }
}

/// The parameters of a request, each given once. An action takes out what it knows and then says
/// that it is [done](Form::done), so that nothing is silently ignored.
#[derive(Debug)]
pub(crate) struct Form<'b>(BTreeMap<Cow<'b, str>, Cow<'b, str>>);

impl<'b> Form<'b> {
    fn read(body: &'b [u8]) -> Result<Self, ApiError> {
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

    /// Refuses what nobody took out, unless it says nothing.
    pub(crate) fn done(self) -> Result<(), ApiError> {
        match self.0.iter().find(|(_, value)| !value.is_empty()) {
            Some((name, _)) => Err(ApiError::invalid_parameter(format!(
                "The parameter {} is not known to this action.",
                shortened(name)
            ))),
            None => Ok(()),
        }
    }
}

/// XML whose texts are escaped.
#[derive(Debug, Default)]
pub(crate) struct Xml(String);

impl Xml {
    /// Adds `<name>text</name>`.
    pub(crate) fn with(mut self, name: &str, text: &str) -> Self {
        let _ = write!(self.0, "<{name}>{}</{name}>", escaped(text));
        self
    }
}

/// Status and body of a refusal, by the names that the query protocol has for them.
pub(super) fn refusal(error: &ApiError, request_id: &str) -> (StatusCode, Vec<u8>) {
    let (status, code) = match error.code {
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
        _ if error.status() == StatusCode::BAD_REQUEST => {
            (StatusCode::BAD_REQUEST, "ValidationError")
        }
        other => (error.status(), other.wire_name()),
    };
    let fault = if status.is_server_error() { "Receiver" } else { "Sender" };
    let message = escaped(&error.message);
    let body = format!(
        "<ErrorResponse><Error><Type>{fault}</Type><Code>{code}</Code><Message>{message}</Message>\
         </Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    );
    (status, body.into_bytes())
}

fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['<', '>', '&', '"', '\'']) {
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
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

fn shortened(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_given_once() {
        let mut form = Form::read(b"Action=Get%2BIt&Name=a+b&Empty=").unwrap();
        assert_eq!(form.take("Action").unwrap(), "Get+It");
        assert_eq!(form.take("Name").unwrap(), "a b");
        assert!(form.take("Absent").is_err());
        assert!(form.done().is_ok(), "an empty parameter says nothing");
        assert!(Form::read(b"A=1&%41=2").is_err());
        assert!(Form::read(b"A=1").unwrap().done().is_err());
    }

    #[test]
    fn texts_in_xml_are_escaped() {
        assert_eq!(Xml::default().with("A", "<&>\"'").0, "<A>&lt;&amp;&gt;&quot;&apos;</A>");
    }
}
