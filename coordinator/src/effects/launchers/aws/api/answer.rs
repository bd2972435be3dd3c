//! What AWS says of a group, and why it did not do what it was asked.

use std::fmt;

use longshore_core::model::auto_scaling::InstanceId;

/// The group as AWS shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::effects::launchers::aws) struct Listed {
    pub(in crate::effects::launchers::aws) min: u32,
    pub(in crate::effects::launchers::aws) max: u32,
    pub(in crate::effects::launchers::aws) desired: u32,
    pub(in crate::effects::launchers::aws) protects_new: bool,
    pub(in crate::effects::launchers::aws) machines: Vec<Machine>,
    /// Ids that have another form than EC2's, of which nothing is done.
    pub(in crate::effects::launchers::aws) strange: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::effects::launchers::aws) struct Machine {
    pub(in crate::effects::launchers::aws) id: InstanceId,
    pub(in crate::effects::launchers::aws) state: MachineState,
    /// Whether the machine is protected from scale-in.
    pub(in crate::effects::launchers::aws) protected: bool,
}

/// Auto Scaling's `LifecycleState`, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::effects::launchers::aws) enum MachineState {
    Coming,
    InService,
    /// Put aside by a user of AWS: it is there, and the desired capacity does not count it.
    Standby,
    Leaving,
}

/// Why AWS did not do it, and what an operator can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::effects::launchers::aws) enum AwsError {
    /// The refusal in AWS's own words.
    Refused {
        operation: &'static str,
        code: String,
        message: String,
    },
    /// AWS was not asked, or its answer was lost.
    Unanswered {
        endpoint: String,
        why: String,
    },
    NotUnderstood {
        operation: &'static str,
        why: String,
    },
    NoCredentials(String),
    NoGroup {
        name: String,
        region: String,
    },
    /// The group is one that a launcher cannot be.
    Unfit {
        name: String,
        why: &'static str,
    },
}

impl AwsError {
    /// What an operator can do about it, when it is known.
    fn advice(&self) -> Option<String> {
        let AwsError::Refused { operation, code, .. } = self else { return None };
        Some(match code.as_str() {
            "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => {
                format!("Allow the coordinator's user or role autoscaling:{operation}.")
            }
            "InvalidClientTokenId"
            | "SignatureDoesNotMatch"
            | "AuthFailure"
            | "UnrecognizedClientException"
            | "IncompleteSignature"
            | "MissingAuthenticationToken" => {
                "Check the coordinator's AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the \
                 machine's role."
                    .to_owned()
            }
            "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => {
                "Check the machine's clock, and renew temporary keys.".to_owned()
            }
            "OptInRequired" => "Enable the region in the AWS account.".to_owned(),
            _ => return None,
        })
    }
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AwsError::Refused { operation, code, message } => {
                write!(f, "AWS refused {operation}: {message} ({code})")?;
                match self.advice() {
                    Some(advice) => write!(f, ". {advice}"),
                    None => Ok(()),
                }
            }
            AwsError::Unanswered { endpoint, why } => write!(
                f,
                "AWS did not answer at {endpoint}: {why}. Let the coordinator reach it, or give \
                 the launcher another endpoint"
            ),
            AwsError::NotUnderstood { operation, why } => {
                write!(f, "AWS's answer to {operation} is not understood: {why}")
            }
            AwsError::NoCredentials(why) => write!(
                f,
                "there are no AWS credentials. Give the coordinator AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY, or run it on an EC2 instance with a role ({why})"
            ),
            AwsError::NoGroup { name, region } => write!(
                f,
                "AWS has no Auto Scaling group `{name}` in {region}. Make it, or correct the \
                 launcher's group or region"
            ),
            AwsError::Unfit { name, why } => {
                write!(f, "AWS's Auto Scaling group `{name}` cannot be a launcher: {why}")
            }
        }
    }
}
