//! Classes of protection. Owns their words; must never check a claim: which class a job has is declared by its client.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

/// What keeps the labels of a run from its hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protection {
    /// Nothing that depends on a label reaches a host.
    Blind,
    /// What reaches a host is noised, with a proven bound.
    Bounded,
    /// What reaches a host is hidden, and how well was only measured.
    Hurdle,
    /// What reaches a host tells the labels.
    Open,
}

impl Protection {
    /// Every class, the strongest first.
    pub const ALL: [Self; 4] = [Self::Blind, Self::Bounded, Self::Hurdle, Self::Open];

    /// The word that clients and the database see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blind => "blind",
            Self::Bounded => "bounded",
            Self::Hurdle => "hurdle",
            Self::Open => "open",
        }
    }
}
