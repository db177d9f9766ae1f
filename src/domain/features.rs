//! Settings of method `features`: hidden states of a frozen backbone, computed by the host for every row of a file. Owns their
//! defaults and their checks; must never know how a level is computed.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::expiry::BadExpiry;
use crate::domain::expiry::ExpiresAfter;
use crate::domain::feature_choice::BadTaps;
use crate::domain::feature_choice::LevelChoice;
use crate::domain::feature_choice::Levels;
use crate::domain::limits::LARGEST_WHOLE;
use crate::domain::limits::Limits;
use crate::domain::settings::BadSetting;
use crate::domain::settings::Precision;
use crate::domain::taps::TapDtype;
use crate::domain::taps::Taps;
use crate::domain::token_choice::TokenChoice;

/// How features are made narrower, without a look at any label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProjectionKind {
    /// Principal components of a sample of the job's own rows.
    Pca,
    /// Random orthonormal directions, from the seed.
    Orthogonal,
}

/// A projection of every level to `dim` features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Projection {
    /// How the directions are found.
    pub kind: ProjectionKind,
    /// Features that remain of each level, at most the backbone's width.
    #[schema(minimum = 1, maximum = 65536)]
    pub dim: usize,
    /// Seed of `orthogonal`'s directions.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 9007199254740991_i64)]
    pub seed: u64,
}

/// How long the files of a features job are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FeaturesLife {
    /// The anchor: `created_at`, of each file.
    #[schema(example = "created_at", pattern = "^created_at$")]
    pub anchor: String,
    /// Seconds after the anchor, an hour to 30 days.
    #[schema(example = 604800, minimum = 3600, maximum = 2_592_000)]
    pub seconds: i64,
}

/// Settings of method `features`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureSettings {
    /// Levels of the backbone: 0 is the output of its embeddings, l that of layer l.
    pub layers: LevelChoice,
    /// What of a row's tokens is kept.
    pub tokens: TokenChoice,
    /// Element type of the features.
    pub dtype: TapDtype,
    /// Makes the features narrower; null keeps the backbone's width.
    pub project: Option<Projection>,
    /// Arithmetic of the backbone.
    pub precision: Precision,
    /// How long the files are kept; the host's own time when null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_after: Option<FeaturesLife>,
}

/// What a host gives of a backbone's hidden states.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The levels.
    pub levels: Levels<'a>,
    /// Width of a state.
    pub width: usize,
    /// Most features of a level; 0 where there is no bound.
    pub dim: usize,
}

impl<'a> Given<'a> {
    /// Of a backbone with so many levels of this width, within the limits of a host.
    pub fn within(limits: &Limits, model: &'a str, count: usize, width: usize) -> Self {
        Self { levels: Levels { model, count, most: limits.feature_levels }, width, dim: limits.feature_dim }
    }

    /// Refuses states of a level in more features than the host gives.
    pub fn check_dim(&self, dim: usize) -> Result<(), String> {
        if self.dim == 0 || dim <= self.dim {
            return Ok(());
        }
        Err(format!("this host gives at most {} features of a level (limits.feature_dim), not {dim}", self.dim))
    }
}

impl FeatureSettings {
    /// The settings as they hold for what is given of a backbone: the choice of levels becomes their list.
    pub fn settle(self, given: &Given) -> Result<Self, BadSetting> {
        let Given { levels, width, .. } = given;
        let refused = |setting: &str, reason: String| BadSetting { setting: setting.to_owned(), reason };
        let of_taps = |bad: BadTaps| refused(bad.field, bad.reason);
        let chosen = self.layers.resolve(levels).map_err(of_taps)?;
        self.tokens.check().map_err(of_taps)?;
        if let Some(Projection { dim, seed, .. }) = self.project {
            if !(1..=*width).contains(&dim) {
                return Err(refused("project.dim", format!("must be from 1 to {width}, the backbone's width")));
            }
            if seed > LARGEST_WHOLE.unsigned_abs() {
                return Err(refused("project.seed", format!("must be at most {LARGEST_WHOLE}")));
            }
        }
        let dim = self.project.map_or(*width, |project| project.dim);
        given.check_dim(dim).map_err(|reason| refused("project", format!("{reason}: ask for a projection")))?;
        Ok(Self { layers: LevelChoice::list(&chosen), ..self })
    }

    /// The levels, once they are settled.
    pub fn levels(&self) -> Vec<usize> {
        match &self.layers {
            LevelChoice::List(levels) => levels.iter().map(|level| level.unsigned_abs() as usize).collect(),
            _ => Vec::new(),
        }
    }

    /// What is asked of each forward, once the levels are settled.
    pub fn taps(&self) -> Taps {
        Taps { levels: self.levels(), tokens: self.tokens.taps(), dtype: self.dtype, transform: None, alone: true }
    }

    /// The names of the states behind `hidden.`, once the levels are settled: `3`, or `3.cls`.
    pub fn names(&self) -> Vec<String> {
        let of_level = |level: &usize| match self.tokens.picks() {
            [] => vec![level.to_string()],
            picks => picks.iter().map(|pick| format!("{level}.{}", pick.name())).collect(),
        };
        self.levels().iter().flat_map(of_level).collect()
    }

    /// How many seconds each file lives, where the client says so.
    pub fn seconds(&self) -> Result<Option<i64>, BadExpiry> {
        let life = self.expires_after.clone();
        life.map(|life| ExpiresAfter { anchor: life.anchor, seconds: life.seconds }.of_file()).transpose()
    }

    /// How often the sample is read that the transform is made from: once for principal components, once for scales.
    pub fn passes_over_sample(&self) -> u64 {
        let finds_components = self.project.is_some_and(|project| project.kind == ProjectionKind::Pca);
        u64::from(finds_components) + u64::from(self.dtype == TapDtype::Int8)
    }

    /// Whether the features depend on a transform that is made for the whole job.
    pub fn needs_transform(&self) -> bool {
        self.project.is_some() || self.dtype == TapDtype::Int8
    }
}
