//! What a task asks of the hosts that may be given it.

use longshore_common::{protocol::Attribute, task_definition::CpuArchitecture};

use crate::{placement::GroupKey, state::Definition};

/// Key of a group that has no task yet, so that no host counts for the group.
pub(crate) const NEW_GROUP: GroupKey = GroupKey(u32::MAX);

/// What a host must have to be given a task of this definition.
pub(crate) fn required_attributes(definition: &Definition) -> Vec<Attribute> {
    let mut required = definition.requires_attributes.clone();
    let spec = &definition.definition.spec;
    let architecture = spec.runtime_platform.as_ref().and_then(|p| p.cpu_architecture);
    if let Some(architecture) = architecture {
        let value = match architecture {
            CpuArchitecture::X86_64 => "x86_64",
            CpuArchitecture::Arm64 => "arm64",
        };
        let name = "ecs.cpu-architecture".to_owned();
        let architecture = Attribute { name, value: Some(value.to_owned()) };
        // Definitions that earlier releases registered do not say it themselves.
        if !required.contains(&architecture) {
            required.push(architecture);
        }
    }
    required
}
