//! Prometheus reads what the coordinator tells, the table in the documentation says all of it, and the
//! example rules are rules.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use longshore_harness::{
    command::run,
    namespaces::Network,
    process::{Launch, Process},
    slot::Slot,
};
use longshore_tests::bare_coordinator::BareCoordinator;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::coordinator;

/// Prometheus and the coordinator's own interval take some seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(300);

fn docs(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/operating").join(file)
}

/// The names of the table's first column.
fn documented() -> BTreeSet<String> {
    let text = fs_err::read_to_string(docs("metrics.md")).unwrap();
    let cells =
        text.lines().filter_map(|line| line.strip_prefix("| `longshore_")?.split('`').next());
    cells.map(|name| format!("longshore_{name}")).collect()
}

/// Families, as the text names them.
fn families(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    types.map(str::to_owned).collect()
}

async fn some_calls(coordinator: &BareCoordinator) {
    let ecs = coordinator.ecs().unwrap();
    ecs.call("CreateCluster", json!({})).await.unwrap();
    let container = json!({ "name": "main", "image": "nothing", "memory": 8 });
    let definition = json!({ "family": "web", "containerDefinitions": [container] });
    ecs.call("RegisterTaskDefinition", definition).await.unwrap();
    let service = json!({ "serviceName": "web", "taskDefinition": "web", "desiredCount": 3 });
    ecs.call("CreateService", service).await.unwrap();
    ecs.call("DescribeServices", json!({ "services": ["none"] })).await.unwrap();
    ecs.call("DeleteService", json!({ "service": "none" })).await.unwrap_err();
}

#[tokio::test]
async fn prometheus_scrapes_what_the_documentation_names() {
    let (coordinator, folder) = coordinator(&["--metrics-per-service"]).await;
    some_calls(&coordinator).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let configuration = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         rule_files: ['{}']\n\
         scrape_configs:\n\
         - job_name: longshore\n\
         \x20 authorization: {{credentials_file: {}}}\n\
         \x20 static_configs: [{{targets: ['{}']}}]\n",
        docs("alerts.yml").display(),
        coordinator.folder().join("metrics-token").display(),
        coordinator.running.endpoint(),
    );
    let file = folder.path().join("prometheus.yml");
    fs_err::write(&file, configuration).unwrap();
    let _prometheus = Process::spawn(Launch {
        name: "prometheus".to_owned(),
        program: "prometheus".into(),
        arguments: vec![
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", folder.path().join("tsdb").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ],
        environment: Vec::new(),
        host: None,
        folder: folder.path(),
        notifies: false,
        echo: None,
    })
    .await
    .unwrap();
    let query = |query: &str| -> Vec<Value> {
        let url = format!("http://127.0.0.1:{port}/api/v1/query");
        let query = format!("query={query}");
        let said = run("curl", &["-fsSG", &url, "--data-urlencode", &query]).unwrap_or_default();
        let said: Value = serde_json::from_str(&said).unwrap_or_default();
        said["data"]["result"].as_array().cloned().unwrap_or_default()
    };
    let value = |text: &str| {
        let found = query(text);
        found.first().and_then(|one| one["value"][1].as_str()?.parse::<f64>().ok())
    };
    let told = async {
        for (text, expected) in [
            ("up{job=\"longshore\"}", 1.0),
            ("longshore_services{cluster=\"default\"}", 1.0),
            ("longshore_services_desired_tasks{cluster=\"default\"}", 3.0),
            ("longshore_service_desired_tasks{cluster=\"default\",service=\"web\"}", 3.0),
            ("longshore_service_running_tasks{cluster=\"default\",service=\"web\"}", 0.0),
            ("sum(longshore_deployments{cluster=\"default\"})", 1.0),
            ("longshore_hosts{cluster=\"default\",state=\"lost\"}", 0.0),
            ("longshore_tasks{cluster=\"default\",status=\"RUNNING\"}", 0.0),
            ("longshore_api_requests_total{operation=\"CreateCluster\",outcome=\"ok\"}", 1.0),
            (
                "longshore_api_requests_total{operation=\"DeleteService\",outcome=\"ServiceNotFoundException\"}",
                1.0,
            ),
            ("longshore_api_request_seconds_count{operation=\"CreateCluster\"}", 1.0),
            ("longshore_journal_lag_batches", 0.0),
        ] {
            while value(text) != Some(expected) {
                sleep(LOOK_EVERY).await;
            }
        }
    };
    let told = timeout(PATIENCE, told).await;
    let text = coordinator.ecs().unwrap().metrics(coordinator.folder()).await.unwrap();
    told.unwrap_or_else(|_| panic!("not told in time:\n{text}"));
    assert!(value("longshore_journal_append_seconds_count").unwrap() > 0.0);
    assert!(value("longshore_journal_bytes").unwrap() > 0.0);
    // All example rules are loaded, and none fires here but for what is so.
    let url = format!("http://127.0.0.1:{port}/api/v1/rules");
    let rules: Value = serde_json::from_str(&run("curl", &["-fsS", &url]).unwrap()).unwrap();
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap().clone();
    assert!(rules.len() >= 10, "{} rules", rules.len());
    let ill: Vec<&Value> = rules.iter().filter(|rule| rule["health"] == "err").collect();
    assert!(ill.is_empty(), "{ill:#?}");

    let (told, documented) = (families(&text), documented());
    let undocumented: Vec<_> = told.difference(&documented).collect();
    assert!(undocumented.is_empty(), "not in docs/operating/metrics.md: {undocumented:?}");
    let known = |name: &&String| told.contains(*name) || LATER.contains(&name.as_str());
    let untold: Vec<_> = documented.iter().filter(|name| !known(name)).collect();
    assert!(untold.is_empty(), "in docs/operating/metrics.md and never told: {untold:?}");
}

