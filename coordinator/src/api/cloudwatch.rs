//! CloudWatch, as far as alarms go.

pub(crate) mod alarms;

use crate::edge::{
    error::{ErrorCode, MonitoringFault},
    operation::{Operation, tree},
    service::{QueryModel, Service, ServiceModel},
};

/// What stands before the names of CloudWatch's operations.
pub(crate) const TARGET: &str = "GraniteServiceVersion20100801";
pub(crate) const SIGNING_NAME: &str = "monitoring";

pub(crate) fn service() -> Service {
    let query = QueryModel {
        version: "2010-08-01",
        namespace: "http://monitoring.amazonaws.com/doc/2010-08-01/",
    };
    let model = ServiceModel {
        name: SIGNING_NAME,
        target: Some(TARGET),
        query: Some(query),
        invalid: ErrorCode::Monitoring(MonitoringFault::Validation),
        known: None,
    };
    Service::new(model, operations())
}

fn operations() -> Vec<Operation> {
    vec![
        Operation::write("PutMetricAlarm", tree(alarms::put)),
        Operation::write("SetAlarmState", tree(alarms::set_state)),
        Operation::read("DescribeAlarms", tree(alarms::describe)),
        Operation::write("DeleteAlarms", tree(alarms::delete)),
        Operation::write("TagResource", tree(alarms::tags::tag)).with_empty_output(),
        Operation::write("UntagResource", tree(alarms::tags::untag)).with_empty_output(),
        Operation::read("ListTagsForResource", tree(alarms::tags::list)),
    ]
}
