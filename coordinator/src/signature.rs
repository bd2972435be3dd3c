//! AWS Signature Version 4: what is signed, with which key, and how a client signs.
//!
//! For all who sign or check: the verifier of our API (`edge`), our own client, and the calls of AWS
//! (`effects`). Never: a judgement of a signature, or a secret in a text.

mod canonical;
mod key;
mod sign;

use http::HeaderName;

pub(crate) use self::{
    canonical::{
        ALGORITHM, AmzDate, Scope, basic_format, canonical_request, hex_sha256, string_to_sign,
    },
    key::SigningKey,
    sign::{sign, sign_for_path},
};

/// Header with the time of signing.
pub(crate) const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
