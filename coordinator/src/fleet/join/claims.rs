//! What a host may say of itself when it registers: an enrolled host is a machine that may be in
//! foreign hands, and what it says is kept, shown and dialled.
//!
//! Never: a rule that an agent of an earlier release may break.

use std::collections::BTreeSet;

use longshore_common::{
    machine::AgentRun,
    protocol::{Attribute, RegisterRequest},
    resources::Capacity,
};

/// Maximum number of attributes (ours): the agent's own, one for each capability and logging
/// driver, and the operator's.
const ATTRIBUTES_MAX: usize = 256;
/// Maximum length of attributes, ids and versions in characters (ours): ECS gives attributes 128,
/// and the agent tells what a machine calls itself.
const TEXT_CHARS_MAX: usize = 256;
/// Maximum length in characters of a name of the DNS (RFC 1035, 2.3.4), or of an address in
/// brackets.
const NAME_CHARS_MAX: usize = 255;
/// Maximum number of tags (ECS's TagResource).
const TAGS_MAX: usize = 50;
/// Maximum length of a tag's key in characters (ECS's TagResource).
const TAG_KEY_CHARS_MAX: usize = 128;
/// Maximum length of a tag's value in characters (ECS's TagResource).
const TAG_VALUE_CHARS_MAX: usize = 256;
/// Maximum number of GPUs (ours): far above what a machine holds.
const GPUS_MAX: usize = 64;
/// Maximum number of reserved ports, TCP's and UDP's together.
const RESERVED_PORTS_MAX: usize = 2 * 65_535;
/// Maximum amount of a resource (ECS's `integerValue` has 32 bits and a sign).
const AMOUNT_MAX: u32 = i32::MAX as u32;

/// The sentence says what does not fit.
pub(super) fn check(said: &RegisterRequest) -> Result<(), String> {
    text("bootId", &said.boot_id, TEXT_CHARS_MAX)?;
    for version in [Some(&said.versions.agent), Some(&said.versions.agent_hash)]
        .into_iter()
        .chain([said.versions.docker.as_ref()])
        .flatten()
    {
        text("a version", version, TEXT_CHARS_MAX)?;
    }
    if let Some(instance) = &said.instance_id {
        text("the instance id", instance, TEXT_CHARS_MAX)?;
    }
    name("the address to be called by", &said.advertise)?;
    let dialled = said.poll_address.rsplit_once(':');
    match dialled.map(|(host, port)| (host, port.parse::<u16>())) {
        Some((host, Ok(1..))) => name("the poll address", host)?,
        _ => return Err("the poll address is no host and port".to_owned()),
    }
    if let Some(run) = &said.run {
        check_run(run)?;
    }
    check_capacity(&said.capacity)?;
    check_attributes(&said.attributes)?;
    check_tags(&said.tags)
}

/// The marks of the machine are kept, and compared from then on.
pub(super) fn check_run(run: &AgentRun) -> Result<(), String> {
    let marks = [&run.machine.installation, &run.machine.hardware];
    marks.into_iter().flatten().try_for_each(|mark| text("a machine's mark", mark, TEXT_CHARS_MAX))
}

fn check_capacity(capacity: &Capacity) -> Result<(), String> {
    if capacity.cpu.0 > AMOUNT_MAX || capacity.memory.0 > AMOUNT_MAX {
        return Err(format!("CPU and memory are at most {AMOUNT_MAX} each"));
    }
    if capacity.reserved_ports.len() > RESERVED_PORTS_MAX || capacity.gpus.len() > GPUS_MAX {
        return Err(format!(
            "a host has at most {RESERVED_PORTS_MAX} reserved ports and {GPUS_MAX} GPUs"
        ));
    }
    let gpus = capacity.gpus.iter();
    gpus.clone().try_for_each(|gpu| text("the id of a GPU", gpu, TEXT_CHARS_MAX))?;
    each_once("GPU", gpus)
}

fn check_attributes(attributes: &[Attribute]) -> Result<(), String> {
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(format!("a host registers at most {ATTRIBUTES_MAX} attributes"));
    }
    for attribute in attributes {
        if attribute.name.is_empty() {
            return Err("an attribute has no name".to_owned());
        }
        text("the name of an attribute", &attribute.name, TEXT_CHARS_MAX)?;
        let value = attribute.value.as_deref().unwrap_or_default();
        text("the value of an attribute", value, TEXT_CHARS_MAX)?;
    }
    each_once("attribute", attributes.iter().map(|attribute| &attribute.name))
}

fn check_tags(tags: &[(String, String)]) -> Result<(), String> {
    if tags.len() > TAGS_MAX {
        return Err(format!("a resource has at most {TAGS_MAX} tags"));
    }
    for (key, value) in tags {
        text("the key of a tag", key, TAG_KEY_CHARS_MAX)?;
        // Agents take any character of their settings here.
        short("the value of a tag", value, TAG_VALUE_CHARS_MAX)?;
        let reserved = key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:"));
        if key.is_empty() || reserved {
            return Err(
                "the key of a tag is empty, or begins with aws:, which is reserved".to_owned()
            );
        }
    }
    each_once("tag", tags.iter().map(|(key, _)| key))
}

fn each_once<'a>(what: &str, mut names: impl Iterator<Item = &'a String>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    match names.find(|name| !seen.insert(name.as_str())) {
        Some(_) => Err(format!("one {what} is given twice")),
        None => Ok(()),
    }
}

