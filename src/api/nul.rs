//! U+0000 in the texts of a JSON body, which the database cannot hold. Owns where one stands; must never keep what it reads: a body may
//! be large.

use std::fmt;

use serde::Deserializer;
use serde::de::DeserializeSeed;
use serde::de::Error;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;

const ESCAPE: &[u8] = b"\\u0000";

/// Where a text of the body has U+0000. Looks closer only where the escape occurs at all; what is no JSON has none.
pub fn place_of_nul(body: &[u8]) -> Option<String> {
    if !body.windows(ESCAPE.len()).any(|window| window == ESCAPE) {
        return None;
    }
    let mut seeker = Seeker::default();
    // An error is how the search ends early.
    let _ = seeker.deserialize(&mut serde_json::Deserializer::from_slice(body));
    seeker.found
}

/// A step on the way to a value.
enum Step {
    Element(usize),
    Field(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Element(at) => write!(f, "{at}"),
            Self::Field(name) => f.write_str(name),
        }
    }
}

#[derive(Default)]
struct Seeker {
    way: Vec<Step>,
    found: Option<String>,
}

impl Seeker {
    fn look_at<E: Error>(&mut self, text: &str) -> Result<(), E> {
        if !text.contains('\0') {
            return Ok(());
        }
        self.found = Some(self.way.iter().map(Step::to_string).collect::<Vec<_>>().join("."));
        Err(E::custom("found"))
    }
}

impl<'de> DeserializeSeed<'de> for &mut Seeker {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Seeker {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.look_at(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        for at in 0.. {
            self.way.push(Step::Element(at));
            let element = list.next_element_seed(&mut *self)?;
            self.way.pop();
            if element.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<String>()? {
            self.way.push(Step::Field(name.replace('\0', "\u{fffd}")));
            self.look_at(&name)?;
            fields.next_value_seed(&mut *self)?;
            self.way.pop();
        }
        Ok(())
    }
}
