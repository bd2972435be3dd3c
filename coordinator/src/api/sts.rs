//! STS: who am I. Tools ask it before anything else, so it answers on the same endpoint.

use serde::Deserialize;

use crate::edge::{
    context::Api,
    error::{ApiError, ErrorCode},
    operation::{Operation, tree},
    protocol::tree::Tree,
    service::{QueryModel, Service, ServiceModel},
};

pub(crate) fn service() -> Service {
    let query = QueryModel {
        version: "2011-06-15",
        namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
    };
    let model = ServiceModel {
        name: "sts",
        target: None,
        query: Some(query),
        invalid: ErrorCode::InvalidParameter,
        known: None,
    };
    Service::new(model, operations())
}

fn operations() -> Vec<Operation> {
    vec![Operation::read("GetCallerIdentity", tree(get_caller_identity))]
}

#[derive(Deserialize)]
struct GetCallerIdentityInput {}

async fn get_caller_identity(api: &Api, _: GetCallerIdentityInput) -> Result<Tree, ApiError> {
    Ok(Tree::object()
        .with("Arn", api.caller.arn.as_str())
        .with("UserId", api.caller.user_id.as_str())
        .with("Account", api.caller.account.as_str()))
}
