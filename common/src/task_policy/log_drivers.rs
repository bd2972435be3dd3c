//! Options of log drivers by which the container engine connects somewhere, or reads a file: it does
//! so as root, in the host's network.

use crate::task_definition::LogConfiguration;

/// By driver, as Docker documents them.
const REACHING: [(&str, &[&str]); 4] = [
    ("syslog", &["syslog-address", "syslog-tls-ca-cert", "syslog-tls-cert", "syslog-tls-key"]),
    ("gelf", &["gelf-address"]),
    ("fluentd", &["fluentd-address"]),
    ("splunk", &["splunk-url", "splunk-capath"]),
];
/// Log drivers that connect although no option says where to.
const ALWAYS: [&str; 3] = ["fluentd", "gelf", "splunk"];
/// Drivers that lead nowhere but into Docker's own data, the host's log, or through this agent.
const OWN: [&str; 6] = ["json-file", "local", "none", "journald", "awslogs", "awsfirelens"];

/// What of it makes the engine connect or read, if anything.
pub(super) fn reaches(log: &LogConfiguration) -> Option<String> {
    let driver = log.log_driver.as_str();
    if OWN.contains(&driver) {
        return None;
    }
    let Some((_, options)) = REACHING.iter().find(|(name, _)| *name == driver) else {
        return Some(format!("the log driver {driver}"));
    };
    if let Some(option) = log.options.keys().find(|name| options.contains(&name.as_str())) {
        return Some(format!("the option {option}"));
    }
    ALWAYS.contains(&driver).then(|| format!("the log driver {driver}, which connects"))
}
