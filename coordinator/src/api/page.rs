//! Pages of List operations: `maxResults`, and `nextToken`, which says where the next page begins.
//!
//! A token holds the list it is of and the last item shown, so it needs no memory here, survives a
//! restart, and never skips or repeats an item that stayed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::error::ApiError;

/// The largest page of most lists, and their default (ecs-behaviour 1.1).
pub(crate) const PAGE_MAX: usize = 100;
/// What a token may be long: the longest is two names of 255 characters.
const TOKEN_CHARS_MAX: usize = 2048;

/// One page as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    list: &'static str,
    pub(crate) size: usize,
    /// The last item of the page before.
    pub(crate) after: Option<String>,
}

impl Page {
    /// `list` names the operation: a token of another one is refused.
    pub(crate) fn parse(
        list: &'static str,
        max_results: Option<i64>,
        next_token: Option<&str>,
    ) -> Result<Self, ApiError> {
        Self::parse_with(list, max_results, next_token, PAGE_MAX, PAGE_MAX)
    }

    /// For a list with a default size of its own, or a smaller largest one.
    pub(crate) fn parse_with(
        list: &'static str,
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
            Some(token) => Some(decode(list, token).ok_or_else(|| {
                ApiError::invalid_parameter(
                    "Invalid token. Give the nextToken of the last answer to this operation, as \
                     it was.",
                )
            })?),
        };
        Ok(Page { list, size, after })
    }

    /// Takes a page of `items`, which begin after [`Page::after`], and the token for the next one.
    /// `key` names an item so that the list can go on after it.
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

    /// For a list that finds by itself where its next page begins.
    pub(crate) fn token(&self, after: &str) -> String {
        encode(self.list, after)
    }
}

fn encode(list: &str, after: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list} {after}"))
}

fn decode(list: &str, token: &str) -> Option<String> {
    if token.len() > TOKEN_CHARS_MAX {
        return None;
    }
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (of, after) = text.split_once(' ')?;
    (of == list).then(|| after.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let items: Vec<u32> = (0..25).collect();
        let mut seen = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page = Page::parse("List", Some(10), token.as_deref()).unwrap();
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
        let page = Page::parse("List", Some(3), None).unwrap();
        assert_eq!(page.take(0..3, |item| item.to_string()), (vec![0, 1, 2], None));
    }

    #[test]
    fn sizes_and_tokens_that_cannot_be_are_refused() {
        for size in [0, 101, -1, i64::MAX] {
            assert!(Page::parse("List", Some(size), None).is_err(), "{size}");
        }
        assert_eq!(Page::parse("List", None, Some("")).unwrap().after, None);
        let others = encode("ListOther", "a");
        for token in ["?", "AAAA", others.as_str(), &"A".repeat(3000)] {
            assert!(Page::parse("List", None, Some(token)).is_err(), "{token}");
        }
    }
}
