//! Names of images, as task definitions give them and as the engine is asked for them.
//!
//! Owns where a name ends and its tag or digest begins. Never: what a registry or the engine has.

use std::borrow::Cow;

/// What separates a name from a digest.
const DIGEST: char = '@';
const TAG_DEFAULT: &str = "latest";
/// Docker's own registry, which the engine leaves out of names.
const HUB: [&str; 2] = ["docker.io/", "index.docker.io/"];
const HUB_OFFICIAL: &str = "library/";

/// `docker.io/library/nginx:1` as name and tag or digest; a name alone is its latest tag.
pub fn name_and_tag(reference: &str) -> (&str, &str) {
    if let Some((name, digest)) = reference.split_once(DIGEST) {
        return (without_tag(name).0, digest);
    }
    let (name, tag) = without_tag(reference);
    (name, tag.unwrap_or(TAG_DEFAULT))
}

fn without_tag(reference: &str) -> (&str, Option<&str>) {
    match reference.rsplit_once(':') {
        // A colon before a slash is a registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        Some(_) | None => (reference, None),
    }
}

/// The same image, whatever its tag names by now. One that is named by a digest stays as it is.
pub fn by_digest(reference: &str, digest: &str) -> String {
    if is_by_digest(reference) {
        return reference.to_owned();
    }
    format!("{}{DIGEST}{digest}", without_tag(reference).0)
}

/// Whether the reference names a digest, and so one content: an image that the host has by it is the
/// one that is meant.
pub fn is_by_digest(reference: &str) -> bool {
    reference.contains(DIGEST)
}

/// A repository as the engine lists it: without the name of Docker's own registry.
pub fn familiar_name(name: &str) -> &str {
    let name = HUB.iter().find_map(|hub| name.strip_prefix(hub)).unwrap_or(name);
    name.strip_prefix(HUB_OFFICIAL).unwrap_or(name)
}

/// A reference as the engine lists it: of a [familiar name](familiar_name), with a tag, or by a digest
/// alone where it has one.
pub fn familiar(reference: &str) -> Cow<'_, str> {
    let short = familiar_name(reference);
    match (short.split_once(DIGEST), without_tag(short)) {
        (Some((tagged, digest)), _) => match without_tag(tagged) {
            (name, Some(_)) => Cow::Owned(format!("{name}{DIGEST}{digest}")),
            (_, None) => Cow::Borrowed(short),
        },
        (None, (_, Some(_))) => Cow::Borrowed(short),
        (None, (name, None)) => Cow::Owned(format!("{name}:{TAG_DEFAULT}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_where_its_tag_or_digest_begins() {
        for (reference, expected) in [
            ("nginx", ("nginx", "latest")),
            ("nginx:1", ("nginx", "1")),
            ("registry:5000/a/b", ("registry:5000/a/b", "latest")),
            ("registry:5000/a/b:v1", ("registry:5000/a/b", "v1")),
            ("a/b@sha256:12", ("a/b", "sha256:12")),
            ("registry:5000/a/b:v1@sha256:12", ("registry:5000/a/b", "sha256:12")),
        ] {
            assert_eq!(name_and_tag(reference), expected, "{reference}");
        }
    }

    #[test]
    fn a_digest_takes_the_place_of_a_tag_and_of_no_other_digest() {
        for (reference, expected) in [
            ("nginx", "nginx@sha256:34"),
            ("nginx:1", "nginx@sha256:34"),
            ("registry:5000/a/b", "registry:5000/a/b@sha256:34"),
            ("registry:5000/a/b:v1", "registry:5000/a/b@sha256:34"),
            ("a/b@sha256:12", "a/b@sha256:12"),
        ] {
            assert_eq!(by_digest(reference, "sha256:34"), expected, "{reference}");
        }
    }

    #[test]
    fn images_of_docker_hub_have_one_short_name() {
        for (name, expected) in [
            ("docker.io/library/nginx", "nginx"),
            ("library/nginx", "nginx"),
            ("docker.io/grafana/loki", "grafana/loki"),
            ("grafana/loki", "grafana/loki"),
            ("registry:5000/library/nginx", "registry:5000/library/nginx"),
        ] {
            assert_eq!(familiar_name(name), expected, "{name}");
        }
    }
}
