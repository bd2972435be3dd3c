//! Logins for registries: from Docker's own configuration file with its credential helpers, and from
//! what `ECS_ENGINE_AUTH_DATA` gives; or from the file of the secret that a definition names.
//!
//! Read at each pull, so that a login that was renewed counts at once. Never: a password in a log or
//! in an error.

use std::{collections::BTreeMap, fmt, io::Cursor, path::Path, process::Stdio, time::Duration};

use bollard::auth::DockerCredentials;
use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use serde::Deserialize;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{
    blocking::LOGINS,
    runtime::{ImageSource, RuntimeError, Unknown},
    settings::Registries,
};

/// Timeout of a credential helper, or of a file on a network: beyond it the registry counts as one
/// that does not answer.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);

impl Registries {
    /// The login for the registry of this image, if there is one.
    pub(super) async fn login(
        &self,
        source: &ImageSource,
    ) -> Result<Option<DockerCredentials>, RuntimeError> {
        let server = source.registry();
        let found = match source.login.clone() {
            Some(file) => {
                let server = server.to_owned();
                within(LOGINS.run(move || of_secret(&file, &server).map(Some))).await
            }
            None if self.is_empty() => return Ok(None),
            None => within(async { Ok(self.find(server).await) }).await,
        };
        match found {
            Some(found) => found.map_err(|message| RuntimeError::NoLogin { message }),
            None => {
                let seconds = LOGIN_TIMEOUT.as_secs();
                let message = format!("the login for {server} could not be had within {seconds} s");
                Err(Unknown::Registry { message }.into())
            }
        }
    }

    async fn find(&self, server: &str) -> Result<Option<DockerCredentials>, String> {
        if let Some(path) = self.docker_config.clone() {
            let from = path.display().to_string();
            let config = LOGINS.run(move || fs_err::read(path)).await.flatten();
            let config = config.map_err(|error| error.to_string())?;
            if let Some(login) = login(&config, server, &from).await? {
                return Ok(Some(login));
            }
        }
        match &self.auths {
            Some(auths) => {
                let config = format!(r#"{{"auths":{auths}}}"#);
                login(config.as_bytes(), server, "engine-auth-data").await
            }
            None => Ok(None),
        }
    }
}

/// Nothing when it took too long.
async fn within<T>(
    finding: impl Future<Output = std::io::Result<Result<T, String>>>,
) -> Option<Result<T, String>> {
    let found = tokio::time::timeout(LOGIN_TIMEOUT, finding).await.ok()?;
    Some(found.unwrap_or_else(|error| Err(error.to_string())))
}

/// What the secret of a private registry holds, in Secrets Manager and here.
#[derive(Deserialize)]
struct RegistrySecret {
    username: String,
    password: String,
}

/// Never tells what the file holds, also when it cannot be understood.
fn of_secret(file: &Path, server: &str) -> Result<DockerCredentials, String> {
    let advice = r#"write {"username":"…","password":"…"} there, for the agent to read"#;
    let content = fs_err::read(file).map_err(|error| {
        format!("the login for {server} by repositoryCredentials: {error}; {advice}")
    })?;
    let bad = || {
        let file = file.display();
        format!("the login for {server} by repositoryCredentials: {file} is not a login; {advice}")
    };
    let secret: RegistrySecret = serde_json::from_slice(&content).map_err(|_| bad())?;
    if secret.username.is_empty() || secret.password.is_empty() {
        return Err(bad());
    }
    Ok(DockerCredentials {
        username: Some(secret.username),
        password: Some(secret.password),
        serveraddress: Some(server.to_owned()),
        ..DockerCredentials::default()
    })
}

/// What of Docker's configuration names a program that is asked.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Helpers {
    creds_store: Option<String>,
    cred_helpers: Option<BTreeMap<String, String>>,
}

