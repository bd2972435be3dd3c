use std::time::SystemTime;

use aws_credential_types::Credentials as SdkCredentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use expect_test::{Expect, expect};
use longshore_common::clock::{SteppedClock, Timestamp};
use object_store::aws::AwsCredential;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

const NOW: Timestamp = Timestamp(1_767_323_045_000);
const KEY_ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLE==";

/// One that AWS's documentation shows, with an instance in each state that matters.
const GROUPS: &str = r#"<DescribeAutoScalingGroupsResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/">
  <DescribeAutoScalingGroupsResult>
    <AutoScalingGroups>
      <member>
        <HealthCheckType>EC2</HealthCheckType>
        <AutoScalingGroupARN>arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:12345678-1234-1234-1234-123456789012:autoScalingGroupName/hosts</AutoScalingGroupARN>
        <DesiredCapacity>4</DesiredCapacity>
        <DesiredCapacityType/>
        <AvailabilityZones><member>us-east-1a</member><member>us-east-1b</member></AvailabilityZones>
        <Tags/>
        <LoadBalancerNames/>
        <Instances>
          <member>
            <InstanceId>i-0598c7d356eba48d7</InstanceId>
            <HealthStatus>Healthy</HealthStatus>
            <LifecycleState>InService</LifecycleState>
            <LaunchTemplate><LaunchTemplateId>lt-1</LaunchTemplateId><Version>1</Version></LaunchTemplate>
            <ProtectedFromScaleIn>true</ProtectedFromScaleIn>
            <AvailabilityZone>us-east-1a</AvailabilityZone>
          </member>
          <member>
            <InstanceId>i-0598c7d356eba48d8</InstanceId>
            <LifecycleState>Pending:Wait</LifecycleState>
            <ProtectedFromScaleIn>false</ProtectedFromScaleIn>
          </member>
          <member>
            <InstanceId>i-0598c7d356eba48d9</InstanceId>
            <LifecycleState>Terminating:Proceed</LifecycleState>
            <ProtectedFromScaleIn>false</ProtectedFromScaleIn>
          </member>
          <member>
            <InstanceId>i-0598c7d356eba48da</InstanceId>
            <LifecycleState>Standby</LifecycleState>
            <ProtectedFromScaleIn>false</ProtectedFromScaleIn>
          </member>
          <member>
            <InstanceId>i-1234abcd</InstanceId>
            <LifecycleState>InService</LifecycleState>
            <ProtectedFromScaleIn>false</ProtectedFromScaleIn>
          </member>
        </Instances>
        <MinSize>0</MinSize>
        <MaxSize>10</MaxSize>
        <AutoScalingGroupName>hosts</AutoScalingGroupName>
        <NewInstancesProtectedFromScaleIn>true</NewInstancesProtectedFromScaleIn>
        <CreatedTime>2023-10-23T15:33:20.129Z</CreatedTime>
      </member>
    </AutoScalingGroups>
  </DescribeAutoScalingGroupsResult>
  <ResponseMetadata><RequestId>7c6e177f-f082-11e1-ac58-3714bEXAMPLE</RequestId></ResponseMetadata>
</DescribeAutoScalingGroupsResponse>"#;

