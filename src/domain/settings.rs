//! Settings of a split fine-tuning job, with PEFT's names and defaults. Owns their defaults and their checks.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::limits::LARGEST_NUMBER;
use crate::domain::limits::Limits;
use crate::domain::schemas;

/// Who holds adapter weights and optimizer state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Custody {
    /// The label holder steps the optimizer and sends new adapter values (P3EFT).
    #[default]
    Client,
    /// The host steps its own AdamW; gradients reach it in the clear.
    Host,
}

/// Where the backbone is cut: what of the last layer becomes the activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The first token's state, `[B, H]`.
    #[default]
    Cls,
    /// The mean over an input's tokens, `[B, H]`.
    Mean,
    /// The last token's state, `[B, H]`.
    Last,
    /// The state at the last end-of-sequence token, `[B, H]` (encoder-decoder backbones).
    Eos,
    /// Every token's state, `[N, H]` with N the tokens of all inputs, one after the other.
    None,
}

impl Custody {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Client, Self::Host];
}

impl Precision {
    /// Every precision.
    pub const ALL: [Self; 3] = [Self::Float32, Self::Bfloat16, Self::Nf4];
}

impl Pooling {
    /// The word that the API has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cls => "cls",
            Self::Mean => "mean",
            Self::Last => "last",
            Self::Eos => "eos",
            Self::None => "none",
        }
    }
}

/// Arithmetic of the frozen backbone. Adapters and shares are always float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats: what private backpropagation needs.
    #[default]
    Float32,
    /// bfloat16 linear layers. The error of a gradient that is split into shares grows with their size: about 0.4 % of it for each
    /// unit of kappa, the shares' norms over the gradient's. For plain gradients (kappa 1).
    Bfloat16,
    /// 4-bit linear layers (NF4 of QLoRA, arXiv 2305.14314) that compute in float32; decoder backbones.
    Nf4,
}

/// LoRA settings, as in PEFT's `LoraConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoraSettings {
    /// Rank r of the update.
    #[schema(minimum = 1, maximum = 1024)]
    pub rank: usize,
    /// Numerator of the scale `alpha / rank`.
    #[schema(exclusive_minimum = 0.0, maximum = 1e300)]
    pub alpha: f64,
    /// Dropout on the input of the update, while training.
    #[schema(minimum = 0.0, maximum = 0.95)]
    pub dropout: f64,
    /// Linear layers that get an update: full module names or their last parts, or `all-linear`; empty means the family's PEFT default.
    #[schema(schema_with = schemas::target_modules)]
    pub target_modules: Vec<String>,
    /// Scale by `alpha / sqrt(rank)` instead (rank-stabilised LoRA, arXiv 2312.03732).
    pub use_rslora: bool,
    /// Rank for modules whose name ends in the key.
    #[schema(schema_with = schemas::rank_pattern)]
    pub rank_pattern: BTreeMap<String, usize>,
    /// Alpha for modules whose name ends in the key.
    #[schema(schema_with = schemas::alpha_pattern)]
    pub alpha_pattern: BTreeMap<String, f64>,
}

impl Default for LoraSettings {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            dropout: 0.0,
            target_modules: Vec::new(),
            use_rslora: false,
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
        }
    }
}

/// Settings of method `split`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SplitSettings {
    /// Who holds the adapters.
    pub custody: Custody,
    /// Number n of adapter sets.
    #[schema(minimum = 1, maximum = 8)]
    pub adapter_sets: usize,
    /// LoRA settings, the same for every set.
    pub lora: LoraSettings,
    /// Where the backbone is cut; the family's own cut when absent: `cls`, `last` (LLaMA, Mistral, Qwen2) or `eos` (T5).
    pub pooling: Option<Pooling>,
    /// Arithmetic of the backbone.
    pub precision: Precision,
    /// With precision `nf4`: whether the scales of the 4-bit blocks are quantized too.
    pub double_quant: bool,
}

impl Default for SplitSettings {
    fn default() -> Self {
        Self {
            custody: Custody::Client,
            adapter_sets: 2,
            lora: LoraSettings::default(),
            pooling: None,
            precision: Precision::Float32,
            double_quant: false,
        }
    }
}

/// A setting of method `split` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {reason}")]
pub struct BadSetting {
    /// Its path among the settings, `lora.rank` for example.
    pub setting: String,
    /// What is wrong with it.
    pub reason: String,
}

fn bad(setting: &str, reason: impl Into<String>) -> BadSetting {
    BadSetting { setting: setting.to_owned(), reason: reason.into() }
}

impl SplitSettings {
    /// Refuses settings that no backbone could run, naming the field.
    pub fn check(&self, limits: &Limits) -> Result<(), BadSetting> {
        if !(1..=limits.adapter_sets).contains(&self.adapter_sets) {
            return Err(bad("adapter_sets", format!("must be from 1 to {}", limits.adapter_sets)));
        }
        if self.double_quant && self.precision != Precision::Nf4 {
            return Err(bad("double_quant", "is for precision nf4"));
        }
        self.lora.check()
    }

    /// Where the backbone is cut. A job's settings name it: `families::settle` has filled it in.
    pub fn cut(&self) -> Pooling {
        self.pooling.unwrap_or_default()
    }
}

impl LoraSettings {
    fn check(&self) -> Result<(), BadSetting> {
        let ranks = self.rank_pattern.iter().map(|(name, rank)| (format!("lora.rank_pattern.{name}"), *rank));
        for (param, rank) in std::iter::once(("lora.rank".to_owned(), self.rank)).chain(ranks) {
            if !(1..=1024).contains(&rank) {
                return Err(bad(&param, "must be from 1 to 1024"));
            }
        }
        let alphas = self.alpha_pattern.iter().map(|(name, alpha)| (format!("lora.alpha_pattern.{name}"), *alpha));
        for (param, alpha) in std::iter::once(("lora.alpha".to_owned(), self.alpha)).chain(alphas) {
            if !(alpha > 0.0 && alpha <= LARGEST_NUMBER) {
                return Err(bad(&param, "must be a positive number of at most 1e300"));
            }
        }
        if !(0.0..=0.95).contains(&self.dropout) {
            return Err(bad("lora.dropout", "must be from 0 to 0.95"));
        }
        if self.target_modules.len() > 256
            || self.target_modules.iter().any(|name| name.is_empty() || name.chars().count() > 256)
        {
            return Err(bad("lora.target_modules", "at most 256 names of 1 to 256 characters"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_pass_and_each_bad_field_is_named() {
        let limits = Limits::default();
        assert_eq!(SplitSettings::default().check(&limits), Ok(()));
        type Spoil = fn(&mut SplitSettings);
        let cases: [(&str, Spoil); 6] = [
            ("adapter_sets", |s| s.adapter_sets = 0),
            ("double_quant", |s| s.double_quant = true),
            ("lora.rank", |s| s.lora.rank = 0),
            ("lora.alpha", |s| s.lora.alpha = f64::NAN),
            ("lora.dropout", |s| s.lora.dropout = 1.0),
            ("lora.rank_pattern.query", |s| {
                s.lora.rank_pattern.insert("query".into(), 0);
            }),
        ];
        for (setting, spoil) in cases {
            let mut settings = SplitSettings::default();
            spoil(&mut settings);
            assert_eq!(settings.check(&limits).map_err(|e| e.setting), Err(setting.to_owned()));
        }
    }
}
