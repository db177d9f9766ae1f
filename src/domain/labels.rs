//! What looks like a label. Owns the one list of names that no file, request or schema may carry; must never see values.

use std::fmt;

use serde::de::DeserializeSeed;
use serde::de::Deserializer;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;

/// Names under which people keep labels, in lower case without separators.
const LABEL_NAMES: &[&str] = &[
    "label",
    "labels",
    "labelid",
    "labelids",
    "target",
    "targets",
    "y",
    "ytrue",
    "class",
    "classes",
    "classid",
    "category",
    "categories",
    "answer",
    "answers",
    "completion",
    "completions",
    "gold",
    "goldlabel",
    "groundtruth",
    "sentiment",
    "score",
    "scores",
    "stars",
    "rating",
    "outcome",
    "diagnosis",
    "chosen",
    "rejected",
    "preferred",
    "nonpreferred",
    "preferredoutput",
    "nonpreferredoutput",
    "response",
    "output",
];

/// Whether a key or column looks like a label: `label`, `Labels`, `gold_label`, `target`, `y`, `completion`, and so on.
pub fn is_label_name(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect();
    LABEL_NAMES.contains(&plain.as_str()) || plain.starts_with("label") || plain.ends_with("label")
}

/// Where in a JSON text, at whatever depth, the first name stands that looks like a label: its path. Names that a later one of the same
/// object replaces count as well. An error where the text is no JSON.
pub fn first_label(json: &[u8]) -> serde_json::Result<Option<String>> {
    let mut found = None;
    let mut reader = serde_json::Deserializer::from_slice(json);
    Names { path: "", found: &mut found }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(found)
}

/// Looks at the names in a value, and skips everything else.
struct Names<'a> {
    path: &'a str,
    found: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Names<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

macro_rules! skip {
    ($($visit:ident: $value:ty),*) => {
        $(fn $visit<E>(self, _: $value) -> Result<(), E> {
            Ok(())
        })*
    };
}

impl<'de> Visitor<'de> for Names<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    skip!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut place = 0;
        loop {
            let path = format!("{}[{place}]", self.path);
            if items.next_element_seed(Names { path: &path, found: self.found })?.is_none() {
                return Ok(());
            }
            place += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<String>()? {
            let path = if self.path.is_empty() { name.clone() } else { format!("{}.{name}", self.path) };
            if self.found.is_none() && is_label_name(&name) {
                *self.found = Some(path.clone());
            }
            match self.found {
                Some(_) => drop(fields.next_value::<IgnoredAny>()?),
                None => fields.next_value_seed(Names { path: &path, found: self.found })?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_found_at_any_depth_and_even_where_another_name_hides_it() {
        for (json, place) in [
            (r#"{"label": 1}"#, "label"),
            (r#"{"body": {"metadata": {"gold_label": 1}}}"#, "body.metadata.gold_label"),
            (r#"{"body": {"input": [{"text": "x"}, {"y": 1}]}}"#, "body.input[1].y"),
            (r#"{"body": {"target": 1}, "body": {}}"#, "body.target"),
            (r#"[[{"a": {"stars": 1, "label": 2}}]]"#, "[0][0].a.stars"),
        ] {
            assert_eq!(first_label(json.as_bytes()).expect("JSON").as_deref(), Some(place), "{json}");
        }
        let free =
            r#"{"custom_id": "label", "body": {"model": "m", "input": ["y", "label"], "n": [1, 1.5, -2, null, true]}}"#;
        assert_eq!(first_label(free.as_bytes()).expect("JSON"), None, "what a text says is not looked at");
        for broken in ["", "{", "{} x", "{\"a\" 1}"] {
            assert!(first_label(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn names_of_labels_are_known_however_they_are_written() {
        for name in [
            "label",
            "Label",
            "LABELS",
            "label_id",
            "gold-label",
            "is_label",
            "target",
            "y",
            "Y",
            "completion",
            "ground truth",
        ] {
            assert!(is_label_name(name), "{name}");
        }
        for name in ["text", "text_pair", "input_ids", "id", "sentence", "lengths", "seq"] {
            assert!(!is_label_name(name), "{name}");
        }
    }
}
