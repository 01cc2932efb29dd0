//! JSON as a record has it: texts stay where they stand, and an object is a short list of pairs.
//!
//! An event is decoded once in a while and with cold caches, where every allocation counts: a tree of
//! maps takes twice the time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Any JSON.
#[derive(Debug)]
pub(super) enum Json<'a> {
    Null,
    Whole(u64),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Object<'a>),
    /// Something of which a record has no use.
    Other,
}

/// An object, in the order of its text.
#[derive(Debug)]
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Json<'a> {
    pub(super) fn object(&self, what: &str) -> Result<&Object<'a>, String> {
        match self {
            Self::Object(object) => Ok(object),
            _ => Err(format!("{what} is no JSON object")),
        }
    }
}

impl<'a> Object<'a> {
    /// The field `key` in any case; exact case wins, and the last of several. `null` is as good as
    /// missing.
    pub(super) fn field(&self, key: &str) -> Option<&Json<'a>> {
        let last = |is: fn(&str, &str) -> bool| self.0.iter().rev().find(|(name, _)| is(name, key));
        last(|name, key| name == key)
            .or_else(|| last(str::eq_ignore_ascii_case))
            .map(|(_, json)| json)
            .filter(|json| !matches!(json, Json::Null))
    }

    /// The text of `key`; empty if there is none.
    pub(super) fn text(&self, key: &str) -> Result<&str, String> {
        match self.field(key) {
            None => Ok(""),
            Some(Json::Text(text)) => Ok(text),
            Some(_) => Err(format!("the field `{key}` is no text")),
        }
    }

    /// What `read` makes of each entry of the list `key`; nothing if there is none.
    pub(super) fn list<T>(
        &self,
        key: &str,
        read: impl Fn(&Json<'a>) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        match self.field(key) {
            None => Ok(Vec::new()),
            Some(Json::List(all)) => all.iter().map(read).collect(),
            Some(_) => Err(format!("the field `{key}` is no list")),
        }
    }

    /// All pairs; of the same key the last one.
    pub(super) fn pairs(&self) -> BTreeMap<&str, &Json<'a>> {
        self.0.iter().map(|(key, json)| (&**key, json)).collect()
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Json::Other)
    }

    fn visit_u64<E>(self, whole: u64) -> Result<Self::Value, E> {
        Ok(Json::Whole(whole))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Json::Other)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(json) = all.next_element()? {
            list.push(json);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some((Key(key), json)) = all.next_entry()? {
            pairs.push((key, json));
        }
        Ok(Json::Object(Object(pairs)))
    }
}

/// The key of a pair.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_where_they_stand_unless_they_have_escapes() {
        let json: Json<'_> =
            serde_json::from_str(r#"{"plain":"text","e\u0073caped":"a\"b"}"#).expect("json");
        let object = json.object("it").expect("object");
        let borrowed = |cow: &Cow<'_, str>| matches!(cow, Cow::Borrowed(_));
        for ((key, json), plain) in object.0.iter().zip([true, false]) {
            let Json::Text(text) = json else {
                panic!("{json:?}")
            };
            assert_eq!((borrowed(key), borrowed(text)), (plain, plain), "{key}");
        }
        assert_eq!(object.text("escaped"), Ok("a\"b"));
    }

    #[test]
    fn the_last_of_several_fields_counts_but_exact_case_wins() {
        for (text, expected) in [
            (r#"{"name":"1","name":"2"}"#, "2"),
            (r#"{"name":"1","NAME":"2"}"#, "1"),
            (r#"{"Name":"1","NAME":"2"}"#, "2"),
            (r#"{"NAME":"1","name":null}"#, ""),
        ] {
            let json: Json<'_> = serde_json::from_str(text).expect(text);
            let object = json.object("it").expect("object");
            assert_eq!(object.text("name"), Ok(expected), "{text}");
        }
    }
}
