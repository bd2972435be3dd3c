//! Logins for registries: from Docker's own configuration file with its credential helpers, and from
//! what `ECS_ENGINE_AUTH_DATA` gives; or from the file of the secret that a definition names.
//!
//! Read at each pull, so that a login that was renewed counts at once. Never: a password in a log or
//! in an error.

use std::{
    fmt,
    io::Cursor,
    path::{Path, PathBuf},
};

use bollard::auth::DockerCredentials;
use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};

use serde::Deserialize;

use crate::runtime::{ImageSource, RuntimeError};

/// What Docker's configuration calls its own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Where logins come from; the file first.
#[derive(Clone, Default)]
pub struct Registries {
    /// As `docker login` writes it: `auths`, `credHelpers` and `credsStore`.
    pub docker_config: Option<PathBuf>,
    /// The `auths` alone, as JSON.
    pub auths: Option<String>,
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let auths = self.auths.as_ref().map(|_| "…");
        f.debug_struct("Registries")
            .field("docker_config", &self.docker_config)
            .field("auths", &auths)
            .finish()
    }
}

impl Registries {
    pub(crate) fn is_empty(&self) -> bool {
        self.docker_config.is_none() && self.auths.is_none()
    }

    /// The login for the registry of this image, if there is one.
    pub(super) async fn login(
        &self,
        source: &ImageSource,
    ) -> Result<Option<DockerCredentials>, RuntimeError> {
        let server = registry_of(&source.reference).to_owned();
        let (registries, file) = (self.clone(), source.login.clone());
        // A helper is a program, and takes its time; a file may be on a network.
        let found = match file {
            Some(file) => {
                tokio::task::spawn_blocking(move || of_secret(&file, &server).map(Some)).await
            }
            None if self.is_empty() => return Ok(None),
            None => tokio::task::spawn_blocking(move || registries.find(&server)).await,
        };
        let found = found.unwrap_or_else(|error| Err(error.to_string()));
        found.map_err(|message| RuntimeError::Rejected { message })
    }

    fn find(&self, server: &str) -> Result<Option<DockerCredentials>, String> {
        if let Some(path) = &self.docker_config {
            let config = fs_err::read(path).map_err(|error| error.to_string())?;
            if let Some(login) = login(&config, server, &path.display())? {
                return Ok(Some(login));
            }
        }
        match &self.auths {
            Some(auths) => {
                let config = format!(r#"{{"auths":{auths}}}"#);
                login(config.as_bytes(), server, &"engine-auth-data")
            }
            None => Ok(None),
        }
    }
}

/// What the secret of a private registry holds, in Secrets Manager and here.
#[derive(Deserialize)]
struct Secret {
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
    let secret: Secret = serde_json::from_slice(&content).map_err(|_| bad())?;
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

fn login(
    config: &[u8],
    server: &str,
    from: &dyn fmt::Display,
) -> Result<Option<DockerCredentials>, String> {
    let serveraddress = Some(server.to_owned());
    match get_credential_from_reader(Cursor::new(config), server) {
        Ok(DockerCredential::IdentityToken(token)) => Ok(Some(DockerCredentials {
            identitytoken: Some(token),
            serveraddress,
            ..DockerCredentials::default()
        })),
        Ok(DockerCredential::UsernamePassword(username, password)) => Ok(Some(DockerCredentials {
            username: Some(username),
            password: Some(password),
            serveraddress,
            ..DockerCredentials::default()
        })),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(None),
        // What a helper printed may hold what it was asked for.
        Err(CredentialRetrievalError::HelperFailure { helper, stderr, .. }) => Err(format!(
            "the login for {server} by {from}: docker-credential-{helper} failed: {}",
            stderr.trim()
        )),
        Err(error) => Err(format!("the login for {server} by {from}: {error}")),
    }
}

/// As Docker's configuration names it.
fn registry_of(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => {
            if host == "docker.io" || host == "index.docker.io" { DOCKER_HUB } else { host }
        }
        _ => DOCKER_HUB,
    }
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
        assert_eq!(registry_of("nginx:1"), DOCKER_HUB);
        assert_eq!(registry_of("library/nginx"), DOCKER_HUB);
        assert_eq!(registry_of("docker.io/library/nginx"), DOCKER_HUB);
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
        assert!(error.starts_with("the login for r.example.com by "), "{error}");
        assert_eq!(user(&registries, "nginx").await, None);
        fs_err::remove_file(&path).unwrap();
        assert!(registries.login(&plain("nginx")).await.is_err());
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
