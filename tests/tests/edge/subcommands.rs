//! Subcommands find the coordinator of their data directory, whatever it listens on.

use longshore_harness::{
    binaries::{self, binary},
    command::run,
};

use crate::coordinator;

fn coordinator_says(arguments: &[String]) -> anyhow::Result<String> {
    run(&binary(binaries::COORDINATOR)?.display().to_string(), arguments)
}

#[tokio::test]
async fn subcommands_find_the_coordinator_of_their_data_directory() {
    let (coordinator, _folder) = coordinator(&["--region=eu-west-1"]).await;
    let data_dir = format!("--data-dir={}", coordinator.folder().display());
    let says = |words: &[&str]| {
        let words = words.iter().map(|word| (*word).to_owned());
        coordinator_says(&words.chain([data_dir.clone()]).collect::<Vec<_>>())
    };
    // Neither its port nor its region is given, or both wrongly.
    for more in [&[][..], &["--listen=127.0.0.1:1", "--region=us-west-2"]] {
        let create = [&["join-token", "create"], more].concat();
        assert!(says(&create).unwrap().starts_with("v1-"));
        let list = [&["join-token", "list"], more].concat();
        assert!(says(&list).unwrap().contains("ACTIVE"));
        let explained = [&["explain", "--task-definition", "none"], more].concat();
        // Answered: its signature was for the right region.
        let refused = says(&explained).unwrap_err().to_string();
        assert!(refused.contains("ClusterNotFoundException"), "{refused}");
    }
    let endpoint = coordinator.running.endpoint();
    coordinator.kill().await.unwrap();
    let refused = says(&["join-token", "list"]).unwrap_err().to_string();
    assert!(refused.contains("served there last and does not now"), "{refused}");
    assert!(refused.contains(&endpoint), "{refused}");
}

#[tokio::test]
async fn coordinator_that_stopped_is_not_looked_for() {
    let (coordinator, _folder) = coordinator(&[]).await;
    let folder = coordinator.folder().to_owned();
    let patience = std::time::Duration::from_secs(30);
    assert!(coordinator.process.terminate(patience).await.unwrap().success());
    assert!(!folder.join("running.json").exists());
    let arguments = ["join-token", "list", "--listen=127.0.0.1:1"].map(str::to_owned);
    let data_dir = format!("--data-dir={}", folder.display());
    let refused =
        coordinator_says(&[&arguments[..], &[data_dir]].concat()).unwrap_err().to_string();
    assert!(refused.contains("no coordinator serves"), "{refused}");
}
