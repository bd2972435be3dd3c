//! The join token: what a host needs to enter a fleet, as one word to copy.
//!
//! `v1-<SHA-256 of the CA certificate's DER>-<secret>`, both numbers in base 36 with leading
//! zeros, so that every token is equally long. The hash comes first in time too: a host shows the
//! secret only to a server whose certificate that CA has signed.

use std::{fmt, str::FromStr};

use crate::secret::Secret;

/// Bytes of the secret: 128 random bits.
pub const SECRET_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Digits that 128 and 256 bits need in base 36.
const SECRET_DIGITS: usize = 25;
const HASH_DIGITS: usize = 50;

/// SHA-256 of the DER of a CA's certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CaHash(pub [u8; HASH_BYTES]);

impl fmt::Display for CaHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_base36::<HASH_BYTES>(self.0, HASH_DIGITS))
    }
}

impl fmt::Debug for CaHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The half of a token that only its holder and, for one moment, the coordinator know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinSecret(Secret<[u8; SECRET_BYTES]>);

impl JoinSecret {
    pub fn new(bytes: [u8; SECRET_BYTES]) -> Self {
        JoinSecret(Secret::new(bytes))
    }

    /// The bytes whose hash the coordinator keeps.
    pub fn expose(&self) -> &[u8; SECRET_BYTES] {
        self.0.expose()
    }

    /// The secret as [`crate::protocol::JoinRequest`] carries it.
    pub fn expose_text(&self) -> String {
        to_base36(*self.0.expose(), SECRET_DIGITS)
    }
}

impl FromStr for JoinSecret {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        from_base36(text, SECRET_DIGITS).map(JoinSecret::new)
    }
}

/// A whole token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinToken {
    pub ca: CaHash,
    pub secret: JoinSecret,
}

impl JoinToken {
    /// The token as its maker shows it, once.
    pub fn expose_text(&self) -> String {
        format!("v1-{}-{}", self.ca, self.secret.expose_text())
    }
}

impl FromStr for JoinToken {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let rest = text.trim().strip_prefix("v1-").ok_or(NotAToken)?;
        let (ca, secret) = rest.split_once('-').ok_or(NotAToken)?;
        Ok(JoinToken { ca: CaHash(from_base36(ca, HASH_DIGITS)?), secret: secret.parse()? })
    }
}

/// Says nothing of the text, which may be a token with a slip in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a join token: one looks like v1-<50 letters and digits>-<25 letters and digits>, all in \
     lower case; make one with `longshore-coordinator join-token create`"
)]
pub struct NotAToken;

/// Long division of a big-endian number, a digit at a time.
fn to_base36<const N: usize>(mut number: [u8; N], digits: usize) -> String {
    let mut text = vec![b'0'; digits];
    for digit in text.iter_mut().rev() {
        let mut remainder = 0u32;
        for byte in &mut number {
            let value = remainder << 8 | u32::from(*byte);
            *byte = (value / 36) as u8;
            remainder = value % 36;
        }
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[remainder as usize];
    }
    text.into_iter().map(char::from).collect()
}

fn from_base36<const N: usize>(text: &str, digits: usize) -> Result<[u8; N], NotAToken> {
    if text.len() != digits {
        return Err(NotAToken);
    }
    let mut number = [0u8; N];
    for digit in text.bytes() {
        let mut carry = match digit {
            b'0'..=b'9' => u32::from(digit - b'0'),
            b'a'..=b'z' => u32::from(digit - b'a') + 10,
            _ => return Err(NotAToken),
        };
        for byte in number.iter_mut().rev() {
            let value = u32::from(*byte) * 36 + carry;
            *byte = value as u8;
            carry = value >> 8;
        }
        if carry != 0 {
            return Err(NotAToken);
        }
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(ca: u8, secret: u8) -> JoinToken {
        JoinToken { ca: CaHash([ca; 32]), secret: JoinSecret::new([secret; 16]) }
    }

    #[test]
    fn a_token_reads_back_what_it_prints_and_is_always_equally_long() {
        for token in [token(0, 0), token(0, 1), token(255, 255), token(17, 200)] {
            let text = token.expose_text();
            assert_eq!(text.len(), 3 + 50 + 1 + 25, "{text}");
            assert_eq!(text.parse(), Ok(token));
        }
    }

    #[test]
    fn a_token_keeps_its_form_for_ever() {
        assert_eq!(
            token(1, 2).expose_text(),
            "v1-00wfesa7hnndpa75gyfnj79sen6tckcay4346207nduncfp7gh-04a1ykcf8nmwy3nrgd5nahg5e"
        );
    }

    #[test]
    fn a_slip_in_a_token_is_found_and_never_repeated() {
        let good = token(1, 2).expose_text();
        for bad in [
            String::new(),
            good.replace("v1", "v2"),
            good.to_uppercase(),
            good[..good.len() - 1].to_owned(),
            format!("{good}0"),
            format!("v1-{}-{}", "z".repeat(50), "0".repeat(25)),
            format!("v1-{}-{}", "0".repeat(50), "z".repeat(25)),
            good.replace('-', "_"),
        ] {
            let error = bad.parse::<JoinToken>().unwrap_err();
            assert!(bad.is_empty() || !error.to_string().contains(&bad));
        }
    }

    #[test]
    fn a_token_does_not_show_its_secret_by_accident() {
        let shown = format!("{:?}", token(1, 2));
        assert!(!shown.contains(&token(1, 2).secret.expose_text()), "{shown}");
        assert!(shown.contains("[secret]"));
    }
}
