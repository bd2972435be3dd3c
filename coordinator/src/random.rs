//! Random bytes of secrets and ids: from the operating system, or from a simulation's seed.
//!
//! Never: bytes that are not random because the system gave none; whoever asks is told.

use std::{fmt, sync::Arc};

type Fill = dyn Fn(&mut [u8]) -> Result<(), getrandom::Error> + Send + Sync;

/// Cheap to clone.
#[derive(Clone)]
pub struct Random(Arc<Fill>);

impl Random {
    pub fn of_system() -> Self {
        Random(Arc::new(getrandom::fill))
    }

    /// Randomness for simulations, which are to have the same course again.
    pub fn simulated(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Random(Arc::new(move |bytes| {
            fill(bytes);
            Ok(())
        }))
    }

    pub fn bytes<const LENGTH: usize>(&self) -> Result<[u8; LENGTH], getrandom::Error> {
        let mut bytes = [0; LENGTH];
        (self.0)(&mut bytes)?;
        Ok(bytes)
    }

    pub fn number(&self) -> Result<u64, getrandom::Error> {
        self.bytes().map(u64::from_ne_bytes)
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Random")
    }
}
