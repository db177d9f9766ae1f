//! JSON that may have one of several forms: a text, a number, a list of either. Owns how it is read in one go, lists of numbers flat,
//! so that a body takes few times its size in memory, however it is cut up; must never say what a form means.
//!
//! serde's own `untagged` keeps every value in a tree first: forty times a body of short lists.

use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;

use crate::domain::limits::MOST_ROWS;

/// Texts of a list in a list that are kept: no pair, nor any choice, has more.
const TEXTS_KEPT: usize = 64;

/// A list of which the first elements are kept, and all are counted.
#[derive(Debug, Clone)]
pub struct Counted<T> {
    /// The first ones.
    pub kept: Vec<T>,
    /// How many there are.
    pub count: usize,
}

impl<T> Default for Counted<T> {
    fn default() -> Self {
        Self { kept: Vec::new(), count: 0 }
    }
}

impl<T> Counted<T> {
    /// One more.
    pub fn push(&mut self, value: T, most: usize) {
        if self.kept.len() < most {
            self.kept.push(value);
        }
        self.count += 1;
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Counted<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(CountedVisitor(std::marker::PhantomData))
    }
}

struct CountedVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for CountedVisitor<T> {
    type Value = Counted<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Counted<T>, A::Error> {
        let mut counted = Counted::default();
        while let Some(value) = list.next_element()? {
            counted.push(value, MOST_ROWS);
        }
        Ok(counted)
    }
}

/// What a value turned out to be. What fits no form is read over and is `Other`, so that its place is that of the whole.
#[derive(Debug, Clone)]
pub enum Form {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// Whole numbers, or nothing.
    Numbers(Vec<i64>),
    /// Texts.
    Texts(Counted<String>),
    /// Anything else.
    Other,
}

/// What serde says of a value that has none of the forms of an enum.
pub fn no_form<E: Error>(name: &str) -> E {
    E::custom(format_args!("data did not match any variant of untagged enum {name}"))
}

impl<'de> Deserialize<'de> for Form {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FormVisitor { lists: true })
    }
}

/// A [`Form`] without lists.
struct Leaf(Form);

impl<'de> Deserialize<'de> for Leaf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FormVisitor { lists: false }).map(Self)
    }
}

struct FormVisitor {
    lists: bool,
}

impl<'de> Visitor<'de> for FormVisitor {
    type Value = Form;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Form, E> {
        Ok(Form::Other)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Form, E> {
        Ok(Form::Number(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Form, E> {
        Ok(i64::try_from(value).map_or(Form::Other, Form::Number))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Form, E> {
        Ok(Form::Other)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Form, E> {
        Ok(Form::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Form, E> {
        Ok(Form::Text(text))
    }

    fn visit_unit<E: Error>(self) -> Result<Form, E> {
        Ok(Form::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Form, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Form::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Form, A::Error> {
        if !self.lists {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Form::Other);
        }
        let (mut numbers, mut texts, mut others) = (Vec::new(), Counted::default(), false);
        while let Some(Leaf(leaf)) = list.next_element()? {
            match leaf {
                Form::Number(number) => numbers.push(number),
                Form::Text(text) => texts.push(text, TEXTS_KEPT),
                _ => others = true,
            }
        }
        Ok(match (numbers.is_empty(), texts.count, others) {
            (_, 0, false) => Form::Numbers(numbers),
            (true, _, false) => Form::Texts(texts),
            _ => Form::Other,
        })
    }
}
