//! Which hidden states a features job is asked for: levels and tokens, in the words of a request. Owns what these choose of a
//! backbone, and that they read back as they were written; must never know how a level is computed.

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
use crate::domain::taps::TokenPick;
use crate::domain::taps::TokenPicks;

/// The word `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum All {
    /// Every one.
    All,
}

/// Which levels: `all`, a list, or how many, evenly spaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LevelChoice {
    /// Every level.
    All(All),
    /// So many, evenly spaced, the last one included.
    Count(usize),
    /// These, ascending.
    List(Vec<usize>),
}

impl Default for LevelChoice {
    fn default() -> Self {
        Self::All(All::All)
    }
}

impl LevelChoice {
    /// The levels chosen of `levels` that there are, ascending; refused with a reason.
    pub fn resolve(&self, levels: usize) -> Result<Vec<usize>, String> {
        let last = levels - 1;
        match self {
            Self::All(_) => Ok((0..levels).collect()),
            Self::Count(1) => Ok(vec![last]),
            Self::Count(count) if (2..=levels).contains(count) => {
                Ok((0..*count).map(|place| (2 * place * last + count - 1) / (2 * (count - 1))).collect())
            }
            Self::Count(_) => Err(format!("must be from 1 to {levels}, the number of the backbone's levels")),
            Self::List(list) if list.is_empty() => Err("names no level".to_owned()),
            Self::List(list) => match list.iter().find(|level| **level > last) {
                Some(level) => Err(format!("there is no level {level}; the backbone has levels 0 to {last}")),
                None if list.is_sorted_by(|a, b| a < b) => Ok(list.clone()),
                None => Err("must be ascending, without duplicates".to_owned()),
            },
        }
    }
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

/// What of a row's tokens: `all`, one pick, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenChoice {
    /// Every token's state.
    All(All),
    /// One vector a row.
    One(TokenPick),
    /// One vector a row of each.
    Several(Vec<TokenPick>),
}

impl Default for TokenChoice {
    fn default() -> Self {
        Self::All(All::All)
    }
}

impl TokenChoice {
    /// Refuses an empty list and one that names a pick twice, with a reason.
    pub fn check(&self) -> Result<(), String> {
        let picks = self.picks();
        let twice = picks.iter().enumerate().find(|(at, pick)| picks[..*at].contains(pick));
        match (self, twice) {
            (Self::Several(list), _) if list.is_empty() => Err("names no pick; use cls, mean, max or last".to_owned()),
            (_, Some((_, pick))) => Err(format!("names {} twice", pick.name())),
            _ => Ok(()),
        }
    }

    /// The same, as a pass is asked for it.
    pub fn taps(&self) -> TokenPicks {
        match self {
            Self::All(_) => TokenPicks::All,
            picks => TokenPicks::Some(picks.picks().to_vec()),
        }
    }

    /// The picks; none where every token is kept.
    pub fn picks(&self) -> &[TokenPick] {
        match self {
            Self::All(_) => &[],
            Self::One(pick) => std::slice::from_ref(pick),
            Self::Several(picks) => picks,
        }
    }
}

impl PartialSchema for TokenChoice {
    fn schema() -> RefOr<Schema> {
        let picks = ["cls", "mean", "max", "last"];
        let word = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(["all"].into_iter().chain(picks).collect::<Vec<_>>()));
        let pick = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(picks));
        let list = schemas::some(pick, picks.len());
        let words =
            "`all` keeps every token's state; `cls`, `mean`, `max`, `last`, or a list of them, one vector a row.";
        OneOfBuilder::new().item(word).item(list).examples([json!("all")]).description(Some(words)).into()
    }
}

impl ToSchema for TokenChoice {}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(json: &str) -> Result<Vec<usize>, String> {
        serde_json::from_str::<LevelChoice>(json).expect("a choice").resolve(7)
    }

    #[test]
    fn a_number_of_levels_is_spread_evenly_and_ends_with_the_last() {
        assert_eq!(levels("\"all\""), Ok((0..7).collect()));
        for (count, expected) in [(1, vec![6]), (2, vec![0, 6]), (3, vec![0, 3, 6]), (4, vec![0, 2, 4, 6])] {
            assert_eq!(levels(&count.to_string()), Ok(expected));
        }
        assert_eq!(levels("7"), levels("\"all\""));
        assert_eq!(levels("[0, 5]"), Ok(vec![0, 5]));
    }

    #[test]
    fn levels_that_are_not_there_are_refused_with_what_there_is() {
        for (json, part) in
            [("0", "1 to 7"), ("8", "1 to 7"), ("[7]", "0 to 6"), ("[]", "no level"), ("[2, 1]", "ascending")]
        {
            let reason = levels(json).expect_err("refused");
            assert!(reason.contains(part), "{json}: {reason}");
        }
    }

    #[test]
    fn a_pick_is_named_once() {
        let check = |json: &str| serde_json::from_str::<TokenChoice>(json).expect("a choice").check();
        assert!(check("\"all\"").is_ok() && check("\"mean\"").is_ok() && check("[\"cls\", \"last\"]").is_ok());
        assert!(check("[]").is_err() && check("[\"cls\", \"cls\"]").is_err());
    }
}
