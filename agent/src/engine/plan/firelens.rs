//! FireLens: one container of a task routes the logs of others (ecs-behaviour 1.3).
//!
//! Those log by Docker's `fluentd` driver into a socket that the router listens on; what it does with
//! the lines stands in a configuration that is generated from their options. Pure. Never: a word in
//! the configuration that neither ECS nor the definition puts there.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use longshore_common::{
    boolean,
    task_definition::{
        ContainerDefinition, FirelensConfiguration, FirelensType, NetworkMode, TaskSpec,
    },
};

use crate::{
    preparation::needs::{FileContents, NeededDirectory, NeededFile, Needs, SEARCHABLE, WRITABLE},
    runtime::{Bind, BindSource, LogTarget},
    task::{intent::Intent, names, rules::Rules},
};

#[cfg(test)]
mod tests;

pub(crate) const AWSFIRELENS: &str = "awsfirelens";

const SOCKET: &str = "fluent.sock";
/// Where the router finds the socket's directory.
const SOCKET_DIRECTORY: &str = "/var/run";
const FORWARD_PORT: u16 = 24_224;
const HEALTH_PORT: u16 = 8877;
const HEALTH_TAG: &str = "firelens-healthcheck";

/// Options of a routed container that are not the output's own.
const BUFFER_LIMIT: &str = "log-driver-buffer-limit";
const EXCLUDE: &str = "exclude-pattern";
const INCLUDE: &str = "include-pattern";

/// Names of files in the task's directory.
const MAIN: &str = "main.conf";
const EXTERNAL: &str = "external.conf";

fn is_routed(container: &ContainerDefinition) -> bool {
    container.log_configuration.as_ref().is_some_and(|log| log.log_driver == AWSFIRELENS)
}

/// The router of the task, if this container logs through it.
pub(super) fn router_of<'a>(
    spec: &'a TaskSpec,
    container: &ContainerDefinition,
) -> Option<&'a ContainerDefinition> {
    let router = spec.container_definitions.iter().find(|c| c.firelens_configuration.is_some());
    router.filter(|_| is_routed(container))
}

/// Where the host keeps the socket and the configuration; removed with the task.
pub(crate) fn directory(intent: &Intent, rules: &Rules) -> Option<PathBuf> {
    let containers = &intent.definition.spec.container_definitions;
    containers
        .iter()
        .any(|container| container.firelens_configuration.is_some())
        .then(|| task_directory(intent, rules))
}

fn task_directory(intent: &Intent, rules: &Rules) -> PathBuf {
    names::task_directory(intent.key, rules)
}

fn socket_directory(intent: &Intent, rules: &Rules) -> PathBuf {
    task_directory(intent, rules).join("run")
}

/// The log that a routed container is made with.
pub(super) fn log_target(
    intent: &Intent,
    container: &ContainerDefinition,
    rules: &Rules,
) -> Option<LogTarget> {
    let log = container.log_configuration.as_ref().filter(|log| log.log_driver == AWSFIRELENS)?;
    let socket = socket_directory(intent, rules).join(SOCKET);
    let mut options = vec![
        ("fluentd-address", format!("unix://{}", socket.display())),
        // A router that is slow to come, or gone, stops no container.
        ("fluentd-async", "true".to_owned()),
        ("fluentd-sub-second-precision", "true".to_owned()),
        ("tag", format!("{}-firelens-{}", container.name, intent.key.task)),
    ];
    if let Some(limit) = log.options.get(BUFFER_LIMIT) {
        options.push(("fluentd-buffer-limit", limit.clone()));
    }
    let options = options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Some(LogTarget { driver: "fluentd".to_owned(), options })
}

