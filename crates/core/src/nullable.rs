//! What is empty, as Go writes it.

/// A map that is `null` on the wire when it is empty, as Go writes a nil map.
pub(crate) mod map {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::Metadata;

    pub(crate) fn serialize<S: Serializer>(map: &Metadata, s: S) -> Result<S::Ok, S::Error> {
        (!map.is_empty()).then_some(map).serialize(s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Metadata, D::Error> {
        Ok(Option::deserialize(d)?.unwrap_or_default())
    }
}

/// A list that is `null` on the wire when it is empty, as Go writes a nil slice.
pub(crate) mod list {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer, T: Serialize>(
        list: &[T],
        s: S,
    ) -> Result<S::Ok, S::Error> {
        (!list.is_empty()).then_some(list).serialize(s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
        d: D,
    ) -> Result<Vec<T>, D::Error> {
        Ok(Option::deserialize(d)?.unwrap_or_default())
    }
}