fn name(what: &str, said: &str) -> Result<(), String> {
    if said.is_empty() || said.chars().any(char::is_whitespace) {
        return Err(format!("{what} is empty or has spaces"));
    }
    text(what, said, NAME_CHARS_MAX)
}

/// Texts are shown on terminals and in logs. What was said is not repeated here.
fn text(what: &str, said: &str, chars: usize) -> Result<(), String> {
    short(what, said, chars)?;
    match said.chars().any(char::is_control) {
        true => Err(format!("{what} contains a control character")),
        false => Ok(()),
    }
}

fn short(what: &str, said: &str, chars: usize) -> Result<(), String> {
    match said.len() > chars * 4 || said.chars().count() > chars {
        true => Err(format!("{what} is longer than {chars} characters")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use longshore_common::{
        machine::MachineMarks,
        resources::{CpuUnits, MemoryMib},
    };

    use super::*;
    use longshore_core::test_kit::world::World;

    fn honest() -> RegisterRequest {
        let mut said = World::new().registration("a", Some("i-0123456789abcdef0".to_owned()));
        let value = |name: &str, value: &str| Attribute {
            name: name.to_owned(),
            value: Some(value.to_owned()),
        };
        said.attributes = vec![
            value("ecs.instance-type", "Standard PC (i440FX + PIIX, 1996)"),
            value("ecs.ami-id", "Debian GNU/Linux 12 (bookworm)"),
            Attribute { name: "ecs.capability.docker-plugin.a/b:1".to_owned(), value: None },
        ];
        said.tags = vec![("owner".to_owned(), String::new())];
        said.versions.docker = Some("20.10.24+dfsg1".to_owned());
        said.run = Some(AgentRun::default());
        said
    }

    #[test]
    fn what_honest_agents_say_is_taken() {
        assert_eq!(check(&honest()), Ok(()));
        let mut said = honest();
        said.poll_address = "[2001:db8::1]:51680".to_owned();
        said.advertise = "2001:db8::1".to_owned();
        assert_eq!(check(&said), Ok(()));
    }

    #[test]
    fn what_no_agent_says_of_its_host_is_refused() {
        type Lie = (&'static str, fn(&mut RegisterRequest));
        let attribute = |name: &str| Attribute { name: name.to_owned(), value: None };
        let lies: &[Lie] = &[
            ("4,000 attributes", |said| {
                let name = |at| Attribute { name: format!("a{at}"), value: None };
                said.attributes = (0..4000).map(name).collect();
            }),
            ("an attribute twice", |said| {
                let twice = said.attributes[0].clone();
                said.attributes.push(twice);
            }),
            ("an attribute's name", |said| said.attributes[0].name = "a\nb\u{1b}[31m".to_owned()),
            ("an attribute's value", |said| said.attributes[0].value = Some("\0".to_owned())),
            ("no name", |said| said.attributes[0].name.clear()),
            ("an instance id's bytes", |said| said.instance_id = Some("i-\0".to_owned())),
            ("an instance id's length", |said| said.instance_id = Some("i".repeat(100_000))),
            ("a boot id", |said| said.boot_id = "b".repeat(100_000)),
            ("a poll address's length", |said| {
                said.poll_address = format!("{}:1", "a".repeat(200_000));
            }),
            ("a poll address's lines", |said| said.poll_address = "\r\nx:1".to_owned()),
            ("no port", |said| said.poll_address = "10.0.0.1".to_owned()),
            ("port 0", |said| said.poll_address = "10.0.0.1:0".to_owned()),
            ("no host", |said| said.poll_address = ":51680".to_owned()),
            ("an address to be called by", |said| said.advertise = "a b".to_owned()),
            ("an empty key", |said| said.tags[0].0.clear()),
            ("a reserved key", |said| said.tags[0].0 = "AWS:x".to_owned()),
            ("a key twice", |said| said.tags = vec![said.tags[0].clone(); 2]),
            ("51 tags", |said| {
                said.tags = (0..51).map(|at| (at.to_string(), String::new())).collect();
            }),
            ("a tag's value", |said| said.tags[0].1 = "v".repeat(257)),
            ("CPU", |said| said.capacity.cpu = CpuUnits(u32::MAX)),
            ("memory", |said| said.capacity.memory = MemoryMib(u32::MAX)),
            ("one GPU twice", |said| said.capacity.gpus = vec!["g".to_owned(); 2].into()),
            ("65 GPUs", |said| {
                said.capacity.gpus = (0..65).map(|at| at.to_string()).collect();
            }),
            ("an agent's version", |said| said.versions.agent = "\u{1b}[2J".to_owned()),
            ("an agent's hash", |said| said.versions.agent_hash = "x".repeat(50_000)),
            ("Docker's version", |said| said.versions.docker = Some("\n".to_owned())),
            ("a mark", |said| {
                let hardware = Some("\0".to_owned());
                let machine = MachineMarks { installation: None, hardware };
                said.run = Some(AgentRun { session: 1, machine });
            }),
        ];
        assert_eq!(check_attributes(&[attribute("a"), attribute("b")]), Ok(()));
        for (what, lie) in lies {
            let mut said = honest();
            lie(&mut said);
            assert!(check(&said).is_err(), "{what} was taken");
        }
    }
}
