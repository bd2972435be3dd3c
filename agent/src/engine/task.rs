//! One task on this host: what is wanted of it, what is known of it, and how it is named.

pub(crate) mod labels;
pub(crate) mod desired;
pub(crate) mod observed;
pub(crate) mod endpoint_names;
pub(crate) mod shown;
