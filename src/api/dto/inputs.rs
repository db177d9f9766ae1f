//! The inputs of activations and embeddings, in every form that OpenAI's API takes. Owns how they are told apart; a call may have many,
//! and they take little more memory than their body.

use std::fmt;
use std::mem::Discriminant;

use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use utoipa::PartialSchema;
use utoipa::ToSchema;
use utoipa::openapi::ArrayBuilder;
use utoipa::openapi::OneOfBuilder;
use utoipa::openapi::RefOr;
use utoipa::openapi::Schema;

use crate::api::dto::forms::Form;
use crate::api::dto::forms::no_form;
use crate::domain::error_code::ErrorCode;
use crate::domain::limits::MOST_ROWS;
use crate::domain::schemas;
use crate::service::Inputs;
use crate::service::Result;
use crate::service::ServiceError;

/// Most inputs of a call, as `limits.batch_rows` has it by default.
const MOST_INPUTS: usize = 1024;

/// One text, or a list: of texts, of pairs of texts, of token ids (one input), or of lists of token ids.
#[derive(Debug, Clone)]
pub enum InputJson {
    /// A text.
    One(String),
    /// Inputs of one kind, or the tokens of one input.
    Many(InputList),
}

/// The elements of a list of inputs, by their kind.
#[derive(Debug, Clone, Default)]
pub struct InputList {
    /// Texts and pairs.
    texts: Vec<(String, Option<String>)>,
    /// The tokens of the one input.
    one: Vec<i64>,
    /// The tokens of each input.
    ids: Vec<Vec<i64>>,
    count: usize,
    first: Option<Discriminant<Form>>,
    /// The first element of another kind than the first.
    mixed: Option<usize>,
    /// The first list of texts that is no pair.
    odd: Option<usize>,
}

impl InputList {
    /// Takes one more; says whether it has a form at all.
    fn take(&mut self, form: Form) -> bool {
        let kind = std::mem::discriminant(&form);
        if *self.first.get_or_insert(kind) != kind {
            self.mixed.get_or_insert(self.count);
        }
        let has_room = self.count < MOST_ROWS;
        match form {
            Form::Number(id) => self.one.push(id),
            Form::Text(text) if has_room => self.texts.push((text, None)),
            Form::Numbers(ids) if has_room => self.ids.push(ids),
            Form::Texts(pair) => match (pair.count, <[String; 2]>::try_from(pair.kept)) {
                (2, Ok([first, second])) if has_room => self.texts.push((first, Some(second))),
                (2, _) => {}
                _ => drop(self.odd.get_or_insert(self.count)),
            },
            Form::Other => return false,
            Form::Text(_) | Form::Numbers(_) => {}
        }
        self.count += 1;
        true
    }
}

impl<'de> Deserialize<'de> for InputJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(InputVisitor)?.ok_or_else(|| no_form("InputJson"))
    }
}

/// Gives `None` for what has no form, when it has read over it.
struct InputVisitor;