/// For programs that send records themselves.
pub(super) fn environment(
    spec: &TaskSpec,
    container: &ContainerDefinition,
) -> Option<[(&'static str, String); 2]> {
    let router = router_of(spec, container)?;
    let host = match spec.network_mode() {
        NetworkMode::Bridge => router.name.clone(),
        NetworkMode::Awsvpc => "127.0.0.1".to_owned(),
        NetworkMode::Host | NetworkMode::None => return None,
    };
    Some([("FLUENT_HOST", host), ("FLUENT_PORT", FORWARD_PORT.to_string())])
}

/// What the router mounts.
pub(super) fn binds(intent: &Intent, container: &ContainerDefinition, rules: &Rules) -> Vec<Bind> {
    let Some(firelens) = &container.firelens_configuration else { return Vec::new() };
    let home = RouterPaths::of(firelens.kind);
    let bind = |source: PathBuf, target: String, read_only| Bind {
        source: source.display().to_string(),
        target,
        read_only,
        from: BindSource::Agent,
    };
    let directory = task_directory(intent, rules);
    let mut binds = vec![
        bind(socket_directory(intent, rules), SOCKET_DIRECTORY.to_owned(), false),
        bind(directory.join(MAIN), home.main.to_owned(), true),
    ];
    if matches!(Included::of(firelens), Some(Included::Object(_))) {
        binds.push(bind(directory.join(EXTERNAL), home.external.to_owned(), true));
    }
    binds
}

/// What must be there before the router is made. `Err` says what cannot be carried out.
pub(super) fn needs(
    intent: &Intent,
    container: &ContainerDefinition,
    rules: &Rules,
    needs: &mut Needs,
) -> Result<(), String> {
    let Some(firelens) = &container.firelens_configuration else { return Ok(()) };
    let directory = task_directory(intent, rules);
    let text = configuration(intent, firelens)?;
    // The router may be of any user, and makes its socket there.
    let socket = socket_directory(intent, rules);
    for (path, mode) in [(directory.clone(), SEARCHABLE), (socket, WRITABLE)] {
        needs.directories.push(NeededDirectory { path, mode });
    }
    needs.files.push(NeededFile { path: directory.join(MAIN), contents: FileContents::Text(text) });
    if let Some(Included::Object(arn)) = Included::of(firelens) {
        let contents = FileContents::Object(arn.to_owned());
        needs.files.push(NeededFile { path: directory.join(EXTERNAL), contents });
    }
    Ok(())
}

/// Where each router looks for its configuration.
struct RouterPaths {
    main: &'static str,
    external: &'static str,
}

impl RouterPaths {
    fn of(kind: FirelensType) -> Self {
        match kind {
            FirelensType::Fluentbit => RouterPaths {
                main: "/fluent-bit/etc/fluent-bit.conf",
                external: "/fluent-bit/etc/external.conf",
            },
            FirelensType::Fluentd => RouterPaths {
                main: "/fluentd/etc/fluent.conf",
                external: "/fluentd/etc/external.conf",
            },
        }
    }
}

/// A configuration of the user's own, which the generated one includes.
enum Included<'a> {
    InImage(&'a Path),
    Object(&'a str),
}

impl<'a> Included<'a> {
    fn of(firelens: &'a FirelensConfiguration) -> Option<Self> {
        let value = firelens.options.get("config-file-value")?;
        match firelens.options.get("config-file-type")?.as_str() {
            "s3" => Some(Included::Object(value)),
            _ => Some(Included::InImage(Path::new(value))),
        }
    }
}

/// What a routed container's options ask of the router.
struct RouterOutput<'a> {
    container: &'a str,
    exclude: Option<&'a str>,
    include: Option<&'a str>,
    /// Name and value; empty when the included configuration has the outputs.
    plugin: Vec<(&'a str, &'a str)>,
}

fn outputs(spec: &TaskSpec) -> Result<Vec<RouterOutput<'_>>, String> {
    let mut outputs = Vec::new();
    for container in spec.container_definitions.iter().filter(|c| is_routed(c)) {
        let Some(log) = &container.log_configuration else { continue };
        if let Some((name, _)) = log.options.iter().find(|(_, value)| value.contains('\n')) {
            return Err(format!("the log option {name}, whose value has several lines"));
        }
        let own = [BUFFER_LIMIT, EXCLUDE, INCLUDE];
        let plugin = log.options.iter().filter(|(name, _)| !own.contains(&name.as_str()));
        outputs.push(RouterOutput {
            container: &container.name,
            exclude: log.options.get(EXCLUDE).map(String::as_str),
            include: log.options.get(INCLUDE).map(String::as_str),
            plugin: plugin.map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        });
    }
    Ok(outputs)
}

fn configuration(intent: &Intent, firelens: &FirelensConfiguration) -> Result<String, String> {
    let outputs = outputs(&intent.definition.spec)?;
    let with_metadata = firelens
        .options
        .get("enable-ecs-log-metadata")
        .is_none_or(|value| boolean::parse(value).unwrap_or(true));
    let definition = &intent.definition;
    let metadata = with_metadata.then(|| {
        [
            ("ecs_cluster", intent.order.cluster.clone()),
            ("ecs_task_arn", intent.order.task_arn.clone()),
            ("ecs_task_definition", format!("{}:{}", definition.family, definition.revision)),
        ]
    });
    let home = RouterPaths::of(firelens.kind);
    let included = Included::of(firelens).map(|included| match included {
        Included::InImage(path) => path.display().to_string(),
        Included::Object(_) => home.external.to_owned(),
    });
    let parts = RouterConfiguration {
        listen: listen_address(intent.definition.spec.network_mode()),
        metadata,
        included,
        outputs,
    };
    Ok(match firelens.kind {
        FirelensType::Fluentbit => fluent_bit(&parts),
        FirelensType::Fluentd => fluentd(&parts),
    })
}

/// What a router's configuration is made of.
struct RouterConfiguration<'a> {
    /// Where records of programs and health checks are taken besides the socket.
    listen: Option<&'static str>,
    metadata: Option<RecordFields>,
    /// A path in the container. It stands after the filters and before the outputs, as ECS's agent
    /// puts it: its own filters apply to what the generated outputs send.
    included: Option<String>,
    outputs: Vec<RouterOutput<'a>>,
}

