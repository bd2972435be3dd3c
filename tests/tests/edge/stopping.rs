//! A program that is told to stop ends in peace from its first sign of life on: whoever has seen a line
//! of its log, or has heard that it is ready, may answer with SIGTERM.

use std::{path::Path, time::Duration};

use longshore_harness::{
    binaries::{self, binary},
    process::{Launch, Process},
};

const PATIENCE: Duration = Duration::from_secs(30);
/// A network and a /run of its own, for what changes the host that it runs on.
const ALONE: [&str; 6] =
    ["--net", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /run && exec \"$@\"", "sh"];
const NOWHERE: &str = "--coordinator=127.0.0.1:1";
const TOKEN: &str =
    "v1-00wfesa7hnndpa75gyfnj79sen6tckcay4346207nduncfp7gh-04a1ykcf8nmwy3nrgd5nahg5e";

/// A sign of life that is waited for.
#[derive(Clone, Copy, Debug)]
enum Sign {
    /// So many lines of its log.
    Lines(usize),
    Ready,
}

/// How it ended when it was told to after this sign, unless in peace.
async fn ended_after(sign: Sign, program: &str, arguments: &[&str]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs_err::create_dir(&data).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs_err::set_permissions(&data, private).unwrap();
    let mut process = Process::spawn(launch(folder.path(), program, arguments)).await.unwrap();
    match sign {
        Sign::Ready => process.ready().await.unwrap(),
        Sign::Lines(lines) => {
            let mut left = lines;
            let counted = |_: &str| {
                left -= 1;
                (left == 0).then_some(())
            };
            process.log().clone().wait_for(0, PATIENCE, counted).await.unwrap();
        }
    }
    let log = process.log().clone();
    let status = process.terminate(PATIENCE).await.unwrap();
    (!status.success()).then(|| format!("{program}, {sign:?}: {status}\n{}", log.tail()))
}

fn launch<'a>(folder: &'a Path, program: &str, arguments: &[&str]) -> Launch<'a> {
    let program = binary(program).unwrap().display().to_string();
    let folder_is = folder.display().to_string();
    let arguments = arguments.iter().map(|argument| argument.replace("FOLDER", &folder_is));
    Launch {
        name: "program".to_owned(),
        program: "unshare".into(),
        arguments: ALONE.map(str::to_owned).into_iter().chain([program]).chain(arguments).collect(),
        environment: Vec::new(),
        host: None,
        folder,
        notifies: true,
        echo: None,
    }
}

async fn ends_in_peace(program: &str, arguments: &[&str], lines: usize, is_ready: bool) {
    let signs = (1..=lines).map(Sign::Lines).chain(is_ready.then_some(Sign::Ready));
    let mut failed = Vec::new();
    for sign in signs {
        failed.extend(ended_after(sign, program, arguments).await);
    }
    assert!(failed.is_empty(), "{}", failed.join("\n---\n"));
}

#[tokio::test]
async fn coordinator_ends_in_peace_at_each_moment_of_its_start() {
    let arguments = [
        "serve",
        "--data-dir=FOLDER/data",
        "--listen=127.0.0.1:0",
        "--join-listen=127.0.0.1:0",
        "--advertise=127.0.0.1",
    ];
    ends_in_peace(binaries::COORDINATOR, &arguments, 4, true).await;
}

#[tokio::test]
async fn launcher_ends_in_peace_at_each_moment_of_its_start() {
    ends_in_peace(binaries::COORDINATOR, &["launcher", "--data-dir=FOLDER/data"], 1, true).await;
}

#[tokio::test]
async fn agent_that_joins_ends_in_peace_at_each_moment() {
    let arguments = [
        "--data-dir=FOLDER/data",
        NOWHERE,
        &format!("--join-token={TOKEN}"),
        "--docker=unix://FOLDER/docker.sock",
    ];
    ends_in_peace(binaries::AGENT, &arguments, 3, false).await;
}

#[tokio::test]
async fn network_helper_ends_in_peace_at_each_moment_of_its_start() {
    let arguments = ["network", NOWHERE, "--docker=unix://FOLDER/docker.sock"];
    ends_in_peace(binaries::AGENT, &arguments, 1, true).await;
}

#[tokio::test]
async fn mount_helper_ends_in_peace_at_each_moment_of_its_start() {
    let arguments = ["volumes", NOWHERE, "--volumes-socket=FOLDER/data/socket"];
    ends_in_peace(binaries::AGENT, &arguments, 1, true).await;
}