impl<'de> Visitor<'de> for InputVisitor {
    type Value = Option<InputJson>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list")
    }

    fn visit_str<E: Error>(self, text: &str) -> std::result::Result<Self::Value, E> {
        Ok(Some(InputJson::One(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> std::result::Result<Self::Value, A::Error> {
        let (mut list, mut have_forms) = (InputList::default(), true);
        while let Some(form) = elements.next_element()? {
            have_forms &= list.take(form);
        }
        Ok(have_forms.then_some(InputJson::Many(list)))
    }

    fn visit_bool<E: Error>(self, _: bool) -> std::result::Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> std::result::Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _: u64) -> std::result::Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> std::result::Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> std::result::Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

impl PartialSchema for InputJson {
    fn schema() -> RefOr<Schema> {
        let tokens = || ArrayBuilder::new().items(schemas::count()).min_items(Some(1));
        let forms = OneOfBuilder::new()
            .item(schemas::some_text())
            .item(schemas::some(schemas::some_text(), MOST_INPUTS))
            .item(schemas::some(schemas::pair(), MOST_INPUTS))
            .item(tokens())
            .item(schemas::some(tokens(), MOST_INPUTS));
        let description =
            "One text, or a list: of texts, of pairs of texts, of token ids (one input), or of lists of token ids.";
        forms.description(Some(description)).into()
    }
}

impl ToSchema for InputJson {}

impl InputJson {
    /// The inputs; a list of mixed kinds is refused, by the place of the first that differs.
    pub fn read(self) -> Result<Inputs> {
        let list = match self {
            Self::One(text) => return Ok(Inputs::Texts(vec![(text, None)])),
            Self::Many(list) => list,
        };
        let wrong = |place: usize, reason: &str| {
            let place = format!("input[{place}]");
            Err(ServiceError::new(ErrorCode::InvalidInput, format!("{place}: {reason}.")).at(place))
        };
        // An empty list is an input without tokens as well as a pair without texts.
        if let Some(place) = list.mixed {
            return wrong(place, "is of another kind than the inputs before it");
        }
        if let Some(place) = list.odd {
            return wrong(place, "a pair has two texts");
        }
        let InputList { texts, one, mut ids, count, .. } = list;
        if !one.is_empty() {
            ids.push(one);
        } else if count > MOST_ROWS {
            let message = format!("input: {count} in one call, at most {MOST_ROWS} are read.");
            return Err(ServiceError::new(ErrorCode::TooManyInputs, message).at("input"));
        }
        Ok(if ids.is_empty() { Inputs::Texts(texts) } else { Inputs::Tokens { ids, types: None } })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The forms as serde's `untagged` reads them: what must be read alike.
    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    enum Plain {
        One(String),
        Many(Vec<PlainItem>),
    }

    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    enum PlainItem {
        Text(String),
        Token(i64),
        Tokens(Vec<i64>),
        Pair(Vec<String>),
    }

    fn inputs(plain: Plain) -> std::result::Result<Inputs, String> {
        let items = match plain {
            Plain::One(text) => return Ok(Inputs::Texts(vec![(text, None)])),
            Plain::Many(items) => items,
        };
        let kind = items.first().map(std::mem::discriminant);
        if let Some(place) = items.iter().position(|item| Some(std::mem::discriminant(item)) != kind) {
            return Err(format!("input[{place}]: is of another kind than the inputs before it."));
        }
        let (mut texts, mut ids, mut one) = (Vec::new(), Vec::new(), Vec::new());
        for (place, item) in items.into_iter().enumerate() {
            match item {
                PlainItem::Text(text) => texts.push((text, None)),
                PlainItem::Token(id) => one.push(id),
                PlainItem::Tokens(list) => ids.push(list),
                PlainItem::Pair(pair) => match <[String; 2]>::try_from(pair) {
                    Ok([first, second]) => texts.push((first, Some(second))),
                    Err(_) => return Err(format!("input[{place}]: a pair has two texts.")),
                },
            }
        }
        if !one.is_empty() {
            ids.push(one);
        }
        Ok(if ids.is_empty() { Inputs::Texts(texts) } else { Inputs::Tokens { ids, types: None } })
    }

    fn expected(json: &str) -> std::result::Result<Inputs, String> {
        let plain = serde_json::from_str::<Plain>(json).map_err(|_| "no form".to_owned())?;
        inputs(plain)
    }

    fn read(json: &str) -> std::result::Result<Inputs, String> {
        let read = serde_json::from_str::<InputJson>(json).map_err(|error| {
            let told = error.to_string().contains("did not match any variant of untagged enum InputJson");
            if told || error.is_syntax() { "no form".to_owned() } else { error.to_string() }
        })?;
        read.read().map_err(|error| error.message)
    }

    fn leaf() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "[a-c]{0,2}".prop_map(|text| format!("\"{text}\"")),
            4 => (-3_i64..100).prop_map(|id| id.to_string()),
            1 => prop_oneof![Just("null"), Just("1.5"), Just("true"), Just("{\"a\":1}"), Just("18446744073709551615"), Just("[[1]]")]
                .prop_map(str::to_owned),
        ]
    }

    fn list<T: Strategy<Value = String>>(of: T) -> impl Strategy<Value = String> {
        proptest::collection::vec(of, 0..4).prop_map(|items| format!("[{}]", items.join(",")))
    }

    proptest! {
        #[test]
        fn every_form_is_read_as_untagged_enums_read_it(json in prop_oneof![
            leaf(),
            list(leaf()),
            list(list(leaf())),
            list(prop_oneof![leaf(), list(leaf())]),
            list(list("\"[a-b]\"".prop_map(|text| text))),
            list(list((0..9_i64).prop_map(|id| id.to_string()))),
        ]) {
            prop_assert_eq!(read(&json), expected(&json), "{}", json);
        }
    }

    #[test]
    fn more_inputs_than_any_host_takes_are_counted_and_not_kept() {
        let many = |item: &str| format!("[{}]", vec![item; MOST_ROWS + 1].join(","));
        for item in ["\"a\"", "[1]", "[\"a\",\"b\"]"] {
            let InputJson::Many(list) = serde_json::from_str(&many(item)).expect("a list") else { panic!("no list") };
            assert_eq!((list.count, list.texts.len() + list.ids.len()), (MOST_ROWS + 1, MOST_ROWS));
            let error = InputJson::Many(list).read().expect_err("too many");
            assert_eq!((error.code, error.param.as_deref()), (ErrorCode::TooManyInputs, Some("input")));
        }
        let InputJson::Many(one) = serde_json::from_str(&many("1")).expect("a list") else { panic!("no list") };
        assert_eq!(one.one.len(), MOST_ROWS + 1, "the tokens of one input");
    }
}
