//! Hidden states as calls ask for them. Owns the API's words for tokens and element types, and how large an answer is; must never
//! hold a state.

use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::feature_choice::BadTaps;
use crate::domain::feature_choice::LevelChoice;
use crate::domain::feature_choice::Levels;
use crate::domain::tensor::Dtype;
use crate::domain::transform::Transform;

/// What is made of an input's tokens: one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenPick {
    /// The first token's state.
    Cls,
    /// The mean over the tokens.
    Mean,
    /// The largest value of each feature over the tokens.
    Max,
    /// The last token's state.
    Last,
}

impl TokenPick {
    /// Every pick.
    pub const ALL: [Self; 4] = [Self::Cls, Self::Mean, Self::Max, Self::Last];

    /// The word that the API has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cls => "cls",
            Self::Mean => "mean",
            Self::Max => "max",
            Self::Last => "last",
        }
    }
}

/// Whose states are wanted: every token's, or one vector or more for each input.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TokenPicks {
    /// Every token's, `[N, H]`.
    All,
    /// `[B, H]` for each of these; at least one, none of them twice.
    Some(Vec<TokenPick>),
}

impl TokenPicks {
    /// Reads `all`, or words for picks.
    pub fn read(words: &[String]) -> Result<Self, BadTaps> {
        let bad = |reason: String| BadTaps { field: "tokens", reason };
        if words == ["all"] {
            return Ok(Self::All);
        }
        let pick = |word: &String| {
            let found = TokenPick::ALL.into_iter().find(|pick| pick.name() == word);
            found.ok_or_else(|| bad(format!("must be all, or one or more of cls, mean, max and last, not '{word}'")))
        };
        Self::of(words.iter().map(pick).collect::<Result<_, _>>()?)
    }

    /// These picks; refused where there is none, or one of them twice.
    pub fn of(picks: Vec<TokenPick>) -> Result<Self, BadTaps> {
        let bad = |reason: String| Err(BadTaps { field: "tokens", reason });
        let twice = picks.iter().enumerate().find(|(at, pick)| picks[..*at].contains(pick));
        match twice {
            Some((_, pick)) => bad(format!("{} is a duplicate", pick.name())),
            None if picks.is_empty() => bad("the list is empty".to_owned()),
            None => Ok(Self::Some(picks)),
        }
    }

    /// Vectors that inputs with so many tokens become.
    fn vectors(&self, inputs: usize, tokens: usize) -> usize {
        match self {
            Self::All => tokens,
            Self::Some(picks) => inputs.saturating_mul(picks.len()),
        }
    }
}

/// Element type of hidden states in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TapDtype {
    /// As they are computed.
    #[default]
    Float32,
    /// 16-bit floats; values beyond their range become the largest that they have, 65,504.
    Float16,
    /// The upper half of 32-bit floats.
    Bfloat16,
    /// 8-bit integers with a scale for each feature, its largest magnitude in the answer over 127.
    Int8,
}

impl TapDtype {
    /// The element type on the wire.
    pub fn wire(self) -> Dtype {
        match self {
            Self::Float32 => Dtype::F32,
            Self::Float16 => Dtype::F16,
            Self::Bfloat16 => Dtype::BF16,
            Self::Int8 => Dtype::I8,
        }
    }
}

/// The hidden states that a caller wants of a backbone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapChoice {
    /// Of which levels.
    pub layers: LevelChoice,
    /// Of which tokens.
    pub tokens: TokenPicks,
    /// In which element type.
    pub dtype: TapDtype,
    /// What is done to them before they get it: that of a features job, whose features these are to be like.
    pub transform: Option<Arc<Transform>>,
}

/// The hidden states that a pass gives. Equal taps can share a pass, unless they are to be alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Taps {
    /// Levels, ascending; at least one.
    pub levels: Vec<usize>,
    /// Of which tokens.
    pub tokens: TokenPicks,
    /// In which element type.
    pub dtype: TapDtype,
    /// What is done to them before they get it.
    pub transform: Option<Arc<Transform>>,
    /// Whether the forward shares no pass, so that its bits follow from it alone.
    pub alone: bool,
}

/// How large the states of a batch are.
#[derive(Debug, Clone, Copy)]
pub struct BatchSize {
    /// Number B of inputs.
    pub inputs: usize,
    /// Number N of tokens of all inputs.
    pub tokens: usize,
    /// Width H of a state.
    pub width: usize,
}

impl TapChoice {
    /// What a pass of this backbone is asked for.
    pub fn resolve(&self, of: &Levels) -> Result<Taps, BadTaps> {
        Ok(Taps {
            levels: self.layers.resolve(of)?,
            tokens: self.tokens.clone(),
            dtype: self.dtype,
            transform: self.transform.clone(),
            alone: false,
        })
    }
}

impl Taps {
    /// Bytes of the states in 32-bit floats, as a pass keeps them.
    pub fn kept_bytes(&self, size: BatchSize) -> usize {
        self.elements(size).saturating_mul(Dtype::F32.size())
    }

    /// Bytes of the states in an answer, scales and lengths left out.
    pub fn answer_bytes(&self, size: BatchSize) -> usize {
        self.elements(size).saturating_mul(self.dtype.wire().size())
    }

    /// Refuses an answer of more than `most` bytes, in words that say what makes it so large.
    pub fn check_answer(&self, size: BatchSize, most: usize) -> Result<(), String> {
        let bytes = self.answer_bytes(size);
        if bytes <= most {
            return Ok(());
        }
        let BatchSize { inputs, tokens, width } = size;
        let levels = self.levels.len();
        let vectors = match &self.tokens {
            TokenPicks::All => format!("{tokens} tokens"),
            TokenPicks::Some(picks) => format!("{inputs} inputs with {} picks", picks.len()),
        };
        Err(format!("hidden states of {vectors} at {levels} levels, {width} wide, are {bytes} bytes"))
    }

    fn elements(&self, size: BatchSize) -> usize {
        let vectors = self.tokens.vectors(size.inputs, size.tokens);
        vectors.saturating_mul(size.width).saturating_mul(self.levels.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn tokens_are_all_or_picks() {
        assert_eq!(TokenPicks::read(&words(&["all"])), Ok(TokenPicks::All));
        let picks = vec![TokenPick::Max, TokenPick::Cls];
        assert_eq!(TokenPicks::read(&words(&["max", "cls"])), Ok(TokenPicks::Some(picks)));
        for (bad, named) in
            [(&["first"][..], "'first'"), (&["cls", "all"], "'all'"), (&["cls", "cls"], "cls"), (&[], "empty")]
        {
            let refused = TokenPicks::read(&words(bad)).expect_err("refused");
            assert!(refused.field == "tokens" && refused.reason.contains(named), "{refused}");
        }
    }

    #[test]
    fn the_answer_of_integers_is_a_quarter_of_what_is_kept() {
        let size = BatchSize { inputs: 2, tokens: 10, width: 3 };
        let taps = |tokens, dtype| Taps { levels: vec![0, 2], tokens, dtype, transform: None, alone: false };
        let all = taps(TokenPicks::All, TapDtype::Int8);
        assert_eq!((all.kept_bytes(size), all.answer_bytes(size)), (240, 60));
        let picks = taps(TokenPicks::Some(vec![TokenPick::Cls, TokenPick::Mean, TokenPick::Max]), TapDtype::Float16);
        assert_eq!((picks.kept_bytes(size), picks.answer_bytes(size)), (144, 72));
    }
}
