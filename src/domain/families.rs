//! What a backbone's family (`model_type` of its configuration) decides before it is loaded: where it can be cut, and which precisions
//! it has. Owns these tables.

use crate::domain::settings::BadSetting;
use crate::domain::settings::Pooling;
use crate::domain::settings::Precision;
use crate::domain::settings::SplitSettings;

fn is_decoder(family: &str) -> bool {
    matches!(family, "llama" | "mistral" | "qwen2")
}

/// Where a family can be cut; first the cut of transformers' sequence classifiers, which is the default.
pub fn cuts(family: &str) -> &'static [Pooling] {
    match family {
        // A decoder's first token has seen nothing but itself.
        _ if is_decoder(family) => &[Pooling::Last, Pooling::Mean, Pooling::None],
        "t5" => &[Pooling::Eos],
        _ => &[Pooling::Cls, Pooling::Mean, Pooling::Last, Pooling::None],
    }
}

/// Precisions that a family has; the first is the default.
pub fn precisions(family: &str) -> &'static [Precision] {
    match is_decoder(family) {
        true => &[Precision::Float32, Precision::Bfloat16, Precision::Nf4],
        false => &[Precision::Float32, Precision::Bfloat16],
    }
}

/// Refuses a cut or a precision that the family does not have; fills in its own cut where none is named.
pub fn settle(family: &str, settings: SplitSettings) -> Result<SplitSettings, BadSetting> {
    let known = cuts(family);
    let cut = settings.pooling.unwrap_or(known[0]);
    if !known.contains(&cut) {
        let names: Vec<&str> = known.iter().map(|pooling| pooling.name()).collect();
        let reason = format!("'{}' is not a cut of {family} backbones; use {}", cut.name(), names.join(", "));
        return Err(BadSetting { setting: "pooling".to_owned(), reason });
    }
    if !precisions(family).contains(&settings.precision) {
        let reason = format!("'nf4' is for decoder backbones (llama, mistral, qwen2), not for {family}");
        return Err(BadSetting { setting: "precision".to_owned(), reason });
    }
    Ok(SplitSettings { pooling: Some(cut), ..settings })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pooling: Option<Pooling>, precision: Precision) -> SplitSettings {
        SplitSettings { pooling, precision, ..SplitSettings::default() }
    }

    #[test]
    fn a_family_has_its_own_cut_and_refuses_others() {
        for (family, own) in
            [("bert", Pooling::Cls), ("deberta-v2", Pooling::Cls), ("t5", Pooling::Eos), ("qwen2", Pooling::Last)]
        {
            let settled = settle(family, asked(None, Precision::Float32)).expect("has a cut");
            assert_eq!(settled.pooling, Some(own), "{family}");
        }
        for (family, other) in [("bert", Pooling::Eos), ("t5", Pooling::Cls), ("llama", Pooling::Cls)] {
            let refused = settle(family, asked(Some(other), Precision::Float32)).expect_err("not a cut");
            assert_eq!(refused.setting, "pooling");
            assert!(refused.reason.contains(other.name()) && refused.reason.contains(family));
        }
    }

    #[test]
    fn four_bits_are_for_decoders() {
        assert!(settle("mistral", asked(None, Precision::Nf4)).is_ok());
        let refused = settle("bert", asked(None, Precision::Nf4)).expect_err("an encoder");
        assert_eq!(refused.setting, "precision");
    }
}
