//! Methods of a job, in OpenAI's place for them. Owns which settings go with which method.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::choice;
use crate::domain::choice::SplitChoice;
use crate::domain::error_code::ErrorCode;
use crate::domain::features::FeatureSettings;
use crate::domain::settings::SplitSettings;
use crate::service::Result;
use crate::service::ServiceError;

/// The method of a job.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// `split`: the label holder drives each step and keeps the labels. `features`: the host computes features of every row by itself.
    #[serde(rename = "type")]
    #[schema(example = "split", pattern = "^(split|features)$")]
    pub kind: String,
    /// Settings of method `split`; defaults where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub split: Option<SplitSettings>,
    /// Settings of method `features`; defaults where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub features: Option<FeatureSettings>,
}

/// How a job is to be fine-tuned.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MethodChoice {
    /// `split`: the label holder drives each step and keeps the labels. `features`: the host computes features of every row by itself.
    #[serde(rename = "type")]
    #[schema(example = "split", pattern = "^(split|features)$")]
    pub kind: String,
    /// Settings of method `split`.
    pub split: Option<SplitChoice>,
    /// Settings of method `features`.
    pub features: Option<FeatureSettings>,
}

/// What a method with its settings may be: those of the other one are refused.
pub enum OfMethod<S> {
    /// Method `split`.
    Split(Option<S>),
    /// Method `features`.
    Features(FeatureSettings),
}

/// Methods of OpenAI's, whose settings stand beside `type` under their own names.
pub const ELSEWHERE: [&str; 3] = ["supervised", "dpo", "reinforcement"];

/// Why a method is none here, and what to do instead.
pub fn not_here(kind: &str) -> String {
    format!(
        "method.type '{kind}' needs labels on the host; blindtune has 'split' and 'features', where the labels stay with you. \
         A job does not train by itself: your own loop drives it by forward and backward (docs/api.md), or the SDK's `Tuner` does, \
         or `blindtune train`."
    )
}

/// Reads a method; refuses one that there is not, and settings of another than it.
pub fn read_method<S>(kind: &str, split: Option<S>, features: Option<FeatureSettings>) -> Result<OfMethod<S>> {
    let stray = |field: &str| {
        let message = format!("method.{field}: method.type is '{kind}'; leave it out.");
        Err(ServiceError::new(ErrorCode::UnsupportedField, message).at(format!("method.{field}")))
    };
    match kind {
        "split" if features.is_some() => stray("features"),
        "features" if split.is_some() => stray("split"),
        "split" => Ok(OfMethod::Split(split)),
        "features" => Ok(OfMethod::Features(features.unwrap_or_default())),
        _ => Err(ServiceError::new(ErrorCode::UnsupportedMethod, not_here(kind)).at("method.type")),
    }
}

/// What a client says about the method; `split` with its defaults where it says nothing.
pub fn choice_of(method: Option<MethodChoice>) -> Result<choice::MethodChoice> {
    let Some(MethodChoice { kind, split, features }) = method else {
        return Ok(choice::MethodChoice::Split(SplitChoice::default()));
    };
    Ok(match read_method(&kind, split, features)? {
        OfMethod::Split(choice) => choice::MethodChoice::Split(choice.unwrap_or_default()),
        OfMethod::Features(settings) => choice::MethodChoice::Features(settings),
    })
}
