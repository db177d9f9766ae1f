//! Which levels of hidden states are asked for, in the words of a request. Owns what these choose of a backbone, within what the host
//! gives of it, and that they read back as they were written; must never know how a level is computed.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;
use serde_json::json;
use utoipa::PartialSchema;
use utoipa::ToSchema;
use utoipa::openapi::ObjectBuilder;
use utoipa::openapi::OneOfBuilder;
use utoipa::openapi::RefOr;
use utoipa::openapi::Schema;
use utoipa::openapi::schema::Type;

use crate::domain::schemas;

/// The word `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum All {
    /// Every one.
    All,
}

/// The levels of a backbone, as a choice is made among them and messages name them: 0 is the embeddings' output, l that of layer l.
#[derive(Debug, Clone, Copy)]
pub struct Levels<'a> {
    /// Name of the backbone.
    pub model: &'a str,
    /// How many it has; at least one.
    pub count: usize,
    /// How many of them the host gives, evenly spaced, the last one included; 0 where it gives all.
    pub most: usize,
}

impl Levels<'_> {
    /// The levels that the host gives, ascending.
    pub fn given(&self) -> Vec<usize> {
        match self.most {
            most if (1..self.count).contains(&most) => evenly(most, self.count),
            _ => (0..self.count).collect(),
        }
    }
}

impl fmt::Display for Levels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has levels 0 to {}", self.model, self.count.saturating_sub(1))?;
        let given = self.given();
        if given.len() < self.count {
            let given: Vec<String> = given.iter().map(usize::to_string).collect();
            write!(f, ", of which this host gives {} (limits.feature_levels)", given.join(", "))?;
        }
        Ok(())
    }
}

/// Hidden states that cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct BadTaps {
    /// `layers` or `tokens`.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// Which levels: `all`, a list, or how many, evenly spaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LevelChoice {
    /// Every level that the host gives.
    All(All),
    /// So many of them, evenly spaced, the last one included.
    Count(i64),
    /// These, ascending.
    List(Vec<i64>),
}

impl Default for LevelChoice {
    fn default() -> Self {
        Self::All(All::All)
    }
}

impl LevelChoice {
    /// These levels.
    pub fn list(levels: &[usize]) -> Self {
        Self::List(levels.iter().map(|level| *level as i64).collect())
    }

    /// The levels that this stands for, ascending; refused with a reason.
    pub fn resolve(&self, of: &Levels) -> Result<Vec<usize>, BadTaps> {
        match self {
            Self::All(_) => Ok(of.given()),
            Self::Count(count) => some_of(*count, of),
            Self::List(levels) => check_ascending(levels, of),
        }
    }
}

fn bad_layers<T>(reason: String) -> Result<T, BadTaps> {
    Err(BadTaps { field: "layers", reason })
}

fn check_ascending(levels: &[i64], of: &Levels) -> Result<Vec<usize>, BadTaps> {
    let given = of.given();
    let mut found = Vec::with_capacity(levels.len());
    for &asked in levels {
        let Some(level) = usize::try_from(asked).ok().filter(|level| *level < of.count) else {
            return bad_layers(format!("{asked} is out of range: {of}"));
        };
        match found.last() {
            Some(&before) if before == level => return bad_layers(format!("{level} is a duplicate")),
            Some(&before) if before > level => {
                return bad_layers(format!("{level} follows {before}: list the levels in ascending order"));
            }
            _ if !given.contains(&level) => return bad_layers(format!("{level} is not given: {of}")),
            _ => found.push(level),
        }
    }
    if found.is_empty() { bad_layers("the list is empty".to_owned()) } else { Ok(found) }
}

fn some_of(count: i64, of: &Levels) -> Result<Vec<usize>, BadTaps> {
    let given = of.given();
    match usize::try_from(count) {
        Ok(count) if (1..=given.len()).contains(&count) => {
            Ok(evenly(count, given.len()).into_iter().map(|place| given[place]).collect())
        }
        _ => bad_layers(format!("{count} levels cannot be picked: {of}, so a number is from 1 to {}", given.len())),
    }
}

