//! `POST /alertmanager`: Prometheus Alertmanager's webhook (version 4) sets alarms.
//!
//! Whoever shows the token of the data directory may set any alarm's state, and nothing else. An
//! alert names its alarm by a label; alarms are never made here.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use http::StatusCode;
use longshore_core::{
    Command, Rejection,
    command::AlarmCommand,
    model::alarm::{AlarmName, AlarmValue, SetAlarmState},
    rejection::AlarmRejection,
};
use serde::{Deserialize, Serialize};

use crate::{
    api::cloudwatch::alarms::STATE_REASON_CHARS_MAX,
    driver::{Handle, Refused},
    edge::webhook::{Notified, Webhook},
};

/// Labels that name the alarm, the first one that an alert has; the last is in every alert of
/// Prometheus.
const LABELS: [&str; 3] = ["alarmname", "longshore_alarm", "alertname"];
/// The version of the webhook's format.
const VERSION: &str = "4";
/// Maximum number of alerts in one notification (ours).
const ALERTS_MAX: usize = 10_000;
/// Maximum number of characters of an unknown name that are repeated (ours).
const QUOTED_CHARS_MAX: usize = 255;

/// What became of a notification: the answer's status and body.
#[derive(Debug)]
struct Outcome {
    status: StatusCode,
    report: Report,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Alarms whose state is now what the notification says.
    set: BTreeSet<String>,
    /// Names that belong to no alarm.
    unknown: BTreeSet<String>,
    /// Alerts without a label that names an alarm.
    unnamed: usize,
}

/// The members that matter; Alertmanager's format has more, and may grow.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Notification {
    version: String,
    #[serde(default)]
    truncated_alerts: u64,
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    status: Status,
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Firing,
    Resolved,
}

pub(crate) fn webhook() -> Webhook {
    Webhook {
        path: "/alertmanager",
        name: "Alertmanager",
        notify: |driver, body| Box::pin(async move { notify(driver, body).await.into() }),
        refuse: |status, why| Outcome::refused(status, why).into(),
    }
}

impl From<Outcome> for Notified {
    fn from(Outcome { status, report }: Outcome) -> Self {
        let report = serde_json::to_string(&report).expect("names and counts are always written");
        Notified { status, report }
    }
}

/// Sets what a notification names.
async fn notify(driver: &Handle, body: &[u8]) -> Outcome {
    let notification = match read(body) {
        Ok(notification) => notification,
        Err(why) => return Outcome::refused(StatusCode::BAD_REQUEST, why),
    };
    let (sets, mut report) = sets(notification);
    let setting = sets.into_iter().map(|set| async move {
        let name = set.name.to_string();
        (name, driver.submit(Command::Alarm(AlarmCommand::SetAlarmState(set)), |_, _| ()).await)
    });
    for (name, result) in join_all(setting).await {
        match result {
            Ok(()) => drop(report.set.insert(name)),
            Err(Refused::Rejected(Rejection::Alarm(AlarmRejection::AlarmsNotFound(_)))) => {
                report.unknown.insert(name);
            }
            // Alertmanager tries again, with all alerts.
            Err(refused) => {
                return Outcome::refused(StatusCode::SERVICE_UNAVAILABLE, refused.to_string());
            }
        }
    }
    if report.unknown.is_empty() && report.unnamed == 0 {
        return Outcome { status: StatusCode::OK, report };
    }
    report.message = Some(format!(
        "Some alerts name no alarm. Make the alarm with PutMetricAlarm, name it in the label {}, \
         or route such alerts elsewhere. What is listed under `set` is set.",
        LABELS.join(" or ")
    ));
    tracing::warn!(
        unknown = ?report.unknown,
        unnamed = report.unnamed,
        "Alertmanager named alarms that do not exist"
    );
    Outcome { status: StatusCode::NOT_FOUND, report }
}

impl Outcome {
    fn refused(status: StatusCode, why: impl Into<String>) -> Self {
        Outcome { status, report: Report { message: Some(why.into()), ..Report::default() } }
    }
}

fn read(body: &[u8]) -> Result<Notification, String> {
    let notification: Notification = serde_json::from_slice(body)
        .map_err(|error| format!("This is not a notification of Alertmanager: {error}."))?;
    if notification.version != VERSION {
        return Err(format!("The notification's version must be \"{VERSION}\"."));
    }
    if notification.truncated_alerts > 0 {
        return Err("The notification leaves alerts out, so that an alarm could seem to be OK \
                    which is not: set max_alerts to 0 for this webhook."
            .to_owned());
    }
    if notification.alerts.len() > ALERTS_MAX {
        return Err(format!("The notification has more than {ALERTS_MAX} alerts."));
    }
    Ok(notification)
}

/// One change for each alarm: several alerts may name the same one, which is in ALARM while any of
/// them fires.
fn sets(notification: Notification) -> (Vec<SetAlarmState>, Report) {
    let mut report = Report::default();
    let mut sets: BTreeMap<AlarmName, SetAlarmState> = BTreeMap::new();
    for alert in notification.alerts {
        let label = LABELS.iter().find_map(|label| alert.labels.get(*label));
        let Some(label) = label.filter(|name| !name.is_empty()) else {
            report.unnamed += 1;
            continue;
        };
        let Ok(name) = label.parse::<AlarmName>() else {
            report.unknown.insert(label.chars().take(QUOTED_CHARS_MAX).collect());
            continue;
        };
        let fires = sets.get(&name).is_some_and(|set| set.value == AlarmValue::Alarm);
        if !fires {
            let set = alert.set(name.clone());
            sets.insert(name, set);
        }
    }
    (sets.into_values().collect(), report)
}

impl Alert {
    fn set(&self, name: AlarmName) -> SetAlarmState {
        let (value, verb) = match self.status {
            Status::Firing => (AlarmValue::Alarm, "fires"),
            Status::Resolved => (AlarmValue::Ok, "is resolved"),
        };
        let alert = self.labels.get("alertname").map_or(name.as_str(), String::as_str);
        let said = ["summary", "description"].iter().find_map(|key| self.annotations.get(*key));
        let said = said.map(|said| format!(": {said}")).unwrap_or_default();
        let reason = format!("Alertmanager: {alert} {verb}{said}");
        let reason = reason.chars().take(STATE_REASON_CHARS_MAX).collect();
        SetAlarmState { name, value, reason, reason_data: None }
    }
}
