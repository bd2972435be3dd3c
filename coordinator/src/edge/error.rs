//! The errors of the API: which there are, what they are called on the wire, and with which status.
//!
//! The one place that knows a wire name or an HTTP status. Never decides whether something is
//! wrong: handlers, the state machine and the signature check do.

use std::fmt;

use http::StatusCode;

/// A refusal as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) code: ErrorCode,
    /// A sentence that says what is wrong and, where it helps, what to do.
    pub(crate) message: String,
    /// `resourceIds` of ConflictException: the ARNs that a client token already stands for.
    pub(crate) resource_ids: Vec<String>,
}

impl ApiError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        ApiError { code, message: message.into(), resource_ids: Vec::new() }
    }

    pub(crate) fn client(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Client, message)
    }

    pub(crate) fn invalid_parameter(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidParameter, message)
    }

    pub(crate) fn unsupported_feature(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::UnsupportedFeature, message)
    }

    pub(crate) fn serialization(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Serialization, message)
    }

    pub(crate) fn server(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Server, message)
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.code.status()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.wire_name(), self.message)
    }
}

impl std::error::Error for ApiError {}

/// Every error that the API can answer (ecs-behaviour 1.1, and those that AWS answers in front of
/// every service).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(dead_code, reason = "ECS's whole list; resources that are still to come use the rest")]
pub(crate) enum ErrorCode {
    // Of any operation.
    Client,
    InvalidParameter,
    Server,
    AccessDenied,
    // Of ECS's resources.
    ClusterNotFound,
    ServiceNotFound,
    ServiceNotActive,
    TaskSetNotFound,
    ServiceDeploymentNotFound,
    ResourceNotFound,
    TargetNotFound,
    TargetNotConnected,
    NamespaceNotFound,
    GatewayNotFound,
    DaemonNotFound,
    DaemonNotActive,
    LimitExceeded,
    AttributeLimitExceeded,
    Conflict,
    Blocked,
    ResourceInUse,
    /// An error of CloudWatch Logs, whose other errors are named as ECS's.
    ResourceAlreadyExists,
    TooManyTags,
    UpdateInProgress,
    ClusterContainsContainerInstances,
    ClusterContainsServices,
    ClusterContainsTasks,
    ClusterContainsCapacityProvider,
    UnsupportedFeature,
    PlatformUnknown,
    PlatformTaskDefinitionIncompatibility,
    NoUpdateAvailable,
    MissingVersion,
    // In front of every operation.
    Serialization,
    UnknownOperation,
    Throttling,
    ServiceUnavailable,
    MissingAuthenticationToken,
    IncompleteSignature,
    UnrecognizedClient,
    InvalidSignature,
    RequestTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
    MethodNotAllowed,
    NoSuchPath,
    Monitoring(MonitoringFault),
    AutoScaling(AutoScalingFault),
}

/// The errors of Auto Scaling's operations, which speak the query protocol only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AutoScalingFault {
    AlreadyExists,
    InvalidNextToken,
    LimitExceeded,
    ResourceInUse,
    ScalingActivityInProgress,
    Validation,
}

impl AutoScalingFault {
    pub(crate) fn query_name(self) -> &'static str {
        match self {
            AutoScalingFault::AlreadyExists => "AlreadyExists",
            AutoScalingFault::InvalidNextToken => "InvalidNextToken",
            AutoScalingFault::LimitExceeded => "LimitExceeded",
            AutoScalingFault::ResourceInUse => "ResourceInUse",
            AutoScalingFault::ScalingActivityInProgress => "ScalingActivityInProgress",
            AutoScalingFault::Validation => "ValidationError",
        }
    }
}

/// The errors of CloudWatch's operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MonitoringFault {
    ResourceNotFound,
    /// The resource is not found either: the other name, which later operations give this error.
    NoSuchResource,
    LimitExceeded,
    InvalidNextToken,
    InvalidFormat,
    InvalidParameterValue,
    InvalidParameterCombination,
    MissingParameter,
    Validation,
}