/// Families that a coordinator without hosts has nothing to tell of yet.
const LATER: [&str; 12] = [
    "longshore_api_connections_refused_total",
    "longshore_capacity_provider_instances_in_service",
    "longshore_capacity_provider_instances_launching",
    "longshore_capacity_provider_instances_needed",
    "longshore_capacity_provider_reservation_percent",
    "longshore_capacity_provider_tasks_waiting",
    "longshore_identity_conflicts_total",
    "longshore_joins_refused_total",
    "longshore_journal_checkpoint_seconds",
    "longshore_order_departure_seconds",
    "longshore_polls_total",
    "longshore_tasks_stopped_total",
];

#[test]
fn example_alerts_are_rules_over_metrics_that_are_documented() {
    let file = docs("alerts.yml");
    run("promtool", &["check", "rules", &file.display().to_string()]).unwrap();
    let documented = documented();
    let text = fs_err::read_to_string(&file).unwrap();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_name(c)).filter(|word| word.starts_with("longshore_"));
    for word in words {
        let of_histogram =
            ["_bucket", "_count", "_sum"].iter().find_map(|end| word.strip_suffix(end));
        let known =
            documented.contains(word) || of_histogram.is_some_and(|w| documented.contains(w));
        assert!(known, "{word} is not documented");
    }
}

#[tokio::test]
async fn this_machine_is_known_by_either_version_of_ip() {
    let (coordinator, _folder) = coordinator(&["--listen=[::]:0"]).await;
    let port = coordinator.running.api.port();
    for host in ["127.0.0.1", "[::1]"] {
        let url = format!("http://{host}:{port}/metrics");
        run("curl", &["-fsS", "-o", "/dev/null", &url]).unwrap();
    }
    // As a subcommand calls it.
    assert_eq!(coordinator.running.endpoint(), format!("127.0.0.1:{port}"));
    coordinator.ecs().unwrap().call("ListClusters", json!({})).await.unwrap();
}

#[tokio::test]
async fn metrics_of_another_machine_need_the_token() {
    let slot = Slot::take().unwrap();
    let network = Network::create(&slot, 0).unwrap();
    let listen = format!("--listen={}:0", network.gateway());
    let (coordinator, _folder) = coordinator(&[&listen]).await;
    let url = format!("{}/metrics", coordinator.endpoint());
    let status = |more: &[&str]| {
        let arguments = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", &url];
        run("curl", &[&arguments[..], more].concat()).unwrap()
    };
    assert_eq!(status(&[]), "401");
    assert_eq!(status(&["-H", "authorization: Bearer a-token-of-nobody-here"]), "401");
    let token = fs_err::read_to_string(coordinator.folder().join("metrics-token")).unwrap();
    assert_eq!(status(&["-H", &format!("authorization: Bearer {}", token.trim())]), "200");
    let alertmanager =
        fs_err::read_to_string(coordinator.folder().join("alertmanager-token")).unwrap();
    assert_eq!(status(&["-H", &format!("authorization: Bearer {}", alertmanager.trim())]), "401");
}
