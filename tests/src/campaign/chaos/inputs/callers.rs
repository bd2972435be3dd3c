//! STS.

use serde_json::json;

use super::generator::Generator;

pub(super) fn generators() -> Vec<Generator> {
    vec![Generator {
        service: "sts",
        operation: "GetCallerIdentity",
        weight: 1,
        input: |_| json!({}),
    }]
}
