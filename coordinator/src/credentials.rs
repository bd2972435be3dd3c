//! The root key and the tokens that the first start makes: their files in the data directory.
//!
//! A secret leaves this module only as a signing key. It is never logged: what is logged is the
//! path of the file that holds it.

use std::{
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use fs_err::os::unix::fs::OpenOptionsExt;
use longshore_common::secret::Secret;

/// The root key's file in the data directory, readable by its owner only: an AWS shared
/// credentials file, so that `AWS_SHARED_CREDENTIALS_FILE` can name it.
pub const ROOT_CREDENTIALS_FILE: &str = "root-credentials";

/// The file of the token that Alertmanager shows, and nothing else in it, so that Alertmanager's
/// `credentials_file` can name a copy.
pub const WEBHOOK_TOKEN_FILE: &str = "alertmanager-token";

/// The file of the token that Prometheus shows, and nothing else in it.
pub const METRICS_TOKEN_FILE: &str = "metrics-token";

/// Number of random characters of 5 bits after a key id's prefix (as in AWS's key ids).
const KEY_ID_RANDOM_CHARS: usize = 16;
/// Number of a secret's random bytes: 30 are 40 characters of base 64, as long as AWS's secrets.
const SECRET_RANDOM_BYTES: usize = 30;
/// Number of a token's random bytes (ours).
const TOKEN_RANDOM_BYTES: usize = 32;
/// Minimum length in characters of a token that an operator shortens (ours).
const TOKEN_CHARS_MIN: usize = 16;

/// An access key id with its secret: what a client signs with.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: Secret<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error("a file of credentials could not be read or written")]
    Io(#[from] io::Error),
    #[error(
        "{} can be read by others (its mode is {mode:o}): run `chmod 600` on it, and replace the \
         key if somebody may have seen it",
        path.display()
    )]
    ReadableByOthers { path: PathBuf, mode: u32 },
    #[error(
        "{} has no {missing} in a [default] profile: restore it, or remove the file to have a new \
         root key made at the next start",
        path.display()
    )]
    Incomplete { path: PathBuf, missing: &'static str },
    #[error(
        "{} must hold one line of {TOKEN_CHARS_MIN} or more letters, digits and -._~+/=: \
         restore it, or remove the file to have a new token made at the next start",
        path.display()
    )]
    NoToken { path: PathBuf },
    #[error("the system gave no random bytes: {0}")]
    NoEntropy(getrandom::Error),
}

/// Reads the root key of a data directory, or makes it when there is none yet. The directory must
/// exist. Returns whether the key is new.
pub fn load_or_create_root(data_dir: &Path) -> Result<(Credentials, bool), CredentialsError> {
    let path = data_dir.join(ROOT_CREDENTIALS_FILE);
    match load(&path) {
        Err(CredentialsError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
        loaded => return loaded.map(|credentials| (credentials, false)),
    }
    let credentials = generate()?;
    let text = format!(
        "# The root key of this Longshore coordinator. Whoever holds it may do everything.\n\
         [default]\n\
         aws_access_key_id = {}\n\
         aws_secret_access_key = {}\n",
        credentials.access_key_id,
        // Exposed: this file is where the operator finds it.
        credentials.secret_access_key.expose(),
    );
    write(data_dir, ROOT_CREDENTIALS_FILE, &text)?;
    tracing::info!(path = %path.display(), "wrote a new root key");
    Ok((credentials, true))
}

/// Reads the token of Alertmanager's webhook, or makes it when there is none yet.
pub fn load_or_create_webhook_token(data_dir: &Path) -> Result<Secret<String>, CredentialsError> {
    load_or_create_token(data_dir, WEBHOOK_TOKEN_FILE, "Alertmanager's webhook")
}

/// Reads the token of `/metrics`, or makes it when there is none yet.
pub fn load_or_create_metrics_token(data_dir: &Path) -> Result<Secret<String>, CredentialsError> {
    load_or_create_token(data_dir, METRICS_TOKEN_FILE, "whoever reads /metrics")
}

fn load_or_create_token(
    data_dir: &Path,
    file: &str,
    whose: &str,
) -> Result<Secret<String>, CredentialsError> {
    let path = data_dir.join(file);
    match read_private(&path) {
        Err(CredentialsError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
        read => return token_in(&read?, path),
    }
    let mut token = [0; TOKEN_RANDOM_BYTES];
    getrandom::fill(&mut token).map_err(CredentialsError::NoEntropy)?;
    let token = URL_SAFE_NO_PAD.encode(token);
    write(data_dir, file, &format!("{token}\n"))?;
    tracing::info!(path = %path.display(), "wrote a new token for {whose}");
    Ok(Secret::new(token))
}

fn token_in(text: &str, path: PathBuf) -> Result<Secret<String>, CredentialsError> {
    let token = text.trim();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if token.len() < TOKEN_CHARS_MIN || !token.bytes().all(allowed) {
        return Err(CredentialsError::NoToken { path });
    }
    Ok(Secret::new(token.to_owned()))
}

/// Reads the `[default]` profile of a shared credentials file that only its owner can read.
pub fn load(path: &Path) -> Result<Credentials, CredentialsError> {
    let text = read_private(path)?;
    let value = |key| default_profile(&text).find(|(name, _)| *name == key).map(|(_, value)| value);
    let member = |missing| {
        value(missing)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
            .ok_or(CredentialsError::Incomplete { path: path.to_owned(), missing })
    };
    Ok(Credentials {
        access_key_id: member("aws_access_key_id")?,
        secret_access_key: Secret::new(member("aws_secret_access_key")?),
    })
}

/// A file's text, if only its owner can read it.
fn read_private(path: &Path) -> Result<String, CredentialsError> {
    let mode = fs_err::metadata(path)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(CredentialsError::ReadableByOthers { path: path.to_owned(), mode });
    }
    Ok(fs_err::read_to_string(path)?)
}

/// The `name = value` lines of `[default]`.
fn default_profile(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut inside = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if line.starts_with('[') {
            inside = line == "[default]";
            return None;
        }
        let (name, value) = line.split_once('=')?;
        (inside && !line.starts_with('#')).then(|| (name.trim(), value.trim()))
    })
}