impl MonitoringFault {
    /// The `__type` of JSON and CBOR: the shape's name.
    fn wire_name(self) -> &'static str {
        match self {
            MonitoringFault::ResourceNotFound => "ResourceNotFound",
            MonitoringFault::NoSuchResource => "ResourceNotFoundException",
            MonitoringFault::LimitExceeded => "LimitExceededFault",
            MonitoringFault::InvalidNextToken => "InvalidNextToken",
            MonitoringFault::InvalidFormat => "InvalidFormatFault",
            MonitoringFault::InvalidParameterValue => "InvalidParameterValueException",
            MonitoringFault::InvalidParameterCombination => "InvalidParameterCombinationException",
            MonitoringFault::MissingParameter => "MissingRequiredParameterException",
            MonitoringFault::Validation => "ValidationError",
        }
    }

    /// What the query protocol and its successors' `X-Amzn-Query-Error` call it.
    pub(crate) fn query_name(self) -> &'static str {
        match self {
            MonitoringFault::ResourceNotFound => "ResourceNotFound",
            MonitoringFault::NoSuchResource => "ResourceNotFoundException",
            MonitoringFault::LimitExceeded => "LimitExceeded",
            MonitoringFault::InvalidNextToken => "InvalidNextToken",
            MonitoringFault::InvalidFormat => "InvalidFormat",
            MonitoringFault::InvalidParameterValue => "InvalidParameterValue",
            MonitoringFault::InvalidParameterCombination => "InvalidParameterCombination",
            MonitoringFault::MissingParameter => "MissingParameter",
            MonitoringFault::Validation => "ValidationError",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            MonitoringFault::ResourceNotFound | MonitoringFault::NoSuchResource => {
                StatusCode::NOT_FOUND
            }
            MonitoringFault::LimitExceeded
            | MonitoringFault::InvalidNextToken
            | MonitoringFault::InvalidFormat
            | MonitoringFault::InvalidParameterValue
            | MonitoringFault::InvalidParameterCombination
            | MonitoringFault::MissingParameter
            | MonitoringFault::Validation => StatusCode::BAD_REQUEST,
        }
    }
}