/// Level round(i * last / (count - 1)) of `levels` for each i, halves upwards; one alone is the last.
fn evenly(count: usize, levels: usize) -> Vec<usize> {
    let (last, gaps) = (levels - 1, count - 1);
    if gaps == 0 { vec![last] } else { (0..count).map(|i| (2 * i * last + gaps) / (2 * gaps)).collect() }
}

impl PartialSchema for LevelChoice {
    fn schema() -> RefOr<Schema> {
        let word = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["all"]));
        let count = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
        let list = schemas::some(schemas::count(), 1024);
        let choice = OneOfBuilder::new().item(word).item(count).item(list).examples([json!("all")]);
        let words = "`all`, a list of levels (ascending), or how many, evenly spaced, the last one included.";
        choice.description(Some(words)).into()
    }
}

impl ToSchema for LevelChoice {}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(count: usize) -> Levels<'static> {
        Levels { model: "m", count, most: 0 }
    }

    fn choice(json: &str) -> LevelChoice {
        serde_json::from_str(json).expect("a choice")
    }

    #[test]
    fn levels_are_all_or_these_or_evenly_spaced() {
        assert_eq!(choice("\"all\"").resolve(&of(3)), Ok(vec![0, 1, 2]));
        assert_eq!(choice("[0, 3, 6]").resolve(&of(7)), Ok(vec![0, 3, 6]));
        let cases = [
            (1, 7, vec![6]),
            (2, 7, vec![0, 6]),
            (3, 7, vec![0, 3, 6]),
            (4, 7, vec![0, 2, 4, 6]),
            (5, 7, vec![0, 2, 3, 5, 6]),
            (7, 7, vec![0, 1, 2, 3, 4, 5, 6]),
            (3, 4, vec![0, 2, 3]),
            (1, 1, vec![0]),
        ];
        for (count, levels, expected) in cases {
            assert_eq!(LevelChoice::Count(count).resolve(&of(levels)), Ok(expected), "{count} of {levels}");
        }
    }

    #[test]
    fn every_number_of_levels_gives_as_many_and_the_last() {
        for levels in 1..40 {
            for count in 1..=levels {
                let found = LevelChoice::Count(count as i64).resolve(&of(levels)).expect("in range");
                assert_eq!((found.len(), found.last()), (count, Some(&(levels - 1))));
                assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{found:?}");
            }
        }
    }

    #[test]
    fn levels_that_are_not_there_or_not_in_order_are_refused() {
        let cases = [
            ("[0, 7]", "7 is out of range: m has levels 0 to 6"),
            ("[-1]", "-1 is out of range: m has levels 0 to 6"),
            ("[3, 3]", "3 is a duplicate"),
            ("[3, 2]", "2 follows 3: list the levels in ascending order"),
            ("[]", "the list is empty"),
            ("0", "0 levels cannot be picked: m has levels 0 to 6, so a number is from 1 to 7"),
            ("8", "8 levels cannot be picked: m has levels 0 to 6, so a number is from 1 to 7"),
        ];
        for (json, reason) in cases {
            assert_eq!(choice(json).resolve(&of(7)), bad_layers(reason.to_owned()), "{json}");
        }
    }

    #[test]
    fn a_host_that_gives_some_levels_gives_no_other() {
        let three = Levels { most: 3, ..of(7) };
        for (json, expected) in [("\"all\"", vec![0, 3, 6]), ("2", vec![0, 6]), ("1", vec![6]), ("[3]", vec![3])] {
            assert_eq!(choice(json).resolve(&three), Ok(expected), "{json}");
        }
        let gives = "m has levels 0 to 6, of which this host gives 0, 3, 6 (limits.feature_levels)";
        for (json, reason) in [
            ("[0, 5]", format!("5 is not given: {gives}")),
            ("4", format!("4 levels cannot be picked: {gives}, so a number is from 1 to 3")),
        ] {
            assert_eq!(choice(json).resolve(&three), bad_layers(reason), "{json}");
        }
        assert_eq!(choice("\"all\"").resolve(&Levels { most: 9, ..of(7) }), Ok((0..7).collect()));
    }
}