fn generate() -> Result<Credentials, CredentialsError> {
    const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut id = [0; KEY_ID_RANDOM_CHARS];
    let mut secret = [0; SECRET_RANDOM_BYTES];
    getrandom::fill(&mut id).map_err(CredentialsError::NoEntropy)?;
    getrandom::fill(&mut secret).map_err(CredentialsError::NoEntropy)?;
    let id: String = id.iter().map(|byte| char::from(BASE32[usize::from(byte % 32)])).collect();
    Ok(Credentials {
        access_key_id: format!("LSIA{id}"),
        secret_access_key: Secret::new(STANDARD.encode(secret)),
    })
}

/// Writes beside and renames, so that a crash leaves the whole file or none.
fn write(data_dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let beside = data_dir.join(format!("{name}.new"));
    match fs_err::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _gone => {}
    }
    let mut file =
        fs_err::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs_err::rename(&beside, data_dir.join(name))?;
    fs_err::File::open(data_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_makes_a_root_key_that_later_starts_read() {
        let dir = tempfile::tempdir().unwrap();
        let (made, new) = load_or_create_root(dir.path()).unwrap();
        assert!(new);
        assert_eq!((made.access_key_id.len(), made.secret_access_key.expose().len()), (20, 40));
        assert!(made.access_key_id.starts_with("LSIA"));
        let file = fs_err::metadata(dir.path().join(ROOT_CREDENTIALS_FILE)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);

        let (read, new) = load_or_create_root(dir.path()).unwrap();
        assert!(!new);
        assert_eq!(read.access_key_id, made.access_key_id);
        assert!(read.secret_access_key == made.secret_access_key);
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        load_or_create_root(dir.path()).unwrap();
        let path = dir.path().join(ROOT_CREDENTIALS_FILE);
        for mode in [0o640, 0o604, 0o660] {
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let refused = load_or_create_root(dir.path()).unwrap_err().to_string();
            assert!(refused.contains("chmod 600"), "{refused}");
        }
    }

    #[test]
    fn a_damaged_file_is_refused_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(ROOT_CREDENTIALS_FILE);
        for text in ["", "[other]\naws_access_key_id=a\naws_secret_access_key=b\n", "[default]\n"] {
            fs_err::write(&path, text).unwrap();
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let refused = load_or_create_root(dir.path()).unwrap_err().to_string();
            assert!(refused.contains("aws_access_key_id"), "{refused}");
            assert_eq!(fs_err::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn the_first_start_makes_a_webhook_token_that_later_starts_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(WEBHOOK_TOKEN_FILE);
        let made = load_or_create_webhook_token(dir.path()).unwrap();
        assert_eq!(made.expose().len(), 43);
        assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(load_or_create_webhook_token(dir.path()).unwrap() == made);
        for text in ["", "short\n", "two words that are long enough\n"] {
            fs_err::write(&path, text).unwrap();
            let refused = load_or_create_webhook_token(dir.path()).unwrap_err().to_string();
            assert!(refused.contains("16 or more"), "{refused}");
        }
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let refused = load_or_create_webhook_token(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn a_key_without_its_secret_is_not_printed() {
        let dir = tempfile::tempdir().unwrap();
        let (made, _) = load_or_create_root(dir.path()).unwrap();
        assert!(!format!("{made:?}").contains(made.secret_access_key.expose()));
    }
}
