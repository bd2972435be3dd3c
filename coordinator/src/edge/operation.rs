//! One operation of any service: its name, the function that does it, and whether it changes anything.
//!
//! Owns how a handler is reached from an input that was read, and how its output is told. Knows no
//! protocol: which one the client speaks, a handler never learns.

use std::{future::Future, pin::Pin};

use serde::{Serialize, de::DeserializeOwned};

use crate::edge::{
    context::Api,
    error::{ApiError, ErrorCode},
    event_stream::EventStream,
    input::{self, Node},
    page::PageScope,
    protocol::tree::Tree,
};

/// An operation as a service's table lists it.
pub(crate) struct Operation {
    name: &'static str,
    effect: Effect,
    /// The error of a missing or ill-valued member; absent: the service's.
    invalid: Option<ErrorCode>,
    /// Members that two pages of one list may have otherwise.
    unbound: &'static [&'static str],
    /// AWS's model has an output without members.
    empty_output: bool,
    handler: Handler,
}

/// Whether an operation may change the state. One that reads may answer in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Reads,
    Writes,
}

/// What a handler answered.
pub(crate) enum Output {
    /// Written already, for a service that speaks JSON only.
    Json(Vec<u8>),
    /// An answer yet to be written in the protocol of the request.
    Tree(Tree),
    Events(EventStream),
}

/// A function that does an operation, with the reader of its input.
pub(crate) struct Handler(Box<Run>);

