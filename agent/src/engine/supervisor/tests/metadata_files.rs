//! Files in which containers read of themselves.

use super::*;
use crate::{engine::plan::metadata_file::VARIABLE, task::rules::MetadataFiles};

fn rig() -> Rig {
    Rig::with(|config| {
        config.metadata_files = Some(MetadataFiles {
            container_instance_arn: "arn:aws:ecs:us-east-1:0:container-instance/web/1".to_owned(),
            ..MetadataFiles::default()
        });
    })
}

/// Of the container, as it would read it.
fn file(rig: &Rig, name: &str) -> serde_json::Value {
    let all = rig.fake.containers();
    let named = |c: &&crate::runtime::fake::FakeContainer| {
        c.config.labels["com.amazonaws.ecs.container-name"] == name
    };
    let config = &all.iter().find(named).unwrap().config;
    let variable = config.environment.iter().find(|(name, _)| name == VARIABLE).unwrap();
    let bind = config.binds.iter().find(|bind| variable.1.starts_with(&bind.target)).unwrap();
    let path = variable.1.replacen(&bind.target, &bind.source, 1);
    serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap()
}

async fn ready(rig: &mut Rig, name: &str) -> serde_json::Value {
    for _ in 0..100 {
        let file = file(rig, name);
        if file["MetadataFileStatus"] == "READY" {
            return file;
        }
        rig.exchange().await;
    }
    panic!("never ready: {:?}", rig.fake.calls());
}

#[tokio::test(start_paused = true)]
async fn each_container_reads_of_itself_and_its_file_goes_with_the_task() {
    let mut rig = rig();
    rig.exchange().await;
    rig.fake.fail_next(Verb::Inspect, Fault::Fails(RuntimeError::transport("reset")));
    rig.coordinator.run(task(1), spec(vec![container("app"), container("side")]));
    rig.until_running(task(1)).await;
    for name in ["app", "side"] {
        let file = ready(&mut rig, name).await;
        assert_eq!(file["ContainerName"], name);
        let all = rig.fake.containers();
        assert!(all.iter().any(|c| file["ContainerID"] == c.id), "{file}");
    }
    // A restarted agent writes the same.
    let before = file(&rig, "app");
    rig.restart_agent().await;
    rig.idle(4).await;
    assert_eq!(file(&rig, "app"), before);

    rig.coordinator.stop(task(1));
    rig.until_stopped(task(1)).await;
    rig.pass(CLEANUP_WAIT).await;
    rig.idle(4).await;
    assert_eq!(rig.fake.containers(), []);
    let left = fs_err::read_dir(&rig.config.task_files).unwrap().count();
    assert_eq!(left, 0, "files are left");
}
