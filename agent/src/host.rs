//! This host: what its machine has, what its Docker can do, and how its disks are.

pub(crate) mod machine;
pub(crate) mod address;
pub(crate) mod ec2;
pub(crate) mod spot;
pub(crate) mod gpus;
pub(crate) mod capabilities;
pub(crate) mod docker_reach;
pub mod disk;
