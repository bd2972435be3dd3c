//! Auto Scaling, as far as capacity providers need it.

pub(crate) mod groups;
