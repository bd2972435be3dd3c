//! What an operator types beside `serve`: each is a call of the running coordinator's API, or reads
//! the journal's file. Prints its result on standard output, and nothing else there.

mod explain;

use std::{
    io::{ErrorKind, Write},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use longshore_common::clock::{Clock, SystemClock, Timestamp};

use crate::{
    api::longshore::{
        explain::Explanation,
        fleet::{
            CreateJoinToken, CreatedJoinToken, JoinTokens, Nothing, Recovered, ReplaceLostTasks,
            RevokeJoinToken,
        },
    },
    client::{Client, ClientError},
    credentials::{self, METRICS_TOKEN_FILE, ROOT_CREDENTIALS_FILE, WEBHOOK_TOKEN_FILE},
    journal::{
        recovery,
        sqlite::{self, DamagedHistory, DamagedRow},
    },
    pki::{Authority, CA_FILE},
    running::{Running, reached_at},
    settings::{Command, JoinTokenCommand, Settings},
};

/// Maximum number of hosts that a message names (ours).
const HOSTS_NAMED_MAX: usize = 20;

/// Runs any subcommand but `serve` and `launcher`.
pub async fn run(command: Command, settings: &Settings) -> Result<()> {
    match command {
        Command::Serve | Command::Launcher => bail!("`serve` and `launcher` are no calls"),
        Command::JoinToken(command) => join_token(command, settings).await,
        Command::Recover => {
            let recovered: Recovered =
                called(settings, client(settings)?.longshore("Recover", &Nothing {}).await)?;
            print(&recovered_text(&recovered))
        }
        Command::ReplaceLostTasks { cluster } => {
            let input = ReplaceLostTasks { cluster };
            let _: Nothing =
                called(settings, client(settings)?.longshore("ReplaceLostTasks", &input).await)?;
            print(&format!("The tasks of lost hosts of {} are replaced.", input.cluster))
        }
        Command::Explain(asked) => {
            let input = explain::input(&asked)?;
            let explanation: Explanation =
                called(settings, client(settings)?.longshore("Explain", &input).await)?;
            print(&explain::table(&explanation))
        }
        Command::Backup { to } => backup(settings, &to),
        Command::Restore { from, leave_out_damaged_history } => {
            let history = match leave_out_damaged_history {
                true => DamagedHistory::LeftOut,
                false => DamagedHistory::Refused,
            };
            restore(settings, &from, history)
        }
        Command::NewCa => new_ca(settings),
        Command::Check => check(settings),
    }
}

async fn join_token(command: JoinTokenCommand, settings: &Settings) -> Result<()> {
    let client = client(settings)?;
    match command {
        JoinTokenCommand::Create { cluster, ttl, uses } => {
            let input = CreateJoinToken { cluster, ttl_seconds: ttl.as_secs(), uses };
            let created: CreatedJoinToken =
                called(settings, client.longshore("CreateJoinToken", &input).await)?;
            print(&created.token)
        }
        JoinTokenCommand::List => {
            let list: JoinTokens =
                called(settings, client.longshore("ListJoinTokens", &Nothing {}).await)?;
            let mut table = format!(
                "{:<12}{:<10}{:<20}{:<8}{}\n",
                "ID", "STATUS", "CLUSTER", "LEFT", "EXPIRES"
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
            let _: Nothing = called(settings, client.longshore("RevokeJoinToken", &input).await)?;
            print(&format!("Revoked {}.", input.id))
        }
    }
}

fn recovered_text(recovered: &Recovered) -> String {
    let mut text = "Recovered. Hosts obey this journal again; the log names every task that is adopted. In 90 \
                    seconds services go on with what this journal holds of them: update those that were \
                    changed since."
        .to_owned();
    let silent = &recovered.hosts_not_heard;
    if !silent.is_empty() {
        let named = silent.iter().take(HOSTS_NAMED_MAX).map(String::as_str).collect::<Vec<_>>();
        text += &format!(
            "\nHosts that were not heard before ({}): {}{}. They may have seen still more: if the alarm \
             comes again, recover again.",
            silent.len(),
            named.join(", "),
            if silent.len() > HOSTS_NAMED_MAX { ", …" } else { "" }
        );
    }
    text
}

fn backup(settings: &Settings, to: &Path) -> Result<()> {
    if to.exists() {
        bail!("{} exists; name a new file", to.display());
    }
    sqlite::backup(&settings.data_dir, to)?;
    let bytes = fs_err::metadata(to)?.len();
    print(&format!(
        "Wrote {} ({} KiB). It holds no keys: keep copies of {CA_FILE}, {ROOT_CREDENTIALS_FILE}, \
         {METRICS_TOKEN_FILE} and {WEBHOOK_TOKEN_FILE} of {} elsewhere too.",
        to.display(),
        bytes / 1024,
        settings.data_dir.display()
    ))
}

fn restore(settings: &Settings, from: &Path, history: DamagedHistory) -> Result<()> {
    let directory = &settings.data_dir;
    let restored = sqlite::restore(directory, from, history)?;
    let mut text = format!(
        "{} is in the journal's place: {} hosts, {} tasks that have not stopped.",
        from.display(),
        restored.hosts,
        restored.tasks
    );
    for row in restored.left_out {
        text += &format!("\nLeft out of its history: {row}.");
    }
    if let Some(kept) = restored.kept {
        text += &format!("\nThe journal that was there is kept as {}.", kept.display());
    }
    if restored.hosts > 0 && !directory.join(CA_FILE).exists() {
        text += &format!(
            "\n{CA_FILE} is not in {}: put the copy there that you keep of it.",
            directory.display()
        );
    }
    text += "\nStart the coordinator, then go on from the backup with `longshore-coordinator recover`: \
             until then it gives no orders.";
    print(&text)
}

fn new_ca(settings: &Settings) -> Result<()> {
    let directory = &settings.data_dir;
    Authority::make(directory, sqlite::fleet_of(directory)?, SystemClock::start().wall())?;
    print(&format!(
        "Made {}. Start the coordinator, and let every host join anew: see `longshore-coordinator new-ca \
         --help`.",
        directory.join(CA_FILE).display()
    ))
}

fn check(settings: &Settings) -> Result<()> {
    let problems = sqlite::integrity_check(&settings.data_dir)?;
    if !problems.is_empty() {
        bail!("the journal is damaged:\n{}", problems.join("\n"));
    }
    let wrong = recovery::check(&settings.data_dir)?;
    if !wrong.is_empty() {
        bail!(
            "the journal is intact, but a start would make a state of it that does not agree with \
             itself. Report this with a backup of the journal:\n{}",
            wrong.join("\n")
        );
    }
    let damaged = sqlite::history_check(&settings.data_dir)?;
    if !damaged.is_empty() {
        let rows: Vec<String> = damaged.iter().map(DamagedRow::to_string).collect();
        bail!(
            "the history in the journal is damaged, and what is damaged of it is left out of answers. The \
             state that a start makes is sound. To be rid of the damage, stop the coordinator and put a \
             `backup` of this journal in its place with `restore --leave-out-damaged-history`:\n{}",
            rows.join("\n")
        );
    }
    print("The journal is intact, and the state that a start makes of it is sound.")
}

/// A client of the coordinator that serves the data directory, wherever that is and whatever its
/// region.
fn client(settings: &Settings) -> Result<Client> {
    let path = settings.data_dir.join(ROOT_CREDENTIALS_FILE);
    let credentials = credentials::load(&path).with_context(|| {
        format!(
            "no root key of a coordinator at {}: run this where it runs, as its user, with its --data-dir",
            path.display()
        )
    })?;
    let (endpoint, region) = match Running::read(&settings.data_dir)? {
        Some(running) => (running.endpoint(), running.region),
        // One that is stopped, or of a release that did not tell.
        None => (reached_at(settings.listen).to_string(), settings.identity.region.clone()),
    };
    Ok(Client::new(endpoint, region, credentials, Arc::new(SystemClock::start())))
}

/// Says of a call that did not get through where it went and what to do.
fn called<T>(settings: &Settings, result: Result<T, ClientError>) -> Result<T> {
    result.map_err(|error| {
        let data_dir = settings.data_dir.display();
        let told = matches!(Running::read(&settings.data_dir), Ok(Some(_)));
        let advice = match &error {
            ClientError::Unreachable { .. } if told => Some(format!(
                "the coordinator of {data_dir} served there last and does not now: start it, or name \
                 another with --data-dir"
            )),
            ClientError::Unreachable { .. } => Some(format!(
                "no coordinator serves {data_dir}: start it, or name another with --data-dir"
            )),
            _ => None,
        };
        match advice {
            Some(advice) => anyhow::Error::from(error).context(advice),
            None => error.into(),
        }
    })
}

fn print(text: &str) -> Result<()> {
    print_to(&mut std::io::stdout(), text)
}

/// Whoever reads it may have read enough, as `head` has: what was asked for is done nonetheless.
fn print_to(out: &mut impl Write, text: &str) -> Result<()> {
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output cannot be written"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails as standard output does when nobody reads it, or as a full disk.
    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn recover_names_hosts_that_were_not_heard() {
        let text = |hosts| recovered_text(&Recovered { hosts_not_heard: hosts });
        assert!(!text(Vec::new()).contains("not heard"));
        let many = text((0..30).map(|host| format!("host-{host}")).collect());
        assert!(many.contains("not heard before (30): host-0, "), "{many}");
        assert!(many.contains("host-19, …. They"), "{many}");
    }

    #[test]
    fn reader_that_has_enough_makes_no_command_fail() {
        print_to(&mut Failing(ErrorKind::BrokenPipe), "two\nlines").unwrap();
        assert!(print_to(&mut Failing(ErrorKind::StorageFull), "text").is_err());
    }
}
