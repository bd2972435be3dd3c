use longshore_common::resources::Transport;

use super::*;
use crate::{
    preparation::needs::{PortRange, SEARCHABLE},
    runtime::PublishedPort,
};

fn store(files: &[(&str, &str)]) -> (tempfile::TempDir, Preparation) {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = root.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    let preparation =
        Preparation::new(Some(Objects::Directory(root.path().to_owned())), MountHelper::default());
    (root, preparation)
}

fn files(keys: &[&str]) -> Needs {
    let arn = |key: &&str| format!("arn:aws:s3:::config/{key}");
    Needs { environment_files: keys.iter().map(arn).collect(), ..Needs::default() }
}

#[tokio::test]
async fn definition_wins_over_environment_files_and_first_file_over_next() {
    let (_root, preparation) =
        store(&[("config/a.env", "OWN=file\nBOTH=a\n"), ("config/b.env", "BOTH=b\nLAST=b\n")]);
    let own = ("OWN".to_owned(), "definition".to_owned());
    let mut config = ContainerConfig { environment: vec![own], ..ContainerConfig::default() };
    preparation.prepare(&files(&["a.env", "b.env"]), &mut config).await.unwrap();
    let set: Vec<String> =
        config.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(set, ["OWN=definition", "BOTH=a", "LAST=b"]);
}

#[tokio::test]
async fn a_file_that_cannot_be_had_is_named_in_ecss_words() {
    let (_root, preparation) = store(&[]);
    let mut config = ContainerConfig::default();
    let mut refused = async |needs: Needs, preparation: &Preparation| {
        let error = preparation.prepare(&needs, &mut config).await.unwrap_err();
        crate::runtime::ecs_reason(crate::runtime::Aim::Create, &error)
    };
    let missing = refused(files(&["a.env"]), &preparation).await;
    let wanted = "ResourceInitializationError: arn:aws:s3:::config/a.env cannot be read: ";
    assert!(missing.starts_with(wanted), "{missing}");
    let outside = refused(files(&["../../etc/passwd.env"]), &preparation).await;
    assert!(outside.ends_with("its name leads out of the directory"), "{outside}");
    let nowhere = refused(files(&["a.env"]), &Preparation::default()).await;
    assert!(nowhere.ends_with("setting s3 names no store to read objects from"), "{nowhere}");
}

#[tokio::test]
async fn a_range_of_ports_is_published_in_a_row_and_other_ports_stay() {
    let port = |container_port| PublishedPort {
        container_port,
        transport: Transport::Tcp,
        host_port: None,
    };
    let mut config =
        ContainerConfig { ports: [80, 8000, 8001, 8002].map(port).into(), ..Default::default() };
    let range = PortRange { first: 8000, last: 8002, transport: Transport::Tcp };
    let needs = Needs { port_ranges: vec![range], ..Needs::default() };
    Preparation::default().prepare(&needs, &mut config).await.unwrap();
    let host: Vec<Option<u16>> = config.ports.iter().map(|port| port.host_port).collect();
    let first = host[1].unwrap();
    assert_eq!(host, [None, Some(first), Some(first + 1), Some(first + 2)]);
}

#[tokio::test]
async fn files_and_directories_are_there_before_the_container() {
    let (root, preparation) = store(&[("config/extra.conf", "[OUTPUT]\n")]);
    let directory = root.path().join("router");
    let file = |name: &str, contents| NeededFile { path: directory.join(name), contents };
    let needs = Needs {
        directories: vec![NeededDirectory { path: directory.clone(), mode: SEARCHABLE }],
        files: vec![
            file("main.conf", FileContents::Text("@INCLUDE extra.conf\n".to_owned())),
            file("extra.conf", FileContents::Object("arn:aws:s3:::config/extra.conf".to_owned())),
        ],
        ..Needs::default()
    };
    preparation.prepare(&needs, &mut ContainerConfig::default()).await.unwrap();
    let read = |name: &str| fs_err::read_to_string(directory.join(name)).unwrap();
    assert_eq!(
        (read("main.conf").as_str(), read("extra.conf").as_str()),
        ("@INCLUDE extra.conf\n", "[OUTPUT]\n")
    );
}
