use longshore_common::{clock::Timestamp, join_token::CaHash};

use super::*;
use crate::random::Random;

#[test]
fn a_made_token_is_kept_as_a_hash_only() {
    let (random, expires_at) = (Random::of_system(), Timestamp(1_000));
    let made = make_token(&random, CaHash([1; 32]), None, expires_at, Some(1)).unwrap();
    let again = make_token(&random, CaHash([1; 32]), None, expires_at, Some(1)).unwrap();
    assert_ne!(made.kept.id, again.kept.id);
    assert_ne!(made.kept.secret_hash, again.kept.secret_hash);
    let word = made.word.expose_text().parse::<longshore_common::join_token::JoinToken>().unwrap();
    assert_eq!(token::secret_hash(&word.secret), made.kept.secret_hash);
    let kept = format!("{:?}", made.kept);
    assert!(!kept.contains(&made.word.secret.expose_text()), "{kept}");
}