/// As Docker takes it: the registry's own helper, what the file itself holds, the common helper.
async fn login(
    config: &[u8],
    server: &str,
    from: &str,
) -> Result<Option<DockerCredentials>, String> {
    let bad = |error: &dyn fmt::Display| format!("the login for {server} by {from}: {error}");
    let unreadable = || bad(&"it is not Docker's configuration in JSON");
    let Helpers { creds_store, cred_helpers } =
        serde_json::from_slice(config).map_err(|_| unreadable())?;
    let own = cred_helpers.and_then(|mut helpers| helpers.remove(server));
    if let Some(helper) = own.filter(|helper| !helper.is_empty()) {
        return ask(&helper, server).await.map_err(|error| bad(&error));
    }
    // Without its helpers, which the library would wait for without an end.
    let mut held: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(config).map_err(|_| unreadable())?;
    held.retain(|member, _| member == "auths");
    let held = serde_json::Value::Object(held).to_string();
    match get_credential_from_reader(Cursor::new(held), server) {
        Ok(found) => Ok(Some(credentials(found, server))),
        Err(CredentialRetrievalError::NoCredentialConfigured) => match creds_store {
            Some(helper) => ask(&helper, server).await.map_err(|error| bad(&error)),
            None => Ok(None),
        },
        Err(error) => Err(bad(&error)),
    }
}

fn credentials(found: DockerCredential, server: &str) -> DockerCredentials {
    let serveraddress = Some(server.to_owned());
    match found {
        DockerCredential::IdentityToken(token) => DockerCredentials {
            identitytoken: Some(token),
            serveraddress,
            ..DockerCredentials::default()
        },
        DockerCredential::UsernamePassword(username, password) => DockerCredentials {
            username: Some(username),
            password: Some(password),
            serveraddress,
            ..DockerCredentials::default()
        },
    }
}

/// What a credential helper answers (docker/docker-credential-helpers).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperLogin {
    username: String,
    secret: String,
}

/// How a helper says that it knows of no login.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// What it names instead of a user when it has a token.
const TOKEN: &str = "<token>";

/// Asks a credential helper, which ends with whoever asked. Nothing that it printed but its complaint
/// is told: it may hold what it was asked for.
async fn ask(helper: &str, server: &str) -> Result<Option<DockerCredentials>, String> {
    ask_program(&format!("docker-credential-{helper}"), server).await
}

