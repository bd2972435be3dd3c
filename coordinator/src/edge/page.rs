//! Pages of List and Describe operations: how many items, and `nextToken`, which says where the next
//! page begins.
//!
//! A token holds the last item shown, so it needs no memory here, survives a restart, and never skips
//! or repeats an item that stayed. It is good for the request that it was given for: the operation,
//! the cluster and every filter are part of its seal. The seal is no secret: whoever forges a token
//! gets what the same call without one would show.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use longshore_common::join_token::CaHash;
use sha2::{Digest, Sha256};

use super::{error::ApiError, input::Node};

/// The cluster that is meant when none is named.
pub(crate) const DEFAULT_CLUSTER: &str = "default";
/// Maximum size of a page of most lists, and its default (ecs-behaviour 1.1).
pub(crate) const PAGE_MAX: usize = 100;
/// Maximum length of a token in characters (ours): the longest is two names of 512 characters and a
/// seal.
const TOKEN_CHARS_MAX: usize = 2048;
/// Number of bytes of a token's seal (ours).
const SEAL_BYTES: usize = 16;
/// Version of what a seal covers, raised when that changes: older tokens are then refused, and
/// clients begin anew.
const SEAL_VERSION: u8 = 1;
/// Members of a request that another page of the same list may have otherwise.
const UNBOUND: [&str; 5] = ["nextToken", "maxResults", "limit", "NextToken", "MaxRecords"];

/// What a page token belongs to: one operation with one set of filters, at one coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageScope([u8; 32]);

impl PageScope {
    /// The scope before the input is read: of no list.
    pub(crate) fn none() -> Self {
        PageScope([0; 32])
    }

