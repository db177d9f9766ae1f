//! What a client says about the method of a job, and what it leaves open of the split. Owns where open settings come from: the
//! defaults, or the job that a new one starts from, whose adapters fit no others.

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::ToSchema;

use crate::domain::features::FeatureSettings;
use crate::domain::schemas;
use crate::domain::settings::BadSetting;
use crate::domain::settings::Custody;
use crate::domain::settings::LoraSettings;
use crate::domain::settings::Pooling;
use crate::domain::settings::Precision;
use crate::domain::settings::SplitSettings;

/// What a client says about the method of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum MethodChoice {
    /// The label holder drives each step.
    Split(SplitChoice),
    /// The host computes features of every row by itself.
    Features(FeatureSettings),
}

/// LoRA settings, as in PEFT's `LoraConfig`; absent ones are the defaults, or the origin's.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoraChoice {
    /// Rank r of the update; 8.
    #[schema(minimum = 1, maximum = 1024)]
    pub rank: Option<usize>,
    /// Numerator of the scale `alpha / rank`; 16.
    #[schema(exclusive_minimum = 0.0, maximum = 1e300)]
    pub alpha: Option<f64>,
    /// Dropout on the input of the update, while training; 0.
    #[schema(minimum = 0.0, maximum = 0.95)]
    pub dropout: Option<f64>,
    /// Linear layers that get an update: full module names or their last parts, or `all-linear`; empty (the default) means the
    /// family's PEFT default.
    #[schema(schema_with = schemas::target_modules_or_null)]
    pub target_modules: Option<Vec<String>>,
    /// Scale by `alpha / sqrt(rank)` instead (rank-stabilised LoRA, arXiv 2312.03732).
    pub use_rslora: Option<bool>,
    /// Rank for modules whose name ends in the key.
    #[schema(schema_with = schemas::rank_pattern_or_null)]
    pub rank_pattern: Option<BTreeMap<String, usize>>,
    /// Alpha for modules whose name ends in the key.
    #[schema(schema_with = schemas::alpha_pattern_or_null)]
    pub alpha_pattern: Option<BTreeMap<String, f64>>,
}

/// Settings of method `split`; absent ones are the defaults, or those of the model that the job starts from.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitChoice {
    /// Who holds the adapters; `client`.
    pub custody: Option<Custody>,
    /// Number n of adapter sets; 2.
    #[schema(minimum = 1, maximum = 8)]
    pub adapter_sets: Option<usize>,
    /// LoRA settings, the same for every set.
    pub lora: Option<LoraChoice>,
    /// Where the backbone is cut; the family's own cut when absent: `cls`, `last` (LLaMA, Mistral, Qwen2) or `eos` (T5).
    pub pooling: Option<Pooling>,
    /// Arithmetic of the backbone; `float32`.
    pub precision: Option<Precision>,
    /// With precision `nf4`: whether the scales of the 4-bit blocks are quantized too.
    pub double_quant: Option<bool>,
}

impl LoraChoice {
    fn fill(self, base: &LoraSettings) -> LoraSettings {
        LoraSettings {
            rank: self.rank.unwrap_or(base.rank),
            alpha: self.alpha.unwrap_or(base.alpha),
            dropout: self.dropout.unwrap_or(base.dropout),
            target_modules: self.target_modules.unwrap_or_else(|| base.target_modules.clone()),
            use_rslora: self.use_rslora.unwrap_or(base.use_rslora),
            rank_pattern: self.rank_pattern.unwrap_or_else(|| base.rank_pattern.clone()),
            alpha_pattern: self.alpha_pattern.unwrap_or_else(|| base.alpha_pattern.clone()),
        }
    }
}

impl SplitChoice {
    /// The settings of a job that begins afresh.
    pub fn afresh(self) -> SplitSettings {
        self.fill(&SplitSettings::default())
    }

    /// The settings of a job that starts from adapters made with `origin`. What shapes the adapters must be the same.
    pub fn continuing(self, origin: &SplitSettings) -> Result<SplitSettings, BadSetting> {
        let settings = self.fill(origin);
        let (lora, theirs) = (&settings.lora, &origin.lora);
        let same = [
            ("adapter_sets", settings.adapter_sets == origin.adapter_sets),
            ("pooling", settings.pooling == origin.pooling),
            ("lora.rank", lora.rank == theirs.rank),
            ("lora.alpha", lora.alpha == theirs.alpha),
            ("lora.dropout", lora.dropout == theirs.dropout),
            ("lora.target_modules", lora.target_modules == theirs.target_modules),
            ("lora.use_rslora", lora.use_rslora == theirs.use_rslora),
            ("lora.rank_pattern", lora.rank_pattern == theirs.rank_pattern),
            ("lora.alpha_pattern", lora.alpha_pattern == theirs.alpha_pattern),
        ];
        match same.into_iter().find(|(_, same)| !same) {
            Some((field, _)) => Err(BadSetting {
                setting: field.to_owned(),
                reason: "is not that of the model that the job starts from; leave it out".to_owned(),
            }),
            None => Ok(settings),
        }
    }

    fn fill(self, base: &SplitSettings) -> SplitSettings {
        SplitSettings {
            custody: self.custody.unwrap_or(base.custody),
            adapter_sets: self.adapter_sets.unwrap_or(base.adapter_sets),
            lora: self.lora.unwrap_or_default().fill(&base.lora),
            pooling: self.pooling.or(base.pooling),
            precision: self.precision.unwrap_or(base.precision),
            double_quant: self.double_quant.unwrap_or(base.double_quant),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> SplitChoice {
        serde_json::from_str(json).expect("a choice")
    }

    #[test]
    fn what_is_open_is_the_default_or_the_origins() {
        assert_eq!(read("{}").afresh(), SplitSettings::default());
        let origin = read(r#"{"custody": "host", "adapter_sets": 3, "lora": {"rank": 4}, "pooling": "mean"}"#).afresh();
        assert_eq!((origin.lora.rank, origin.lora.alpha, origin.adapter_sets), (4, 16.0, 3));
        assert_eq!(read("{}").continuing(&origin), Ok(origin.clone()));
        let other = read(r#"{"custody": "client", "precision": "bfloat16", "lora": {"rank": 4}}"#);
        let settings = other.continuing(&origin).expect("these may differ");
        assert_eq!((settings.custody, settings.precision), (Custody::Client, Precision::Bfloat16));
    }

    #[test]
    fn what_shapes_the_adapters_must_be_the_origins() {
        let origin = SplitSettings { pooling: Some(Pooling::Cls), ..SplitSettings::default() };
        let cases = [
            (r#"{"adapter_sets": 1}"#, "adapter_sets"),
            (r#"{"pooling": "mean"}"#, "pooling"),
            (r#"{"lora": {"rank": 9}}"#, "lora.rank"),
            (r#"{"lora": {"alpha": 9}}"#, "lora.alpha"),
            (r#"{"lora": {"dropout": 0.5}}"#, "lora.dropout"),
            (r#"{"lora": {"target_modules": ["query"]}}"#, "lora.target_modules"),
            (r#"{"lora": {"use_rslora": true}}"#, "lora.use_rslora"),
            (r#"{"lora": {"rank_pattern": {"query": 2}}}"#, "lora.rank_pattern"),
            (r#"{"lora": {"alpha_pattern": {"query": 2}}}"#, "lora.alpha_pattern"),
        ];
        for (json, field) in cases {
            let refused = read(json).continuing(&origin).map_err(|bad| bad.setting);
            assert_eq!(refused, Err(field.to_owned()));
        }
    }
}
