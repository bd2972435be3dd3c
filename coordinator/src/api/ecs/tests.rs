//! ECS's operations through the edge, signed, against a driver over a journal in memory.

pub(in crate::api) mod shape;
mod bad_input;
mod constraints;
mod errors;
mod explain;
mod fargate;
mod flows;
mod gpus;
mod hosts;
mod ill_formed;
mod pages;
mod services;
mod settings;
mod tags;
mod waiting;
mod attachments;

use http::{HeaderValue, Method, Request, header, request::Parts};
use longshore_common::{arn::Identity, clock::SteppedClock, secret::Secret};
use longshore_core::model::capacity_provider::CapacityPolicy;
use serde_json::{Value, json};

use crate::{
    api::{ecs, longshore},
    credentials::Credentials,
    driver::Handle,
    edge::{
        Edge,
        health::{Health, Metrics},
        protocol::X_AMZ_TARGET,
        test_backend::{self, NOW},
    },
};

/// An edge with its state.
struct World {
    edge: Edge,
    driver: Handle,
}

/// An error as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    code: String,
    message: String,
    status: u16,
}

impl World {
    fn new() -> Self {
        Self::with_capacity(CapacityPolicy::default())
    }

    /// A world with settings that say this of capacity.
    fn with_capacity(policy: CapacityPolicy) -> Self {
        let identity = Identity { region: "us-east-1".into(), account: "000000000000".into() };
        let backend = test_backend::with_capacity(identity, policy);
        let driver = backend.driver.clone();
        let health = Health::starting("the test is being set up");
        health.set_ready();
        let clock = SteppedClock::at(NOW);
        let edge = Edge::new(backend, &credentials("secret"), clock, health, Metrics::detached());
        World { edge, driver }
    }

    /// A world with one of each thing that an operation can name: cluster `default`, task
    /// definition `web:1`, one container instance without an agent, a service of each kind (`svc`,
    /// `daemon`, `ext`) that nothing is scheduled for.
    async fn furnished() -> Self {
        let world = World::new();
        world.done("CreateCluster", json!({})).await;
        let container = json!({"name": "app", "image": "nginx", "memory": 64});
        let definition = json!({"family": "web", "containerDefinitions": [container]});
        world.done("RegisterTaskDefinition", definition).await;
        let resources = json!([
            {"name": "CPU", "type": "INTEGER", "integerValue": 2048},
            {"name": "MEMORY", "type": "INTEGER", "integerValue": 4096}]);
        world.done("RegisterContainerInstance", json!({"totalResources": resources})).await;
        let services = [
            json!({"serviceName": "svc", "taskDefinition": "web", "desiredCount": 1}),
            json!({"serviceName": "daemon", "taskDefinition": "web",
                "schedulingStrategy": "DAEMON"}),
            json!({"serviceName": "ext", "desiredCount": 1,
                "deploymentController": {"type": "EXTERNAL"}}),
        ];
        for service in services {
            world.done("CreateService", service).await;
        }
        world
    }

    async fn call(&self, operation: &str, input: Value) -> Result<Value, Refusal> {
        let body = serde_json::to_vec(&input).unwrap();
        self.send(&signed(operation, &body, &credentials("secret")), &body).await
    }

    /// Calls an operation of Longshore's own.
    async fn longshore(&self, operation: &str, input: Value) -> Result<Value, Refusal> {
        let body = serde_json::to_vec(&input).unwrap();
        let target = format!("{}.{operation}", longshore::TARGET);
        self.send(&signed_for(&target, &body, &credentials("secret")), &body).await
    }

    async fn done(&self, operation: &str, input: Value) -> Value {
        self.call(operation, input).await.unwrap()
    }

    async fn send(&self, parts: &Parts, body: &[u8]) -> Result<Value, Refusal> {
        let admitted = match self.edge.admit(parts) {
            Ok(admitted) => admitted,
            Err(error) => return Err(refusal(&error)),
        };
        match self.edge.route(admitted, body, "id").await.answer {
            Ok(body) => Ok(serde_json::from_slice(&body.whole()).unwrap()),
            Err(error) => Err(refusal(&error)),
        }
    }

    /// Calls an operation of another service of AWS.
    async fn of_service(
        &self,
        service: &str,
        target: &str,
        input: Value,
    ) -> Result<Value, Refusal> {
        let body = serde_json::to_vec(&input).unwrap();
        self.send(&signed_as(service, target, &body), &body).await
    }

    fn seq(&self) -> u64 {
        self.driver.peek(|state| state.seq())
    }
}

fn refusal(error: &crate::edge::error::ApiError) -> Refusal {
    Refusal {
        code: error.code.wire_name().to_owned(),
        message: error.message.clone(),
        status: error.status().as_u16(),
    }
}

fn credentials(secret: &str) -> Credentials {
    Credentials {
        access_key_id: "LSIAAAAAAAAAAAAAAAAA".into(),
        secret_access_key: Secret::new(secret.into()),
    }
}

fn signed(operation: &str, body: &[u8], credentials: &Credentials) -> Parts {
    signed_for(&format!("{}.{operation}", ecs::TARGET), body, credentials)
}

/// A signed request for another service of AWS.
fn signed_as(service: &str, target: &str, body: &[u8]) -> Parts {
    signed_by(service, target, body, &credentials("secret"))
}

fn signed_for(target: &str, body: &[u8], credentials: &Credentials) -> Parts {
    signed_by(ecs::SIGNING_NAME, target, body, credentials)
}

fn signed_by(service: &str, target: &str, body: &[u8], credentials: &Credentials) -> Parts {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri("/")
        .header(header::HOST, "127.0.0.1:8420")
        .header(header::CONTENT_TYPE, "application/x-amz-json-1.1")
        .header(X_AMZ_TARGET, HeaderValue::from_str(target).unwrap())
        .body(())
        .unwrap();
    let headers = request.headers_mut();
    crate::signature::sign(headers, body, credentials, "us-east-1", service, NOW).unwrap();
    request.into_parts().0
}