async fn ask_program(program: &str, server: &str) -> Result<Option<DockerCredentials>, String> {
    let failed = |error: std::io::Error| format!("{program} cannot be run: {error}");
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read what it is asked says why by its end.
        let _ = input.write_all(server.as_bytes()).await;
    }
    let ended = child.wait_with_output().await.map_err(failed)?;
    if !ended.status.success() {
        if String::from_utf8_lossy(&ended.stdout).trim() == NOT_FOUND {
            return Ok(None);
        }
        let said = String::from_utf8_lossy(&ended.stderr);
        return Err(format!("{program} failed: {}", said.trim()));
    }
    let answer: HelperLogin = serde_json::from_slice(&ended.stdout)
        .map_err(|_| format!("{program} answered what is no login"))?;
    let found = match answer.username == TOKEN {
        true => DockerCredential::IdentityToken(answer.secret),
        false => DockerCredential::UsernamePassword(answer.username, answer.secret),
    };
    Ok(Some(credentials(found, server)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn plain(image: &str) -> ImageSource {
        ImageSource { reference: image.into(), login: None }
    }

    async fn user(registries: &Registries, image: &str) -> Option<String> {
        registries.login(&plain(image)).await.unwrap().and_then(|login| login.username)
    }

    #[test]
    fn an_image_without_a_registry_is_dockers_own() {
        let registry_of = |image: &str| plain(image).registry().to_owned();
        let docker_hub = "https://index.docker.io/v1/";
        assert_eq!(registry_of("nginx:1"), docker_hub);
        assert_eq!(registry_of("library/nginx"), docker_hub);
        assert_eq!(registry_of("docker.io/library/nginx"), docker_hub);
        assert_eq!(registry_of("10.0.0.5:5000/shop/web:2"), "10.0.0.5:5000");
        assert_eq!(registry_of("registry.example.com/web@sha256:00"), "registry.example.com");
    }

    #[tokio::test]
    async fn the_file_comes_first_and_what_ecs_gives_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        // `anna:secret` and `ben:secret`.
        fs_err::write(&path, r#"{"auths":{"r.example.com":{"auth":"YW5uYTpzZWNyZXQ="}}}"#).unwrap();
        let given = r#"{"r.example.com":{"auth":"YmVuOnNlY3JldA=="},
            "https://index.docker.io/v1/":{"username":"carl","password":"secret"}}"#;
        let registries = Registries { docker_config: Some(path), auths: Some(given.to_owned()) };
        assert_eq!(user(&registries, "r.example.com/web:1").await.as_deref(), Some("anna"));
        assert_eq!(user(&registries, "nginx").await.as_deref(), Some("carl"));
        assert_eq!(user(&registries, "other.example.com/web").await, None);
        assert!(!format!("{registries:?}").contains("secret"));
    }

    #[tokio::test]
    async fn a_helper_that_fails_is_named_and_a_file_that_is_gone_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs_err::write(&path, r#"{"credHelpers":{"r.example.com":"longshore-no-such"}}"#).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let registries = Registries { docker_config: Some(path.clone()), auths: None };
        let error = registries.login(&plain("r.example.com/web")).await.unwrap_err().to_string();
        let said = error.strip_prefix("the login for r.example.com by ").unwrap();
        assert!(said.contains(": docker-credential-longshore-no-such cannot be run"), "{error}");
        assert_eq!(user(&registries, "nginx").await, None);
        fs_err::remove_file(&path).unwrap();
        assert!(registries.login(&plain("nginx")).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn helpers_that_hang_end_after_a_while_and_hold_up_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let helper = |name: &str, script: &str| {
            let path = folder.path().join(format!("docker-credential-{name}"));
            fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        helper("hangs", "exec sleep 600");
        helper("none", "echo credentials not found in native keychain; exit 1");
        let ask = |name: &str| {
            let program = folder.path().join(format!("docker-credential-{name}"));
            async move { ask_program(&program.display().to_string(), "r.example.com").await }
        };
        assert_eq!(ask("none").await.map(|found| found.is_none()), Ok(true));
        let hung = (0..50).map(|_| within(async { Ok(ask("hangs").await) }));
        let hung = futures_util::future::join_all(hung).await;
        assert!(hung.iter().all(Option::is_none));
    }

    #[tokio::test]
    async fn the_file_of_a_secret_wins_and_is_read_anew_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ci.json");
        let auths = r#"{"r.example.com":{"username":"ben","password":"hunter2"}}"#.to_owned();
        let registries = Registries { docker_config: None, auths: Some(auths) };
        let source = ImageSource {
            reference: "r.example.com/web:1".into(),
            login: Some(path.clone().into()),
        };
        let login = async || {
            let login = registries.login(&source).await.map_err(|error| error.to_string())?;
            Ok::<_, String>(login.and_then(|login| login.username))
        };
        let told = |error: String| error.replace(&folder.path().display().to_string(), "");
        let missing = told(login().await.unwrap_err());
        assert!(missing.contains("No such file") && missing.contains("username"), "{missing}");
        for bad in ["hunter2", r#"{"username":"ann","password":["hunter2"]}"#, "{}"] {
            fs_err::write(&path, bad).unwrap();
            expect_test::expect![[
                r#"the login for r.example.com by repositoryCredentials: /ci.json is not a login; write {"username":"…","password":"…"} there, for the agent to read"#
            ]]
            .assert_eq(&told(login().await.unwrap_err()));
        }
        fs_err::write(&path, r#"{"username":"ann","password":"hunter2","more":1}"#).unwrap();
        assert_eq!(login().await.unwrap().as_deref(), Some("ann"));
    }
}
