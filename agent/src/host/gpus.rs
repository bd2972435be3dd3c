//! The GPUs of this host that are offered to tasks.
//!
//! Never: a look for some that nobody asked for, or an agent that ends for want of one: its other
//! tasks need it.

use std::{process::Output, time::Duration};

use longshore_common::telemetry::chain;
use tokio::process::Command;

use crate::settings::Gpus;

/// NVIDIA's own tool, which comes with the driver.
const TOOL: &str = "nvidia-smi";
const ARGUMENTS: [&str; 2] = ["--query-gpu=uuid", "--format=csv,noheader"];
/// Timeout of the tool: a driver that wakes its devices up takes seconds.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// Their ids, in the order in which they are given away. None where they cannot be found: the log then
/// says why.
pub(crate) async fn offered(setting: &Gpus) -> Vec<String> {
    match setting {
        Gpus::None => Vec::new(),
        Gpus::Named(ids) => ids.clone(),
        Gpus::Auto => found(TOOL).await.unwrap_or_else(|error| {
            let error = chain(&error);
            tracing::warn!(
                error,
                "no GPU is offered to tasks, though the setting gpus is \"auto\""
            );
            Vec::new()
        }),
    }
}

async fn found(tool: &str) -> Result<Vec<String>, NoGpus> {
    let asked = Command::new(tool).args(ARGUMENTS).kill_on_drop(true).output();
    let told = tokio::time::timeout(ANSWERS_WITHIN, asked).await;
    told.map_err(|_| NoGpus::Silent)?.map_err(NoGpus::NoTool).and_then(|told| read(&told))
}

fn read(told: &Output) -> Result<Vec<String>, NoGpus> {
    let said = String::from_utf8_lossy(&told.stdout);
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    if !told.status.success() {
        return Err(NoGpus::Refused(lines().next().unwrap_or("it failed").to_owned()));
    }
    let mut ids: Vec<String> = lines().map(str::to_owned).collect();
    ids.sort();
    ids.dedup();
    if ids.is_empty() { Err(NoGpus::Refused("it shows none".to_owned())) } else { Ok(ids) }
}

#[derive(Debug, thiserror::Error)]
enum NoGpus {
    #[error(
        "the GPUs of this host cannot be found by nvidia-smi: install NVIDIA's driver, name their ids \
         by --gpus, or leave --gpus (ECS_ENABLE_GPU_SUPPORT) out"
    )]
    NoTool(#[source] std::io::Error),
    #[error(
        "nvidia-smi did not tell the GPUs of this host within {} s: name their ids by --gpus",
        ANSWERS_WITHIN.as_secs()
    )]
    Silent,
    #[error(
        "nvidia-smi does not tell the GPUs of this host ({0}): mend the driver, let the service see the \
         devices (its unit says how), name their ids by --gpus, or leave --gpus \
         (ECS_ENABLE_GPU_SUPPORT) out"
    )]
    Refused(String),
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

    use super::*;

    fn told(status: i32, text: &str) -> Output {
        let status = ExitStatus::from_raw(status << 8);
        Output { status, stdout: text.into(), stderr: Vec::new() }
    }

    #[test]
    fn each_line_of_the_tool_is_a_gpu_and_no_line_is_an_error() {
        let two = read(&told(0, "GPU-b\n GPU-a \n\n")).unwrap();
        assert_eq!(two, ["GPU-a", "GPU-b"]);
        let none = read(&told(0, "\n")).unwrap_err();
        assert!(none.to_string().contains("it shows none"), "{none}");
        let failed = read(&told(9, "NVIDIA-SMI has failed\n")).unwrap_err();
        assert!(failed.to_string().contains("NVIDIA-SMI has failed"), "{failed}");
    }

    #[tokio::test]
    async fn what_is_named_is_offered_and_nothing_is_looked_for_unasked() {
        assert_eq!(offered(&Gpus::None).await, [""; 0]);
        let named = Gpus::Named(vec!["GPU-b".to_owned(), "GPU-a".to_owned()]);
        assert_eq!(offered(&named).await, ["GPU-b", "GPU-a"]);
    }

    #[tokio::test]
    async fn missing_tool_is_told_with_what_to_do() {
        let missing = found("/nonexistent/nvidia-smi").await.unwrap_err();
        assert!(missing.to_string().contains("install NVIDIA's driver"), "{missing}");
        let failing = found("/bin/false").await.unwrap_err();
        assert!(failing.to_string().contains("its unit says how"), "{failing}");
    }
}
