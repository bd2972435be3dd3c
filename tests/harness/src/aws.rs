//! The AWS CLI, boto3 and ecs-deploy, run as a user of ECS runs them: an endpoint, a key, a region, no
//! more. And where moto lies, which comes with them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::process::Command;

/// Where `make test` keeps a CLI, a boto3 and an ecs-deploy of its own; those on the PATH serve without it.
pub const PROGRAMS_VARIABLE: &str = "LONGSHORE_AWS_PROGRAMS";

/// What a user sets in a shell.
#[derive(Clone, Debug)]
pub struct Aws {
    endpoint: String,
    region: String,
    credentials_file: PathBuf,
    programs: Option<PathBuf>,
    /// For CLIs that do not know AWS_ENDPOINT_URL.
    endpoint_by_flag: bool,
}

/// What a run of the CLI left.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub error: String,
}

impl Aws {
    pub fn new(endpoint: &str, region: &str, credentials_file: &Path) -> Aws {
        Aws {
            endpoint: endpoint.to_owned(),
            region: region.to_owned(),
            credentials_file: credentials_file.to_owned(),
            programs: std::env::var_os(PROGRAMS_VARIABLE).map(PathBuf::from),
            endpoint_by_flag: false,
        }
    }

    /// Gives the endpoint as `--endpoint-url` and not in the environment.
    pub fn with_endpoint_flag(&self) -> Aws {
        Aws { endpoint_by_flag: true, ..self.clone() }
    }

    /// `aws ecs …`: the JSON it prints, null when it prints none.
    pub async fn ecs(&self, arguments: &[&str]) -> Result<Value> {
        self.service("ecs", arguments).await
    }

    /// The same of another service.
    pub async fn service(&self, service: &str, arguments: &[&str]) -> Result<Value> {
        let said = self.says(service, arguments).await?;
        if said.code != 0 {
            let arguments = arguments.join(" ");
            bail!("`aws {service} {arguments}` ended with {}: {}", said.code, said.error);
        }
        if said.out.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&said.out).with_context(|| format!("not JSON: {}", said.out))
    }

    /// `aws ecs …` with whatever comes of it.
    pub async fn ecs_says(&self, arguments: &[&str]) -> Result<Said> {
        self.says("ecs", arguments).await
    }

    async fn says(&self, service: &str, arguments: &[&str]) -> Result<Said> {
        let mut command = self.command("aws");
        if self.endpoint_by_flag {
            command.args(["--endpoint-url", &self.endpoint]);
        }
        command.arg(service).args(arguments);
        finish(command).await
    }

    /// `aws ecs OPERATION` with its whole input as JSON.
    pub async fn ecs_json(&self, operation: &str, input: &Value) -> Result<Value> {
        self.ecs(&[operation, "--cli-input-json", &input.to_string()]).await
    }

    /// `ecs …` of ecs-deploy, with whatever comes of it.
    pub async fn ecs_deploy_says(&self, arguments: &[&str]) -> Result<Said> {
        let mut command = self.command("ecs");
        command.args(arguments);
        finish(command).await
    }

    /// `ecs …` of ecs-deploy, which is to end well.
    pub async fn ecs_deploy(&self, arguments: &[&str]) -> Result<()> {
        let said = self.ecs_deploy_says(arguments).await?;
        if said.code != 0 {
            bail!(
                "`ecs {}` ended with {}: {}\n{}",
                arguments.join(" "),
                said.code,
                said.error,
                said.out
            );
        }
        Ok(())
    }

    /// A Python script with `ecs` as its boto3 client and `json` imported; what it prints, read
    /// as JSON.
    pub async fn boto3(&self, script: &str) -> Result<Value> {
        let script = format!("import boto3, json\necs = boto3.client('ecs')\n{script}");
        let mut command = self.command("python3");
        command.args(["-c", &script]);
        let said = finish(command).await?;
        if said.code != 0 {
            bail!("a boto3 script ended with {}: {}\n{script}", said.code, said.error);
        }
        serde_json::from_str(&said.out).with_context(|| format!("not JSON: {}", said.out))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(located(program, self.programs.as_deref()));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        if !self.endpoint_by_flag {
            command.env("AWS_ENDPOINT_URL", &self.endpoint);
        }
        command
            .env("AWS_DEFAULT_REGION", &self.region)
            .env("AWS_SHARED_CREDENTIALS_FILE", &self.credentials_file)
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_DEFAULT_OUTPUT", "json")
            .env("AWS_PAGER", "")
            // One try: what the coordinator does is to be seen, not smoothed.
            .env("AWS_MAX_ATTEMPTS", "1")
            .kill_on_drop(true);
        command
    }
}

/// A program that `make test` installs, or the machine's.
pub fn program(name: &str) -> PathBuf {
    located(name, std::env::var_os(PROGRAMS_VARIABLE).map(PathBuf::from).as_deref())
}

fn located(program: &str, folder: Option<&Path>) -> PathBuf {
    folder.map_or_else(|| program.into(), |folder| folder.join(program))
}

async fn finish(mut command: Command) -> Result<Said> {
    let output = command.output().await.with_context(|| {
        format!("{command:?} could not be started: `make test` installs the AWS CLI, boto3 and ecs-deploy")
    })?;
    Ok(Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        error: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
