//! Spot instances: EC2 says two minutes before it takes one away, and the coordinator hears of it, so
//! that services have their tasks elsewhere by then.
//!
//! Never: a conclusion from a question that was not answered.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::ec2;
use crate::settings::Settings;

/// Interval of questions for a notice: EC2 gives two minutes of notice, and advises five seconds.
const ASK_EVERY: Duration = Duration::from_secs(5);
const NOTICE: &str = "latest/meta-data/spot/instance-action";

/// The notice, as far as it counts.
#[derive(Debug, Deserialize)]
struct InstanceAction {
    action: String,
    #[serde(default)]
    time: String,
}

/// Tells whether there is a notice, where the settings want it and this is EC2's machine.
pub(crate) async fn watch(
    settings: &Settings,
    leaving: watch::Sender<bool>,
    shutdown: CancellationToken,
) {
    if !settings.drain_on_spot_interruption {
        return;
    }
    if !ec2::is_asked(settings) {
        return tracing::warn!(
            "notices of interruption are not watched for: this is no machine of EC2's, or \
             --ec2-metadata is off"
        );
    }
    ask(&settings.ec2_metadata_endpoint, ASK_EVERY, leaving, shutdown).await;
}

async fn ask(
    endpoint: &str,
    every: Duration,
    leaving: watch::Sender<bool>,
    shutdown: CancellationToken,
) {
    let mut asks = tokio::time::interval(every);
    asks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(asks.tick()).await.is_some() {
        let asked = ec2::get(endpoint, NOTICE);
        let Some(asked) = shutdown.run_until_cancelled(asked).await else { return };
        match asked {
            Ok(Some(notice)) => match serde_json::from_slice::<InstanceAction>(&notice) {
                Ok(InstanceAction { action, time }) => {
                    if is_news(&leaving, true) {
                        tracing::warn!(
                            action,
                            time,
                            "EC2 is about to take this Spot instance away: the coordinator drains it"
                        );
                    }
                }
                Err(error) => tracing::debug!(%error, "a notice of EC2's is not understood"),
            },
            // A machine that hibernated and came back has its last notice behind it.
            Ok(None) => {
                if is_news(&leaving, false) {
                    tracing::info!("EC2's notice of interruption is gone: this instance stays");
                }
            }
            Err(error) => {
                let error = longshore_common::telemetry::chain(&error);
                tracing::debug!(error, "EC2 cannot be asked for a notice of interruption");
            }
        }
    }
}

fn is_news(leaving: &watch::Sender<bool>, now: bool) -> bool {
    leaving.send_if_modified(|told| std::mem::replace(told, now) != now)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    fn answer(status: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// Neither an absent notice nor a failure ends the watch.
    #[tokio::test]
    async fn notice_of_interruption_is_told_while_there_is_one() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/", listener.local_addr().unwrap());
        let token = answer("200 OK", "t");
        let answers = [
            token.clone(),
            answer("404 Not Found", ""),
            token.clone(),
            answer("500 Internal Server Error", ""),
            token.clone(),
            answer("200 OK", "<html>"),
            token.clone(),
            answer("200 OK", r#"{"action":"hibernate","time":"2026-11-28T20:00:00Z"}"#),
            token.clone(),
            answer("500 Internal Server Error", ""),
            token,
            answer("404 Not Found", ""),
        ];
        let (leaving, mut leaves) = watch::channel(false);
        let end = CancellationToken::new();
        let service = async {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let line = String::from_utf8(request).unwrap();
                asked.push(line.lines().next().unwrap().to_owned());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        };
        let told = async {
            leaves.wait_for(|leaves| *leaves).await.unwrap();
            leaves.wait_for(|leaves| !leaves).await.unwrap();
            end.cancel();
        };
        let asking = ask(&endpoint, Duration::from_millis(1), leaving, end.clone());
        let (asked, (), ()) = tokio::join!(service, told, asking);
        let notices = asked.iter().skip(1).step_by(2);
        for notice in notices {
            assert_eq!(notice, "GET /latest/meta-data/spot/instance-action HTTP/1.1");
        }
    }
}
