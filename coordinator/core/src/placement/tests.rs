//! Tables of what is chosen and said, then properties against a slow, obvious scheduler.

mod reference;
mod tables;
mod properties;
