//! Auto Scaling, as far as capacity providers need it.

pub(crate) mod groups;

use crate::edge::{
    error::{AutoScalingFault, ErrorCode},
    operation::{Operation, tree},
    service::{QueryModel, Service, ServiceModel},
};

pub(crate) const SIGNING_NAME: &str = "autoscaling";

pub(crate) fn service() -> Service {
    let query = QueryModel {
        version: "2011-01-01",
        namespace: "http://autoscaling.amazonaws.com/doc/2011-01-01/",
    };
    let model = ServiceModel {
        name: SIGNING_NAME,
        target: None,
        query: Some(query),
        invalid: ErrorCode::AutoScaling(AutoScalingFault::Validation),
        known: None,
    };
    Service::new(model, operations())
}

fn operations() -> Vec<Operation> {
    vec![
        Operation::write("CreateAutoScalingGroup", tree(groups::create)),
        Operation::write("UpdateAutoScalingGroup", tree(groups::update)),
        Operation::write("DeleteAutoScalingGroup", tree(groups::delete)),
        Operation::read("DescribeAutoScalingGroups", tree(groups::describe)),
        Operation::write("SetDesiredCapacity", tree(groups::set_desired)),
        Operation::write("SetInstanceProtection", tree(groups::protect)).with_empty_output(),
        Operation::read("DescribeAutoScalingInstances", tree(groups::describe_instances)),
        Operation::write("TerminateInstanceInAutoScalingGroup", tree(groups::terminate)),
        Operation::read("DescribeScalingActivities", tree(groups::describe_activities)),
        Operation::write("CreateOrUpdateTags", tree(groups::put_tags)),
        Operation::write("DeleteTags", tree(groups::delete_tags)),
        Operation::read("DescribeTags", tree(groups::describe_tags)),
    ]
}
