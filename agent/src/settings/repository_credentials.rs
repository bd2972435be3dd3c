//! Logins for private registries that definitions name by a secret of AWS Secrets Manager, as this
//! host has them: a file for each secret (setting `repository-credentials`).
//!
//! Owns which file stands for a secret. Never: what is in the file; that is read at each pull.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use longshore_common::task_definition::ContainerDefinition;

/// What stands before a secret's name in its ARN.
const ARN_RESOURCE: &str = ":secret:";
/// Number of random characters after a hyphen by which Secrets Manager ends the ARN of a secret.
const ARN_SUFFIX_CHARS: usize = 6;

/// Files by the secret's name or ARN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepositoryCredentials(BTreeMap<String, Arc<Path>>);

impl RepositoryCredentials {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An error is advice.
    pub(crate) fn read(pairs: Vec<(String, Option<String>)>) -> Result<Self, String> {
        let mut files = BTreeMap::new();
        for (secret, path) in pairs {
            let path =
                path.map(PathBuf::from).filter(|path| path.is_absolute()).ok_or_else(|| {
                    format!(
                        "`{secret}` names no file: write it with an absolute path, \
                     {secret}=/etc/longshore/registry.json"
                    )
                })?;
            files.insert(secret, path.into());
        }
        Ok(RepositoryCredentials(files))
    }

    /// The file with the container's login; none when its definition names no secret. `Err` says
    /// what cannot be carried out.
    pub(crate) fn login(
        &self,
        container: &ContainerDefinition,
    ) -> Result<Option<Arc<Path>>, String> {
        let Some(credentials) = &container.repository_credentials else { return Ok(None) };
        let secret = &credentials.credentials_parameter;
        self.file(secret).cloned().map(Some).ok_or_else(|| {
            format!(
                "repositoryCredentials of secret {secret}, which this host's setting \
                 repository-credentials does not name"
            )
        })
    }

    fn file(&self, secret: &str) -> Option<&Arc<Path>> {
        let same = || self.0.iter().find(|(known, _)| is_same(known, secret));
        self.0.get(secret).or_else(|| same().map(|(_, file)| file))
    }
}

/// Whether one is the ARN, with or without its random end, of the secret that the other names.
fn is_same(a: &str, b: &str) -> bool {
    let named = |arn: &str, name: &str| {
        arn.split_once(ARN_RESOURCE).is_some_and(|(_, of_arn)| {
            of_arn == name
                || of_arn.strip_prefix(name).and_then(|rest| rest.strip_prefix('-')).is_some_and(
                    |end| {
                        end.len() == ARN_SUFFIX_CHARS
                            && end.bytes().all(|b| b.is_ascii_alphanumeric())
                    },
                )
        })
    };
    named(a, b) || named(b, a)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use longshore_common::task_definition::RepositoryCredentials as OfContainer;

    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:eu-1:000000000000:secret:ci/registry-a1B2c3";

    fn of(secret: &str) -> RepositoryCredentials {
        let pairs = vec![(secret.to_owned(), Some("/etc/ci.json".to_owned()))];
        RepositoryCredentials::read(pairs).unwrap()
    }

    fn container(secret: Option<&str>) -> ContainerDefinition {
        let credentials = |secret: &str| OfContainer { credentials_parameter: secret.to_owned() };
        ContainerDefinition {
            repository_credentials: secret.map(credentials),
            ..ContainerDefinition::default()
        }
    }

    #[test]
    fn secret_is_found_by_name_or_arn_whichever_side_gives_which() {
        let whole = ARN.strip_suffix("-a1B2c3").unwrap();
        for known in [ARN, "ci/registry"] {
            for named in [ARN, "ci/registry"] {
                let login = of(known).login(&container(Some(named))).unwrap();
                assert_eq!(login.as_deref(), Some(Path::new("/etc/ci.json")), "{known} {named}");
            }
        }
        assert!(of("ci/registry").login(&container(Some(whole))).unwrap().is_some());
        for other in ["ci/regist", "registry", "ci/registry-2"] {
            assert!(of(ARN).login(&container(Some(other))).is_err(), "{other}");
        }
    }

    #[test]
    fn a_definition_without_a_secret_needs_none_and_an_unknown_one_is_named() {
        assert_eq!(of("a").login(&container(None)), Ok(None));
        let check = |known: RepositoryCredentials, expected: Expect| {
            expected.assert_eq(&known.login(&container(Some("ci"))).unwrap_err());
        };
        check(
            RepositoryCredentials::default(),
            expect![
                "repositoryCredentials of secret ci, which this host's setting repository-credentials does not name"
            ],
        );
    }

    #[test]
    fn a_secret_without_an_absolute_path_is_refused_with_advice() {
        for path in [None, Some("ci.json".to_owned())] {
            let error = RepositoryCredentials::read(vec![("ci".to_owned(), path)]).unwrap_err();
            expect!["`ci` names no file: write it with an absolute path, ci=/etc/longshore/registry.json"]
                .assert_eq(&error);
        }
    }
}
