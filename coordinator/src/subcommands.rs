//! What an operator types beside `serve`: each is a call of the running coordinator's API, or reads
//! the journal's file. Prints its result on standard output, and nothing else there.

mod explain;

use std::{io::Write, path::Path, sync::Arc};

use anyhow::{Context, Result, bail};
use longshore_common::clock::{SystemClock, Timestamp};

use crate::{
    api::{
        credentials::{self, ROOT_CREDENTIALS_FILE},
        explain::Explanation,
        fleet::{
            CreateJoinToken, CreatedJoinToken, JoinTokens, Nothing, ReplaceLostTasks,
            RevokeJoinToken,
        },
    },
    client::Client,
    journal::sqlite,
    settings::{Command, JoinTokenCommand, Settings},
};

/// Runs any subcommand but `serve` and `launcher`.
pub async fn run(command: Command, settings: &Settings) -> Result<()> {
    match command {
        Command::Serve | Command::Launcher => bail!("`serve` and `launcher` are no calls"),
        Command::JoinToken(command) => join_token(command, settings).await,
        Command::Recover => {
            let _: Nothing = client(settings)?.longshore("Recover", &Nothing {}).await?;
            print(
                "Recovered. Hosts obey this journal again; the log names every task that is adopted.",
            )
        }
        Command::ReplaceLostTasks { cluster } => {
            let input = ReplaceLostTasks { cluster };
            let _: Nothing = client(settings)?.longshore("ReplaceLostTasks", &input).await?;
            print(&format!("The tasks of lost hosts of {} are replaced.", input.cluster))
        }
        Command::Explain(asked) => {
            let input = explain::input(&asked)?;
            let explanation: Explanation = client(settings)?.longshore("Explain", &input).await?;
            print(&explain::table(&explanation))
        }
        Command::Backup { to } => backup(settings, &to),
        Command::Check => check(settings),
    }
}

async fn join_token(command: JoinTokenCommand, settings: &Settings) -> Result<()> {
    let client = client(settings)?;
    match command {
        JoinTokenCommand::Create { cluster, ttl, uses } => {
            let input = CreateJoinToken { cluster, ttl_seconds: ttl.as_secs(), uses };
            let created: CreatedJoinToken = client.longshore("CreateJoinToken", &input).await?;
            print(&created.token)
        }
        JoinTokenCommand::List => {
            let list: JoinTokens = client.longshore("ListJoinTokens", &Nothing {}).await?;
            let mut table = format!(
                "{:<12}{:<10}{:<20}{:<8}{}\n",
                "ID", "STATUS", "CLUSTER", "USES", "EXPIRES"
            );
            for token in list.join_tokens {
                let uses = token.uses_left.map_or("any".to_owned(), |uses| uses.to_string());
                let cluster = token.cluster.as_deref().unwrap_or("any");
                let expires = Timestamp((token.expires_at * 1000.0) as u64);
                table += &format!(
                    "{:<12}{:<10}{cluster:<20}{uses:<8}{expires}\n",
                    token.id, token.status
                );
            }
            print(table.trim_end())
        }
        JoinTokenCommand::Revoke { id } => {
            let input = RevokeJoinToken { id };
            let _: Nothing = client.longshore("RevokeJoinToken", &input).await?;
            print(&format!("Revoked {}.", input.id))
        }
    }
}

fn backup(settings: &Settings, to: &Path) -> Result<()> {
    if to.exists() {
        bail!("{} exists; name a new file", to.display());
    }
    sqlite::backup(&settings.data_dir, to)?;
    let bytes = fs_err::metadata(to)?.len();
    print(&format!("Wrote {} ({} KiB).", to.display(), bytes / 1024))
}

fn check(settings: &Settings) -> Result<()> {
    let problems = sqlite::integrity_check(&settings.data_dir)?;
    if !problems.is_empty() {
        bail!("the journal is damaged:\n{}", problems.join("\n"));
    }
    print("The journal is intact.")
}

fn client(settings: &Settings) -> Result<Client> {
    let path = settings.data_dir.join(ROOT_CREDENTIALS_FILE);
    let credentials = credentials::load(&path).with_context(|| {
        format!(
            "no root key of a coordinator at {}: run this where it runs, as its user, with its --data-dir",
            path.display()
        )
    })?;
    let host = match settings.listen.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        ip => ip.to_string(),
    };
    let endpoint = format!("{host}:{}", settings.listen.port());
    let region = settings.identity.region.clone();
    Ok(Client::new(endpoint, region, credentials, Arc::new(SystemClock::start())))
}

fn print(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("standard output cannot be written")
}
