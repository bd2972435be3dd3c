//! The table of operations: a name and the function that does it.
//!
//! Owns what is common to all handlers: reading the input, writing the output. Knows no resource.

use std::{future::Future, pin::Pin};

use serde::{Serialize, de::DeserializeOwned};

use crate::edge::{
    context::Api,
    error::{ApiError, ErrorCode},
    input,
};

/// A handler's answer as JSON, or its refusal.
pub(crate) type Answer = Result<Vec<u8>, ApiError>;
type Run = dyn for<'a> Fn(&'a Api, &'a [u8], ErrorCode) -> Answering<'a> + Send + Sync;
type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// One operation of one API. Each resource's module lists its own in `pub(crate) fn operations() ->
/// Vec<Operation>`, which the router puts together.
pub(crate) struct Operation {
    name: &'static str,
    invalid: ErrorCode,
    run: Box<Run>,
}

impl Operation {
    /// An operation done by `handler`, an `async fn(&Api, Input) -> Result<impl Serialize,
    /// ApiError>`. Missing or ill-valued members answer InvalidParameterException.
    pub(crate) fn new<Input, H>(name: &'static str, handler: H) -> Self
    where
        Input: DeserializeOwned + Send + 'static,
        H: for<'a> Handler<'a, Input, Output: Serialize> + Copy + Send + Sync + 'static,
    {
        Operation {
            name,
            invalid: ErrorCode::InvalidParameter,
            run: Box::new(move |api, body, invalid| {
                Box::pin(async move {
                    let (input, api) = {
                        let node = input::read(body)?;
                        let input = input::typed::<Input>(&node, invalid)?;
                        (input, &api.paged(name, &[], &node))
                    };
                    let output = handler.call(api, input).await?;
                    serde_json::to_vec(&output).map_err(|error| {
                        ApiError::server(format!("the answer could not be written: {error}"))
                    })
                })
            }),
        }
    }

    /// The same, with ill-valued members answered as ClientException: ECS's task definitions.
    pub(crate) fn invalid_is_client_error(self) -> Self {
        Operation { invalid: ErrorCode::Client, ..self }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) async fn run(&self, api: &Api, body: &[u8]) -> Answer {
        (self.run)(api, body, self.invalid).await
    }
}

/// An `async fn(&Api, Input) -> Result<Output, ApiError>`. Implemented for every such function;
/// it exists because the future's type depends on the borrow.
pub(crate) trait Handler<'a, Input> {
    type Output: Send;
    type Future: Future<Output = Result<Self::Output, ApiError>> + Send + 'a;

    fn call(&self, api: &'a Api, input: Input) -> Self::Future;
}

impl<'a, Input, F, Fut, Output> Handler<'a, Input> for F
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

    #[tokio::test]
    async fn a_handler_gets_its_input_and_its_answer_is_json() {
        let operation = Operation::new("Greet", greet);
        let answer = operation.run(&api(), br#"{"name":"you"}"#).await.unwrap();
        assert_eq!(answer, br#"{"text":"arn:aws:iam::000000000000:root greets you"}"#);
    }

    #[tokio::test]
    async fn the_operation_says_which_error_an_ill_valued_member_is() {
        let operation = Operation::new("Greet", greet);
        let refused = operation.run(&api(), b"{}").await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidParameter);
        let operation = operation.invalid_is_client_error();
        let refused = operation.run(&api(), b"{}").await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Client);
    }
}
