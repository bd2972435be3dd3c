//! moto's server, which stands in for AWS: EC2 Auto Scaling and IAM, with signatures and permissions
//! checked.
//!
//! It launches nothing: its instances have ids and lifecycles, and whoever uses it starts machines for
//! them.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    aws::{Aws, program},
    command::run,
    machines::EC2_REGION,
    process::{Launch, Process},
};

/// Timeout of the start of moto, which needs some seconds to import itself.
const START_PATIENCE: Duration = Duration::from_secs(60);
const USER: &str = "longshore";

pub struct Moto {
    _server: Process,
    endpoint: String,
    folder: PathBuf,
}

/// A key that moto knows.
pub struct Key {
    pub id: String,
    pub secret: String,
}

impl Moto {
    pub async fn start(folder: &Path) -> Result<Moto> {
        // Free when it is looked for: moto takes no listener that is open.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let endpoint = format!("http://127.0.0.1:{port}");
        let server = Process::spawn(Launch {
            name: "moto".to_owned(),
            program: program("moto_server"),
            arguments: vec![
                "-H".to_owned(),
                "127.0.0.1".to_owned(),
                "-p".to_owned(),
                port.to_string(),
            ],
            environment: Vec::new(),
            host: None,
            folder,
            notifies: false,
            echo: None,
        })
        .await?;
        server
            .log()
            .wait_for(0, START_PATIENCE, |line| line.contains("Running on").then_some(()))
            .await
            .context("moto does not run: `make test` installs it")?;
        let moto = Moto { _server: server, endpoint, folder: folder.to_owned() };
        moto.keep("setup", &Key { id: "setup".to_owned(), secret: "setup".to_owned() })?;
        Ok(moto)
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// An Auto Scaling group without instances.
    pub async fn make_group(&self, name: &str, max: usize) -> Result<()> {
        let (aws, max) = (self.aws("setup"), max.to_string());
        let configuration = [
            "create-launch-configuration",
            "--launch-configuration-name",
            name,
            "--image-id",
            "ami-12c6146b",
            "--instance-type",
            "t3.micro",
        ];
        aws.service("autoscaling", &configuration).await?;
        let group = [
            "create-auto-scaling-group",
            "--auto-scaling-group-name",
            name,
            "--launch-configuration-name",
            name,
            "--min-size",
            "0",
            "--max-size",
            &max,
            "--availability-zones",
            "eu-central-1a",
        ];
        aws.service("autoscaling", &group).await?;
        Ok(())
    }

    /// A user who may do just this. From now on signatures and permissions are checked.
    pub async fn only_user(&self, actions: &[&str]) -> Result<Key> {
        let aws = self.aws("setup");
        aws.service("iam", &["create-user", "--user-name", USER]).await?;
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": "*" }],
        });
        let policy = policy.to_string();
        let put = [
            "put-user-policy",
            "--user-name",
            USER,
            "--policy-name",
            USER,
            "--policy-document",
            &policy,
        ];
        aws.service("iam", &put).await?;
        let made = aws.service("iam", &["create-access-key", "--user-name", USER]).await?;
        let text = |member: &str| {
            made["AccessKey"][member].as_str().map(str::to_owned).context("moto made no key")
        };
        let key = Key { id: text("AccessKeyId")?, secret: text("SecretAccessKey")? };
        self.keep(USER, &key)?;
        let reset = format!("{}/moto-api/reset-auth", self.endpoint);
        // As text: moto looks for no form.
        let kind = "Content-Type: text/plain";
        run(
            "curl",
            &["--silent", "--show-error", "--fail", "--header", kind, "--data", "0", &reset],
        )?;
        Ok(key)
    }

    /// The group as moto shows it to that user.
    pub async fn group(&self, name: &str) -> Result<Value> {
        let describe = ["describe-auto-scaling-groups", "--auto-scaling-group-names", name];
        let described = self.aws(USER).service("autoscaling", &describe).await?;
        Ok(described["AutoScalingGroups"][0].clone())
    }

    /// Ids of the instances that the group has.
    pub async fn instances(&self, name: &str) -> Result<BTreeSet<String>> {
        let group = self.group(name).await?;
        let instances = group["Instances"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(instances
            .iter()
            .filter_map(|one| one["InstanceId"].as_str().map(str::to_owned))
            .collect())
    }

    fn aws(&self, user: &str) -> Aws {
        Aws::new(&self.endpoint, EC2_REGION, &self.key_file(user))
    }

    fn key_file(&self, user: &str) -> PathBuf {
        self.folder.join(format!("{user}.credentials"))
    }

    fn keep(&self, user: &str, key: &Key) -> Result<()> {
        let Key { id, secret } = key;
        let text =
            format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
        Ok(fs_err::write(self.key_file(user), text)?)
    }
}
