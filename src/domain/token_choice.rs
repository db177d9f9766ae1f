//! Whose hidden states are kept of a row, in the words of a features job. Owns that these read back as they were written; must never know
//! how a vector is made of tokens.

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

use crate::domain::feature_choice::All;
use crate::domain::feature_choice::BadTaps;
use crate::domain::schemas;
use crate::domain::taps::TokenPick;
use crate::domain::taps::TokenPicks;

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
    pub fn check(&self) -> Result<(), BadTaps> {
        match self {
            Self::All(_) => Ok(()),
            picks => TokenPicks::of(picks.picks().to_vec()).map(drop),
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

    #[test]
    fn a_pick_is_named_once() {
        let check = |json: &str| serde_json::from_str::<TokenChoice>(json).expect("a choice").check();
        assert!(check("\"all\"").is_ok() && check("\"mean\"").is_ok() && check("[\"cls\", \"last\"]").is_ok());
        assert!(check("[]").is_err() && check("[\"cls\", \"cls\"]").is_err());
    }
}