impl ErrorCode {
    /// The `__type` of the JSON protocols.
    pub(crate) fn wire_name(self) -> &'static str {
        match self {
            ErrorCode::Client => "ClientException",
            ErrorCode::InvalidParameter => "InvalidParameterException",
            ErrorCode::Server => "ServerException",
            ErrorCode::AccessDenied => "AccessDeniedException",
            ErrorCode::ClusterNotFound => "ClusterNotFoundException",
            ErrorCode::ServiceNotFound => "ServiceNotFoundException",
            ErrorCode::ServiceNotActive => "ServiceNotActiveException",
            ErrorCode::TaskSetNotFound => "TaskSetNotFoundException",
            ErrorCode::ServiceDeploymentNotFound => "ServiceDeploymentNotFoundException",
            ErrorCode::ResourceNotFound => "ResourceNotFoundException",
            ErrorCode::TargetNotFound => "TargetNotFoundException",
            ErrorCode::TargetNotConnected => "TargetNotConnectedException",
            ErrorCode::NamespaceNotFound => "NamespaceNotFoundException",
            ErrorCode::GatewayNotFound => "GatewayNotFoundException",
            ErrorCode::DaemonNotFound => "DaemonNotFoundException",
            ErrorCode::DaemonNotActive => "DaemonNotActiveException",
            ErrorCode::LimitExceeded => "LimitExceededException",
            ErrorCode::AttributeLimitExceeded => "AttributeLimitExceededException",
            ErrorCode::Conflict => "ConflictException",
            ErrorCode::Blocked => "BlockedException",
            ErrorCode::ResourceInUse => "ResourceInUseException",
            ErrorCode::ResourceAlreadyExists => "ResourceAlreadyExistsException",
            ErrorCode::TooManyTags => "TooManyTagsException",
            ErrorCode::UpdateInProgress => "UpdateInProgressException",
            ErrorCode::ClusterContainsContainerInstances => {
                "ClusterContainsContainerInstancesException"
            }
            ErrorCode::ClusterContainsServices => "ClusterContainsServicesException",
            ErrorCode::ClusterContainsTasks => "ClusterContainsTasksException",
            ErrorCode::ClusterContainsCapacityProvider => {
                "ClusterContainsCapacityProviderException"
            }
            ErrorCode::UnsupportedFeature => "UnsupportedFeatureException",
            ErrorCode::PlatformUnknown => "PlatformUnknownException",
            ErrorCode::PlatformTaskDefinitionIncompatibility => {
                "PlatformTaskDefinitionIncompatibilityException"
            }
            ErrorCode::NoUpdateAvailable => "NoUpdateAvailableException",
            ErrorCode::MissingVersion => "MissingVersionException",
            ErrorCode::Serialization => "SerializationException",
            ErrorCode::UnknownOperation => "UnknownOperationException",
            ErrorCode::Throttling => "ThrottlingException",
            ErrorCode::ServiceUnavailable => "ServiceUnavailableException",
            ErrorCode::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            ErrorCode::IncompleteSignature => "IncompleteSignatureException",
            ErrorCode::UnrecognizedClient => "UnrecognizedClientException",
            ErrorCode::InvalidSignature => "InvalidSignatureException",
            ErrorCode::RequestTooLarge => "RequestEntityTooLargeException",
            ErrorCode::RequestTimeout => "RequestTimeoutException",
            ErrorCode::UnsupportedMediaType => "UnsupportedMediaTypeException",
            ErrorCode::MethodNotAllowed => "MethodNotAllowedException",
            ErrorCode::NoSuchPath => "NotFoundException",
            ErrorCode::Monitoring(fault) => fault.wire_name(),
            ErrorCode::AutoScaling(fault) => fault.query_name(),
        }
    }

    /// The HTTP status of the JSON protocols: 400, but for the server's own faults and for what
    /// HTTP itself has a status for.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            ErrorCode::Server => StatusCode::INTERNAL_SERVER_ERROR,
            ErrorCode::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            ErrorCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            ErrorCode::NoSuchPath => StatusCode::NOT_FOUND,
            ErrorCode::Monitoring(fault) => fault.status(),
            ErrorCode::Client
            | ErrorCode::InvalidParameter
            | ErrorCode::AccessDenied
            | ErrorCode::ClusterNotFound
            | ErrorCode::ServiceNotFound
            | ErrorCode::ServiceNotActive
            | ErrorCode::TaskSetNotFound
            | ErrorCode::ServiceDeploymentNotFound
            | ErrorCode::ResourceNotFound
            | ErrorCode::TargetNotFound
            | ErrorCode::TargetNotConnected
            | ErrorCode::NamespaceNotFound
            | ErrorCode::GatewayNotFound
            | ErrorCode::DaemonNotFound
            | ErrorCode::DaemonNotActive
            | ErrorCode::LimitExceeded
            | ErrorCode::AttributeLimitExceeded
            | ErrorCode::Conflict
            | ErrorCode::Blocked
            | ErrorCode::ResourceInUse
            | ErrorCode::ResourceAlreadyExists
            | ErrorCode::TooManyTags
            | ErrorCode::UpdateInProgress
            | ErrorCode::ClusterContainsContainerInstances
            | ErrorCode::ClusterContainsServices
            | ErrorCode::ClusterContainsTasks
            | ErrorCode::ClusterContainsCapacityProvider
            | ErrorCode::UnsupportedFeature
            | ErrorCode::PlatformUnknown
            | ErrorCode::PlatformTaskDefinitionIncompatibility
            | ErrorCode::NoUpdateAvailable
            | ErrorCode::MissingVersion
            | ErrorCode::Serialization
            | ErrorCode::UnknownOperation
            | ErrorCode::Throttling
            | ErrorCode::MissingAuthenticationToken
            | ErrorCode::IncompleteSignature
            | ErrorCode::UnrecognizedClient
            | ErrorCode::AutoScaling(_)
            | ErrorCode::InvalidSignature => StatusCode::BAD_REQUEST,
        }
    }
}
