//! A path at which another program notifies us, and the tokens that such programs show.
//!
//! Knows no format of any notification. Never: a comparison of tokens that stops at the first difference.

use std::{future::Future, pin::Pin};

use http::{HeaderMap, StatusCode, header};
use longshore_common::secret::Secret;
use subtle::ConstantTimeEq;

use crate::driver::Handle;

/// What is notified, and by whom.
pub(crate) struct Webhook {
    pub(crate) path: &'static str,
    /// What the metrics call it.
    pub(crate) name: &'static str,
    pub(crate) notify: for<'a> fn(&'a Handle, &'a [u8]) -> Notifying<'a>,
    /// A refusal as the notifying program reads it.
    pub(crate) refuse: fn(StatusCode, String) -> Notified,
}

pub(crate) type Notifying<'a> = Pin<Box<dyn Future<Output = Notified> + Send + 'a>>;

/// What became of a notification: the answer's status and body, which is JSON.
#[derive(Debug)]
pub(crate) struct Notified {
    pub(crate) status: StatusCode,
    pub(crate) report: String,
}

/// Whether a request shows the token.
pub(crate) fn is_authorized(headers: &HeaderMap, token: &Secret<String>) -> bool {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (given.next(), given.next()) else { return false };
    let shown = only.to_str().ok().and_then(|value| value.split_once(' '));
    shown.is_some_and(|(scheme, shown)| {
        // Exposed: to be compared, in a time that does not depend on where they differ.
        let same = shown.trim().as_bytes().ct_eq(token.expose().as_bytes());
        scheme.eq_ignore_ascii_case("Bearer") && same.into()
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_token_opens() {
        let token = Secret::new("a-token-of-sixteen".to_owned());
        let with = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            is_authorized(&headers, &token)
        };
        assert!(with(&["Bearer a-token-of-sixteen"]));
        assert!(with(&["bearer  a-token-of-sixteen"]));
        for bad in [
            &[][..],
            &[""],
            &["Bearer"],
            &["Bearer "],
            &["a-token-of-sixteen"],
            &["Basic a-token-of-sixteen"],
            &["Bearer a-token-of-sixtee"],
            &["Bearer a-token-of-sixteenn"],
            &["Bearer A-token-of-sixteen"],
            &["Bearer a-token-of-sixteen", "Bearer a-token-of-sixteen"],
        ] {
            assert!(!with(bad), "{bad:?}");
        }
    }
}