/// ECS's agent adds these inputs for bridge and awsvpc alone: on the host's network anybody who
/// reaches the host could write into the task's log.
fn listen_address(mode: NetworkMode) -> Option<&'static str> {
    match mode {
        NetworkMode::Bridge => Some("0.0.0.0"),
        NetworkMode::Awsvpc => Some("127.0.0.1"),
        NetworkMode::Host | NetworkMode::None => None,
    }
}

type RecordFields = [(&'static str, String); 3];

fn fluent_bit(parts: &RouterConfiguration) -> String {
    let mut text = String::new();
    let section = |text: &mut String, kind: &str, lines: &[(&str, &str)]| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "[{kind}]");
        for (name, value) in lines {
            let _ = writeln!(text, "    {name} {value}");
        }
        text.push('\n');
    };
    let (forward, health) = (FORWARD_PORT.to_string(), HEALTH_PORT.to_string());
    let socket = format!("{SOCKET_DIRECTORY}/{SOCKET}");
    section(&mut text, "INPUT", &[("Name", "forward"), ("unix_path", &socket)]);
    if let Some(listen) = parts.listen {
        let records = [("Name", "forward"), ("Listen", listen), ("Port", &forward)];
        section(&mut text, "INPUT", &records);
        let checks =
            [("Name", "tcp"), ("Tag", HEALTH_TAG), ("Listen", "127.0.0.1"), ("Port", &health)];
        section(&mut text, "INPUT", &checks);
    }
    for output in &parts.outputs {
        let tag = format!("{}-firelens*", output.container);
        for (verb, pattern) in [("Exclude", output.exclude), ("Regex", output.include)] {
            if let Some(pattern) = pattern {
                let rule = format!("log {pattern}");
                let lines = [("Name", "grep"), ("Match", &tag), (verb, &rule)];
                section(&mut text, "FILTER", &lines);
            }
        }
    }
    if let Some(metadata) = &parts.metadata {
        let records: Vec<String> =
            metadata.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let mut lines = vec![("Name", "record_modifier"), ("Match", "*")];
        lines.extend(records.iter().map(|record| ("Record", record.as_str())));
        section(&mut text, "FILTER", &lines);
    }
    if let Some(path) = &parts.included {
        let _ = writeln!(text, "@INCLUDE {path}\n");
    }
    if parts.listen.is_some() {
        section(&mut text, "OUTPUT", &[("Name", "null"), ("Match", HEALTH_TAG)]);
    }
    for output in parts.outputs.iter().filter(|output| !output.plugin.is_empty()) {
        let tag = format!("{}-firelens*", output.container);
        let mut lines = output.plugin.clone();
        lines.push(("Match", &tag));
        section(&mut text, "OUTPUT", &lines);
    }
    text
}

fn fluentd(parts: &RouterConfiguration) -> String {
    let mut text = String::new();
    let section = |text: &mut String, open: &str, lines: &[(&str, &str)]| {
        let name = open.split(' ').next().unwrap_or(open);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "<{open}>");
        for (name, value) in lines {
            let _ = writeln!(text, "  {name} {value}");
        }
        let _ = writeln!(text, "</{name}>\n");
    };
    let (forward, health) = (FORWARD_PORT.to_string(), HEALTH_PORT.to_string());
    let socket = format!("{SOCKET_DIRECTORY}/{SOCKET}");
    section(&mut text, "source", &[("@type", "unix"), ("path", &socket)]);
    if let Some(listen) = parts.listen {
        let records = [("@type", "forward"), ("bind", listen), ("port", &forward)];
        section(&mut text, "source", &records);
        let checks = [
            ("@type", "tcp"),
            ("tag", HEALTH_TAG),
            ("bind", "127.0.0.1"),
            ("port", &health),
            ("<parse>", "\n    @type none\n  </parse>"),
        ];
        section(&mut text, "source", &checks);
    }
    for output in &parts.outputs {
        let open = format!("filter {}-firelens**", output.container);
        for (verb, pattern) in [("exclude", output.exclude), ("regexp", output.include)] {
            if let Some(pattern) = pattern {
                let rule = format!("\n    key log\n    pattern {pattern}\n  </{verb}>");
                let begin = format!("<{verb}>");
                section(&mut text, &open, &[("@type", "grep"), (&begin, &rule)]);
            }
        }
    }
    if let Some(metadata) = &parts.metadata {
        let records: String =
            metadata.iter().map(|(name, value)| format!("\n    {name} {value}")).collect();
        let records = format!("{records}\n  </record>");
        let lines = [("@type", "record_transformer"), ("<record>", &records)];
        section(&mut text, "filter **", &lines);
    }
    if let Some(path) = &parts.included {
        let _ = writeln!(text, "@include {path}\n");
    }
    if parts.listen.is_some() {
        section(&mut text, &format!("match {HEALTH_TAG}**"), &[("@type", "null")]);
    }
    for output in parts.outputs.iter().filter(|output| !output.plugin.is_empty()) {
        let open = format!("match {}-firelens**", output.container);
        section(&mut text, &open, &output.plugin);
    }
    text
}