    /// The scope of a request's input. `unbound` are further members that do not say what is
    /// listed.
    pub(crate) fn of(ca: CaHash, operation: &str, unbound: &[&str], input: &Node<'_>) -> Self {
        let mut hash = Sha256::new();
        hash.update([SEAL_VERSION]);
        hash.update(ca.0);
        text(&mut hash, operation);
        if let Node::Object(members) = input {
            let bound = |name: &str| !UNBOUND.contains(&name) && !unbound.contains(&name);
            let mut members: Vec<(&str, &Node<'_>)> = members
                .iter()
                .map(|(name, value)| (name.as_ref(), value))
                .filter(|(name, value)| bound(name) && !value.says_nothing())
                .collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            for (name, value) in members {
                match (name, value) {
                    // A cluster has three names.
                    ("cluster", Node::String(cluster)) => {
                        let short = cluster.rsplit_once(":cluster/").map(|(_, name)| name);
                        match short.unwrap_or(cluster) {
                            DEFAULT_CLUSTER => {}
                            other => {
                                text(&mut hash, name);
                                text(&mut hash, other);
                            }
                        }
                    }
                    _ => {
                        text(&mut hash, name);
                        node(&mut hash, value);
                    }
                }
            }
        }
        PageScope(hash.finalize().into())
    }

    /// The token of the page that begins after `after`.
    pub(crate) fn token(&self, after: &str) -> String {
        let mut bytes = self.seal(after).to_vec();
        bytes.extend_from_slice(after.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Where a page begins; `None` when the token is not of this scope.
    pub(crate) fn after(&self, token: &str) -> Option<String> {
        if token.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (seal, after) = bytes.split_at_checked(SEAL_BYTES)?;
        let after = std::str::from_utf8(after).ok()?;
        (seal == self.seal(after)).then(|| after.to_owned())
    }

    fn seal(&self, after: &str) -> [u8; SEAL_BYTES] {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(after.as_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut seal = [0; SEAL_BYTES];
        seal.copy_from_slice(&digest[..SEAL_BYTES]);
        seal
    }
}

/// Each part with its length, so that no two inputs run into one.
fn text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
}

fn node(hash: &mut Sha256, value: &Node<'_>) {
    match value {
        Node::Null => text(hash, "null"),
        Node::Bool(value) => text(hash, &value.to_string()),
        Node::Number(number) => text(hash, &number.to_string()),
        Node::String(string) | Node::Word(string) => {
            text(hash, "\"");
            text(hash, string);
        }
        Node::List(items) => {
            text(hash, "[");
            hash.update((items.len() as u64).to_be_bytes());
            for item in items {
                node(hash, item);
            }
        }
        Node::Object(members) => {
            text(hash, "{");
            hash.update((members.len() as u64).to_be_bytes());
            for (name, value) in members {
                text(hash, name);
                node(hash, value);
            }
        }
    }
}

/// One page as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    scope: PageScope,
    pub(crate) size: usize,
    /// The last item of the page before.
    pub(crate) after: Option<String>,
}

impl Page {
    pub(crate) fn parse(
        scope: &PageScope,
        max_results: Option<i64>,
        next_token: Option<&str>,
    ) -> Result<Self, ApiError> {
        Self::parse_with(scope, max_results, next_token, PAGE_MAX, PAGE_MAX)
    }

    /// Reads the page of a list with a default size of its own, or a smaller largest one.
    pub(crate) fn parse_with(
        scope: &PageScope,
        max_results: Option<i64>,
        next_token: Option<&str>,
        default_size: usize,
        size_max: usize,
    ) -> Result<Self, ApiError> {
        let size = match max_results {
            None => default_size,
            Some(size) => usize::try_from(size)
                .ok()
                .filter(|size| (1..=size_max).contains(size))
                .ok_or_else(|| {
                ApiError::invalid_parameter(format!(
                    "maxResults is {size}; it must be between 1 and {size_max}."
                ))
            })?,
        };
        let after = match next_token {
            None | Some("") => None,
            Some(token) => Some(scope.after(token).ok_or_else(|| {
                ApiError::invalid_parameter(
                    "Invalid token. Give the nextToken of the last answer to this operation, as \
                     it was, with the same cluster and filters.",
                )
            })?),
        };
        Ok(Page { scope: scope.clone(), size, after })
    }

    /// Takes a page of `items`, which begin after [`Page::after`], and the token for the next one.
    /// `key` names an item so that the list can continue after it.
    pub(crate) fn take<T>(
        &self,
        items: impl Iterator<Item = T>,
        key: impl Fn(&T) -> String,
    ) -> (Vec<T>, Option<String>) {
        let mut page: Vec<T> = items.take(self.size + 1).collect();
        if page.len() <= self.size {
            return (page, None);
        }
        page.truncate(self.size);
        let token = page.last().map(|last| self.token(&key(last)));
        (page, token)
    }

    /// The token for the next page, in a list that finds by itself where that page begins.
    pub(crate) fn token(&self, after: &str) -> String {
        self.scope.token(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::input;

    fn scope(operation: &str, input: &str) -> PageScope {
        let node = input::read_json(input.as_bytes()).unwrap();
        PageScope::of(CaHash([7; 32]), operation, &["startTime"], &node)
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let scope = scope("List", "{}");
        let items: Vec<u32> = (0..25).collect();
        let mut seen = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page = Page::parse(&scope, Some(10), token.as_deref()).unwrap();
            let first = page.after.as_ref().map_or(0, |after| after.parse::<u32>().unwrap() + 1);
            let rest = items.iter().copied().filter(|item| *item >= first);
            let (shown, next) = page.take(rest, u32::to_string);
            seen.extend(shown);
            token = next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, items);
    }

    #[test]
    fn a_full_last_page_has_no_token() {
        let page = Page::parse(&scope("List", "{}"), Some(3), None).unwrap();
        assert_eq!(page.take(0..3, |item| item.to_string()), (vec![0, 1, 2], None));
    }

    #[test]
    fn page_size_out_of_range_is_refused() {
        let scope = scope("List", "{}");
        for size in [0, 101, -1, i64::MAX] {
            assert!(Page::parse(&scope, Some(size), None).is_err(), "{size}");
        }
        assert_eq!(Page::parse(&scope, None, Some("")).unwrap().after, None);
    }

    /// Inputs that list the same, each group by itself.
    const SAME: &[&[&str]] = &[
        &[
            "{}",
            r#"{"nextToken": "x", "maxResults": 7, "limit": 3}"#,
            r#"{"cluster": "default"}"#,
            r#"{"cluster": "arn:aws:ecs:us-east-1:000000000000:cluster/default"}"#,
            r#"{"status": null, "family": "", "list": []}"#,
            r#"{"startTime": 5}"#,
        ],
        &[
            r#"{"cluster": "other"}"#,
            r#"{"cluster": "arn:aws:ecs:us-east-1:000000000000:cluster/other"}"#,
        ],
        &[r#"{"a": "1", "b": "2"}"#, r#"{"b": "2", "a": "1"}"#],
        &[r#"{"a": "2", "b": "1"}"#],
        &[r#"{"ab": "12"}"#],
        &[r#"{"a": ["1", "2"]}"#],
        &[r#"{"a": ["12"]}"#],
        &[r#"{"a": [["1"], "2"]}"#],
        &[r#"{"a": {"b": "2"}}"#],
        &[r#"{"a": 1}"#],
        &[r#"{"a": true}"#],
    ];

    #[test]
    fn token_is_good_for_the_same_request_and_for_no_other() {
        let scopes = SAME.iter().enumerate().flat_map(|(group, inputs)| {
            inputs.iter().map(move |input| (group, scope("List", input)))
        });
        let scopes: Vec<_> = scopes.collect();
        for (group, given) in &scopes {
            let token = given.token("last item");
            for (other, asked) in &scopes {
                let after = asked.after(&token);
                assert_eq!(after.as_deref(), (group == other).then_some("last item"));
            }
            assert_eq!(scope("Other", SAME[*group][0]).after(&token), None);
        }
        let elsewhere = input::read_json(b"{}").unwrap();
        let elsewhere = PageScope::of(CaHash([8; 32]), "List", &[], &elsewhere);
        assert_eq!(elsewhere.after(&scopes[0].1.token("a")), None);
    }

    #[test]
    fn token_with_any_bit_changed_is_refused() {
        let scope = scope("List", "{}");
        let token = URL_SAFE_NO_PAD.decode(scope.token("a/b")).unwrap();
        for bit in 0..token.len() * 8 {
            let mut changed = token.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(scope.after(&URL_SAFE_NO_PAD.encode(changed)), None, "{bit}");
        }
        for bad in ["?", "AAAA", "", &"A".repeat(3000)] {
            assert_eq!(scope.after(bad), None, "{bad}");
        }
    }
}