fn check(groups: &str, expected: Expect) {
    let listed = wire::listed("DescribeAutoScalingGroups", "hosts", groups.as_bytes());
    let said = match listed {
        Ok(Some(listed)) => {
            let machine = |one: &Machine| {
                let protected = if one.protected { " protected" } else { "" };
                format!("{} {:?}{protected}\n", one.id, one.state)
            };
            let machines: String = listed.machines.iter().map(machine).collect();
            let Listed { min, max, desired, protects_new, strange, .. } = &listed;
            format!(
                "{min}..{max} desired {desired}, protects {protects_new}\n{machines}{strange:?}"
            )
        }
        Ok(None) => "no such group".to_owned(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&said);
}

#[test]
fn a_group_is_read_as_aws_shows_it() {
    check(
        GROUPS,
        expect![[r#"
            0..10 desired 4, protects true
            i-0598c7d356eba48d7 InService protected
            i-0598c7d356eba48d8 Coming
            i-0598c7d356eba48d9 Leaving
            i-0598c7d356eba48da Standby
            ["i-1234abcd"]"#]],
    );
    check(&GROUPS.replace(">hosts<", ">others<"), expect!["no such group"]);
    let none = "<DescribeAutoScalingGroupsResponse><DescribeAutoScalingGroupsResult>\
                <AutoScalingGroups/></DescribeAutoScalingGroupsResult>\
                </DescribeAutoScalingGroupsResponse>";
    check(none, expect!["no such group"]);
}

#[test]
fn a_group_whose_capacity_is_no_number_of_instances_cannot_be_a_launcher() {
    let with = |after: &str, what: &str| GROUPS.replacen(after, &format!("{after}{what}"), 1);
    check(
        &GROUPS.replacen(
            "<Tags/>",
            "<MixedInstancesPolicy><LaunchTemplate><Overrides><member><InstanceType>m5.large\
             </InstanceType><WeightedCapacity>2</WeightedCapacity></member></Overrides>\
             </LaunchTemplate></MixedInstancesPolicy>",
            1,
        ),
        expect![
            "AWS's Auto Scaling group `hosts` cannot be a launcher: its instances have weights. Take WeightedCapacity out of its overrides"
        ],
    );
    check(
        &GROUPS
            .replace("<DesiredCapacityType/>", "<DesiredCapacityType>vcpu</DesiredCapacityType>"),
        expect![
            "AWS's Auto Scaling group `hosts` cannot be a launcher: its capacity is counted in CPUs or memory. Set its DesiredCapacityType to units"
        ],
    );
    check(
        &with("<MaxSize>10</MaxSize>", "<Status>Delete in progress</Status>"),
        expect![
            "AWS's Auto Scaling group `hosts` cannot be a launcher: it is being deleted. Make another one"
        ],
    );
    let not_aws = wire::listed("DescribeAutoScalingGroups", "hosts", b"<html>no</html>");
    assert!(matches!(not_aws, Err(AwsError::NotUnderstood { .. })), "{not_aws:?}");
}

#[test]
fn why_the_last_activity_failed_is_read() {
    let said = |status: &str| {
        let answer = format!(
            "<DescribeScalingActivitiesResponse><DescribeScalingActivitiesResult><Activities><member>\
             <StatusCode>{status}</StatusCode><StatusMessage>We currently do not have sufficient \
             t3.micro capacity.</StatusMessage><Progress>100</Progress></member></Activities>\
             </DescribeScalingActivitiesResult></DescribeScalingActivitiesResponse>"
        );
        wire::last_failure("DescribeScalingActivities", answer.as_bytes()).unwrap()
    };
    let why = "We currently do not have sufficient t3.micro capacity.";
    assert_eq!(said("Failed").as_deref(), Some(why));
    assert_eq!(said("InProgress"), None);
}

#[test]
fn a_refusal_is_told_in_awss_words_with_what_to_do() {
    let said = |code: &str, message: &str| {
        let answer = format!(
            "<ErrorResponse xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\"><Error>\
             <Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
             <RequestId>1</RequestId></ErrorResponse>"
        );
        wire::refusal("SetDesiredCapacity", 400, answer.as_bytes()).to_string()
    };
    expect![[r#"AWS refused SetDesiredCapacity: New SetDesiredCapacity value 9 is above max value 3 for the AutoScalingGroup (ValidationError)"#]]
        .assert_eq(&said("ValidationError", "New SetDesiredCapacity value 9 is above max value 3 for the AutoScalingGroup."));
    expect![[r#"AWS refused SetDesiredCapacity: User: arn:aws:iam::1:user/x is not authorized (AccessDenied). Allow the coordinator's user or role autoscaling:SetDesiredCapacity."#]]
        .assert_eq(&said("AccessDenied", "User: arn:aws:iam::1:user/x is not authorized"));
    let not_aws = wire::refusal("SetDesiredCapacity", 502, b"<html>Bad Gateway</html>").to_string();
    expect!["AWS's answer to SetDesiredCapacity is not understood: HTTP status 502: <html>Bad Gateway</html>"]
        .assert_eq(&not_aws);
}

/// Answers one request and returns it as it came.
async fn answer_one(listener: TcpListener, body: &str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut asked = Vec::new();
    loop {
        let mut some = [0; 4096];
        let read = stream.read(&mut some).await.unwrap();
        asked.extend_from_slice(&some[..read]);
        let text = String::from_utf8_lossy(&asked).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_lowercase();
        let length = length.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
        if body.len() >= length.parse().unwrap() {
            break;
        }
    }
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    String::from_utf8(asked).unwrap()
}

fn header<'a>(request: &'a str, name: &str) -> &'a str {
    let mut lines = request.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(given, _)| given.eq_ignore_ascii_case(name)).unwrap().1
}

async fn client(listener: &TcpListener) -> Client {
    // What `main` does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let group = AwsGroup {
        name: "my hosts".to_owned(),
        region: "eu-central-1".to_owned(),
        endpoint: Some(format!("http://{}", listener.local_addr().unwrap())),
    };
    let clock = SteppedClock::at(NOW);
    let mut client = Client::new(&group, Duration::from_secs(5), clock).unwrap();
    client.credentials = CredentialChain::fixed(AwsCredential {
        key_id: KEY_ID.to_owned(),
        secret_key: SECRET.to_owned(),
        token: Some(TOKEN.to_owned()),
    });
    client
}

#[tokio::test]
async fn a_call_is_signed_as_awss_own_signer_signs_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(&listener).await;
    let answering = tokio::spawn(answer_one(listener, "<SetDesiredCapacityResponse/>"));
    client.set_desired(7).await.unwrap();
    let request = answering.await.unwrap();
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        body,
        "Action=SetDesiredCapacity&Version=2011-01-01&AutoScalingGroupName=my+hosts&\
         DesiredCapacity=7&HonorCooldown=false"
    );
    assert_eq!(header(&request, "x-amz-security-token"), TOKEN);

    let identity = SdkCredentials::new(KEY_ID, SECRET, Some(TOKEN.to_owned()), None, "t").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-central-1")
        .name("autoscaling")
        .time(SystemTime::UNIX_EPOCH + Duration::from_millis(NOW.0))
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let host = header(&request, "host");
    let headers = [("host", host), ("content-type", header(&request, "content-type"))];
    let url = format!("http://{host}/");
    let body = SignableBody::Bytes(body.as_bytes());
    let signable = SignableRequest::new("POST", &url, headers.into_iter(), body).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    let signed = instructions.headers().find(|(name, _)| *name == "authorization").unwrap().1;
    assert_eq!(header(&request, "authorization"), signed);
}

#[tokio::test]
async fn what_does_not_answer_is_told_with_its_address_and_without_a_secret() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(&listener).await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = client.describe().await.unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with(&format!("AWS did not answer at http://{address}/: ")), "{said}");
    let held = client.credentials.current().await.unwrap();
    let shown = format!("{error:?} {said} {:?}", held.key);
    assert!(!shown.contains(SECRET) && !shown.contains(TOKEN), "{shown}");
}
