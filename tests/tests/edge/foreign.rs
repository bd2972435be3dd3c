//! Clients of services that are not here are told so, in words that they show to their users.

use serde_json::Value;

use crate::coordinator;

/// A call of each: every protocol that AWS has, and the services that tools reach for first.
const CALLS: &str = r#"
import boto3, json, botocore
from botocore.config import Config
from botocore import UNSIGNED

once = Config(retries={'max_attempts': 0}, s3={'addressing_style': 'path'}, inject_host_prefix=False)
calls = [
    ('ec2', 'describe_instances', {}),
    ('iam', 'list_roles', {}),
    ('elbv2', 'describe_load_balancers', {}),
    ('elb', 'describe_load_balancers', {}),
    ('rds', 'describe_db_instances', {}),
    ('sns', 'list_topics', {}),
    ('cloudformation', 'list_stacks', {}),
    ('elasticache', 'describe_cache_clusters', {}),
    ('sqs', 'list_queues', {}),
    ('dynamodb', 'list_tables', {}),
    ('ecr', 'describe_repositories', {}),
    ('ssm', 'get_parameter', {'Name': 'a'}),
    ('secretsmanager', 'get_secret_value', {'SecretId': 'a'}),
    ('kms', 'list_keys', {}),
    ('events', 'list_rules', {}),
    ('servicediscovery', 'list_namespaces', {}),
    ('application-autoscaling', 'describe_scalable_targets', {'ServiceNamespace': 'ecs'}),
    ('codedeploy', 'list_applications', {}),
    ('kinesis', 'list_streams', {}),
    ('stepfunctions', 'list_state_machines', {}),
    ('acm', 'list_certificates', {}),
    ('lambda', 'list_functions', {}),
    ('lambda', 'invoke', {'FunctionName': 'a', 'Payload': b'{}'}),
    ('eks', 'list_clusters', {}),
    ('efs', 'describe_file_systems', {}),
    ('batch', 'describe_job_queues', {}),
    ('apigateway', 'get_rest_apis', {}),
    ('xray', 'get_groups', {}),
    ('scheduler', 'list_schedules', {}),
    ('appconfig', 'list_applications', {}),
    ('s3', 'list_buckets', {}),
    ('s3', 'list_objects_v2', {'Bucket': 'bucket'}),
    ('s3', 'put_object', {'Bucket': 'bucket', 'Key': 'key', 'Body': b'a' * 3_000_000}),
    ('s3', 'get_object', {'Bucket': 'bucket', 'Key': 'key'}),
    ('s3', 'head_bucket', {'Bucket': 'bucket'}),
    ('route53', 'list_hosted_zones', {}),
    ('cloudfront', 'list_distributions', {}),
    ('cognito-idp', 'list_user_pools', {'MaxResults': 1}),
]
told = []
def tell(name, operation, client, arguments):
    try:
        getattr(client, operation)(**arguments)
        told.append([name, operation, 200, '', ''])
    except botocore.exceptions.ClientError as error:
        answer = error.response
        told.append([name, operation, answer['ResponseMetadata']['HTTPStatusCode'],
                     answer['Error']['Code'], answer['Error']['Message']])
    except Exception as error:
        told.append([name, operation, 0, type(error).__name__, str(error)])
for name, operation, arguments in calls:
    tell(name, operation, boto3.client(name, config=once), arguments)
# Without keys: what signs nothing must not complain of keys either.
unsigned = once.merge(Config(signature_version=UNSIGNED))
tell('s3', 'list_buckets', boto3.client('s3', config=unsigned), {})
tell('cognito-idp', 'initiate_auth', boto3.client('cognito-idp', config=unsigned),
     {'AuthFlow': 'USER_PASSWORD_AUTH', 'ClientId': 'a'})
tell('sso', 'list_accounts', boto3.client('sso', config=unsigned), {'accessToken': 'a'})
# What is here goes on working beside them.
boto3.client('sts').get_caller_identity()
boto3.client('logs').describe_log_groups()
boto3.client('cloudwatch').describe_alarms()
boto3.client('autoscaling').describe_auto_scaling_groups()
ecs.list_clusters()
print(json.dumps(told))
"#;

#[tokio::test]
async fn clients_of_services_that_are_not_here_are_told_so() {
    let (coordinator, _folder) = coordinator(&[]).await;
    let told = coordinator.aws().boto3(CALLS).await.unwrap();
    let told = told.as_array().unwrap();
    assert!(told.len() >= 40, "{} calls", told.len());
    let wrong: Vec<&Value> = told.iter().filter(|call| !is_told(call)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn is_told(call: &Value) -> bool {
    let [service, operation, status, code, message] = &call.as_array().unwrap()[..] else {
        return false;
    };
    let message = message.as_str().unwrap();
    let code = code.as_str().unwrap();
    // A HEAD's answer has no body: its client knows the status only.
    if (service, operation) == (&"s3".into(), &"head_bucket".into()) {
        return status == 400;
    }
    let says_so =
        message.contains("Longshore has no ") && message.contains("it has autoscaling, ecs");
    let blames_keys = ["signature", "Credential", "token", "key"]
        .iter()
        .any(|word| message.to_lowercase().contains(&word.to_lowercase()));
    status == 400
        && says_so
        && !blames_keys
        && ["UnknownOperationException", "InvalidAction"].contains(&code)
}

#[tokio::test]
async fn aws_cli_shows_that_a_service_is_not_here() {
    let (coordinator, _folder) = coordinator(&[]).await;
    for aws in [coordinator.aws(), coordinator.aws().with_endpoint_flag()] {
        for (service, operation) in [
            ("ec2", "describe-instances"),
            ("s3api", "list-buckets"),
            ("ssm", "describe-parameters"),
        ] {
            let said = aws.service(service, &[operation]).await.unwrap_err().to_string();
            assert!(said.contains("Longshore has no "), "{said}");
        }
    }
}
