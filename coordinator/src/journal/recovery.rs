//! From the journal to the state, at a start and beside one.
//!
//! Refuses a gap or a bad sum; it never guesses.

use std::path::Path;

use longshore_core::State;

use super::sqlite::{self, SqliteJournal};
pub use super::sqlite::{Recovered, RecoveryError};

/// Rebuilds the state. Only ever applies: nothing is decided anew.
pub fn recover(journal: &SqliteJournal) -> Result<(State, Recovered), RecoveryError> {
    sqlite::recover_from(journal.connection())
}

/// Does what a start does, of one moment of a journal that a coordinator may be writing, and holds
/// the state against its own entities. A sentence for each counter or index that is not what they say.
pub fn check(directory: &Path) -> Result<Vec<String>, RecoveryError> {
    let mut connection = sqlite::beside_a_coordinator(directory)?;
    let moment = connection.transaction()?;
    let (state, _) = sqlite::recover_from(&moment)?;
    Ok(state.check())
}
