//! Maps whose order does not change from run to run: the pure core may not depend on chance.

/// A map with a fixed hash, for the hot path. Its iteration order is still not meaningful:
/// iterate a `BTreeMap` or a dense arena where order shows.
pub type FastMap<K, V> = hashbrown::HashMap<K, V, rustc_hash::FxBuildHasher>;
/// See [`FastMap`].
pub type FastSet<K> = hashbrown::HashSet<K, rustc_hash::FxBuildHasher>;
