//! How an event of some resource is read: its name says which resource's it is, and that resource's enum
//! reads the rest.

use std::{collections::BTreeMap, fmt, sync::LazyLock};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, EnumAccess, Error, IntoDeserializer, Visitor},
};

use super::{Event, NAMES, Resource, read};

/// Which resource's event a name is.
static RESOURCES: LazyLock<BTreeMap<&'static str, Resource>> = LazyLock::new(|| {
    let names = NAMES.iter().flat_map(|(of, names)| names().iter().map(|name| (*name, *of)));
    names.collect()
});

static ALL_NAMES: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| NAMES.iter().flat_map(|(_, names)| names()).copied().collect());

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_enum("Event", ALL_NAMES.as_slice(), OfAnyResource)
    }
}

struct OfAnyResource;

impl<'de> Visitor<'de> for OfAnyResource {
    type Value = Event;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Event, A::Error> {
        let ((resource, name), content) = data.variant_seed(Name)?;
        read(resource, Named { name, content })
    }
}

/// Finds a variant's name among those of all resources.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = (Resource, &'static str);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name {
    type Value = (Resource, &'static str);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an event")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let known = RESOURCES.get_key_value(name);
        let (name, resource) =
            known.ok_or_else(|| E::unknown_variant(name, ALL_NAMES.as_slice()))?;
        Ok((*resource, name))
    }
}

/// A variant whose name was read, for a resource's enum to read as if it had not been.
struct Named<A> {
    name: &'static str,
    content: A,
}

impl<'de, A: serde::de::VariantAccess<'de>> EnumAccess<'de> for Named<A> {
    type Error = A::Error;
    type Variant = A;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, A), A::Error> {
        Ok((seed.deserialize(self.name.into_deserializer())?, self.content))
    }
}
