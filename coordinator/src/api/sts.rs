//! STS: who am I. Tools ask it before anything else, so it answers on the same endpoint.

use crate::api::{
    Api,
    error::ApiError,
    protocol::query::{Form, QueryAction, QueryService, Xml},
};

pub(crate) const STS: QueryService = QueryService {
    name: "sts",
    version: "2011-06-15",
    namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
    actions: &[QueryAction { name: "GetCallerIdentity", run: get_caller_identity }],
};

fn get_caller_identity(api: &Api, form: Form<'_>) -> Result<Xml, ApiError> {
    form.done()?;
    Ok(Xml::default()
        .with("Arn", &api.caller.arn)
        .with("UserId", &api.caller.user_id)
        .with("Account", &api.caller.account))
}