type Run = dyn Fn(Api, &Node<'_>, ErrorCode) -> Running + Send + Sync;
type Running = Pin<Box<dyn Future<Output = Result<Output, ApiError>> + Send>>;

impl Operation {
    /// One that changes nothing.
    pub(crate) fn read(name: &'static str, handler: Handler) -> Self {
        Self::new(name, Effect::Reads, handler)
    }

    pub(crate) fn write(name: &'static str, handler: Handler) -> Self {
        Self::new(name, Effect::Writes, handler)
    }

    fn new(name: &'static str, effect: Effect, handler: Handler) -> Self {
        Operation { name, effect, invalid: None, unbound: &[], empty_output: false, handler }
    }

    /// A missing or ill-valued member answers `invalid`, unlike in the service's other operations.
    pub(crate) fn with_invalid(self, invalid: ErrorCode) -> Self {
        Operation { invalid: Some(invalid), ..self }
    }

    /// Clients of the query protocol look for the element of an output without members.
    pub(crate) fn with_empty_output(self) -> Self {
        Operation { empty_output: true, ..self }
    }

    /// Keeps a page token valid when these members change.
    pub(crate) fn with_pages_for_any(self, unbound: &'static [&'static str]) -> Self {
        Operation { unbound, ..self }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn has_empty_output(&self) -> bool {
        self.empty_output
    }

    /// Reads the input and does the operation; `invalid` is the service's error for bad members.
    pub(crate) async fn run(
        &self,
        api: &Api,
        node: Node<'_>,
        invalid: ErrorCode,
    ) -> Result<Output, ApiError> {
        let page_scope = match self.effect {
            Effect::Reads => PageScope::of(api.ca, self.name, self.unbound, &node),
            Effect::Writes => PageScope::none(),
        };
        let api = Api { page_scope, ..api.clone() };
        let running = (self.handler.0)(api, &node, self.invalid.unwrap_or(invalid));
        // The input is read: while the operation runs, its text is not kept.
        drop(node);
        running.await
    }
}

/// A handler of a service that speaks JSON only.
pub(crate) fn json<Input, H>(handler: H) -> Handler
where
    Input: DeserializeOwned + Send + 'static,
    H: for<'a> Handles<'a, Input, Output: Serialize> + Copy + Send + Sync + 'static,
{
    Handler(Box::new(move |api, node, invalid| {
        let input = input::typed::<Input>(node, invalid);
        Box::pin(async move {
            let output = handler.call(&api, input?).await?;
            serde_json::to_vec(&output).map(Output::Json).map_err(|error| {
                ApiError::server(format!("the answer could not be written: {error}"))
            })
        })
    }))
}

/// A handler whose output is written in each protocol.
pub(crate) fn tree<Input, H>(handler: H) -> Handler
where
    Input: DeserializeOwned + Send + 'static,
    H: for<'a> Handles<'a, Input, Output = Tree> + Copy + Send + Sync + 'static,
{
    telling(handler, Output::Tree)
}

/// A handler whose answer is a stream of events.
pub(crate) fn stream<Input, H>(handler: H) -> Handler
where
    Input: DeserializeOwned + Send + 'static,
    H: for<'a> Handles<'a, Input, Output = EventStream> + Copy + Send + Sync + 'static,
{
    telling(handler, Output::Events)
}

fn telling<Input, H, T>(handler: H, told: fn(T) -> Output) -> Handler
where
    Input: DeserializeOwned + Send + 'static,
    H: for<'a> Handles<'a, Input, Output = T> + Copy + Send + Sync + 'static,
    T: 'static,
{
    Handler(Box::new(move |api, node, invalid| {
        let input = input::typed::<Input>(node, invalid);
        Box::pin(async move { handler.call(&api, input?).await.map(told) })
    }))
}

/// An `async fn(&Api, Input) -> Result<Output, ApiError>`. Implemented for every such function;
/// the trait exists because the future's type depends on the borrow.
pub(crate) trait Handles<'a, Input> {
    type Output: Send;
    type Future: Future<Output = Result<Self::Output, ApiError>> + Send + 'a;

    fn call(&self, api: &'a Api, input: Input) -> Self::Future;
}

impl<'a, Input, F, Fut, Output> Handles<'a, Input> for F
where
    F: Fn(&'a Api, Input) -> Fut,
    Fut: Future<Output = Result<Output, ApiError>> + Send + 'a,
    Output: Send,
{
    type Output = Output;
    type Future = Fut;

    fn call(&self, api: &'a Api, input: Input) -> Fut {
        self(api, input)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::edge::test_backend::api;

    #[derive(Deserialize)]
    struct Greet {
        name: String,
    }

    #[derive(Serialize)]
    struct Greeting {
        text: String,
    }

    async fn greet(api: &Api, input: Greet) -> Result<impl Serialize + use<>, ApiError> {
        if input.name == "nobody" {
            return Err(ApiError::invalid_parameter("say a name"));
        }
        Ok(Greeting { text: format!("{} greets {}", api.caller.arn, input.name) })
    }

    async fn scope(api: &Api, _: Greet) -> Result<Tree, ApiError> {
        Ok(Tree::object().with("Token", api.page_scope.token("a")))
    }

    async fn run(operation: &Operation, body: &[u8]) -> Result<Output, ApiError> {
        let node = input::read(body).unwrap();
        operation.run(&api(), node, ErrorCode::InvalidParameter).await
    }

    #[tokio::test]
    async fn handler_takes_its_input_and_answers_json() {
        let operation = Operation::read("Greet", json(greet));
        let Ok(Output::Json(answer)) = run(&operation, br#"{"name":"you"}"#).await else {
            panic!("no JSON");
        };
        assert_eq!(answer, br#"{"text":"arn:aws:iam::000000000000:root greets you"}"#);
    }

    #[tokio::test]
    async fn operation_says_which_error_an_ill_valued_member_is() {
        let refusal = async |operation: Operation| run(&operation, b"{}").await.err().unwrap().code;
        let greeting = || Operation::write("Greet", json(greet));
        assert_eq!(refusal(greeting()).await, ErrorCode::InvalidParameter);
        let greeting = greeting().with_invalid(ErrorCode::Client);
        assert_eq!(refusal(greeting).await, ErrorCode::Client);
    }

    #[tokio::test]
    async fn only_reads_have_pages_of_their_own() {
        let token = async |operation: Operation, body: &[u8]| match run(&operation, body).await {
            Ok(Output::Tree(tree)) => serde_json::to_string(&tree).unwrap(),
            _ => panic!("no tree"),
        };
        let of_none = PageScope::none().token("a");
        let written = token(Operation::write("Scope", tree(scope)), br#"{"name":"x"}"#).await;
        assert_eq!(written, format!(r#"{{"Token":"{of_none}"}}"#));
        let read = token(Operation::read("Scope", tree(scope)), br#"{"name":"x"}"#).await;
        assert!(!read.contains(&of_none), "{read}");
    }
}
