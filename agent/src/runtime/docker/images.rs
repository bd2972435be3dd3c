//! Docker's listings of images, and of the images that containers have.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::read::{DockerAnswer, parse};
use crate::runtime::{ImageSummary, RuntimeError};

/// What Docker writes where an image has lost its name.
const NONE: &str = "<none>";

pub(super) fn listed(answer: &DockerAnswer) -> Result<Vec<ImageSummary>, RuntimeError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Listed {
        id: String,
        repo_tags: Option<Vec<String>>,
        repo_digests: Option<Vec<String>>,
        size: Option<i64>,
    }
    let named = |names: Option<Vec<String>>| {
        names.unwrap_or_default().into_iter().filter(|name| !name.contains(NONE)).collect()
    };
    let summary = |listed: Listed| ImageSummary {
        id: listed.id,
        tags: named(listed.repo_tags),
        digests: named(listed.repo_digests),
        bytes: listed.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
    };
    Ok(parse::<Vec<Listed>>(answer)?.into_iter().map(summary).collect())
}

pub(super) fn of_containers(answer: &DockerAnswer) -> Result<BTreeSet<String>, RuntimeError> {
    #[derive(Deserialize)]
    struct Listed {
        #[serde(rename = "ImageID")]
        image: String,
    }
    Ok(parse::<Vec<Listed>>(answer)?.into_iter().map(|listed| listed.image).collect())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn names_that_are_lost_are_no_names() {
        let answer = DockerAnswer(Bytes::from_static(
            br#"[{"Id":"sha256:1","RepoTags":["web:1"],"RepoDigests":["web@sha256:a"],"Size":7},
                {"Id":"sha256:2","RepoTags":["<none>:<none>"],"RepoDigests":["web@sha256:b"]},
                {"Id":"sha256:3","RepoTags":null,"RepoDigests":["<none>@<none>"],"Size":-1}]"#,
        ));
        let shown: Vec<_> = listed(&answer)
            .unwrap()
            .into_iter()
            .map(|image| (image.tags.join(","), image.digests.join(","), image.bytes))
            .collect();
        let expected = [("web:1", "web@sha256:a", 7), ("", "web@sha256:b", 0), ("", "", 0)];
        assert_eq!(shown, expected.map(|(tag, digest, b)| (tag.to_owned(), digest.to_owned(), b)));
    }

    #[test]
    fn listing_without_an_image_is_not_taken_for_an_unused_image() {
        let whole = DockerAnswer(Bytes::from_static(br#"[{"Id":"a","ImageID":"sha256:1"}]"#));
        assert_eq!(of_containers(&whole).unwrap(), BTreeSet::from(["sha256:1".to_owned()]));
        let odd = DockerAnswer(Bytes::from_static(br#"[{"Id":"a"}]"#));
        assert!(of_containers(&odd).is_err());
    }
}
