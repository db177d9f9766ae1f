//! Hidden states as calls ask for them. Owns the API's words for levels, tokens and element types, and which levels a choice stands
//! for; must never hold a state.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::tensor::Dtype;
use crate::domain::transform::Transform;

/// Levels as a caller names them: 0 is the embeddings' output, l that of layer l.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerChoice {
    /// Every level.
    All,
    /// These, ascending.
    These(Vec<i64>),
    /// So many, evenly spaced, the last one included.
    Evenly(i64),
}

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
        let mut picks = Vec::with_capacity(words.len());
        for word in words {
            let found = TokenPick::ALL.into_iter().find(|pick| pick.name() == word);
            let pick = found
                .ok_or_else(|| bad(format!("must be all, or one or more of cls, mean, max and last, not '{word}'")))?;
            if picks.contains(&pick) {
                return Err(bad(format!("{word} is a duplicate")));
            }
            picks.push(pick);
        }
        if picks.is_empty() { Err(bad("the list is empty".to_owned())) } else { Ok(Self::Some(picks)) }
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
    pub layers: LayerChoice,
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

/// Hidden states that cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct BadTaps {
    /// `layers` or `tokens`.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// The levels of a backbone, as messages name them.
#[derive(Debug, Clone, Copy)]
pub struct Levels<'a> {
    /// Name of the backbone.
    pub model: &'a str,
    /// How many; at least one.
    pub count: usize,
}

impl fmt::Display for Levels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has levels 0 to {}", self.model, self.count.saturating_sub(1))
    }
}

impl LayerChoice {
    /// The levels that this stands for, ascending.
    pub fn resolve(&self, of: Levels) -> Result<Vec<usize>, BadTaps> {
        match self {
            Self::All => Ok((0..of.count).collect()),
            Self::These(levels) => check_ascending(levels, of),
            Self::Evenly(count) => spread(*count, of),
        }
    }
}

fn bad_layers<T>(reason: String) -> Result<T, BadTaps> {
    Err(BadTaps { field: "layers", reason })
}

fn check_ascending(levels: &[i64], of: Levels) -> Result<Vec<usize>, BadTaps> {
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
            _ => found.push(level),
        }
    }
    if found.is_empty() { bad_layers("the list is empty".to_owned()) } else { Ok(found) }
}

/// Level round(i * last / (count - 1)) for each i, halves upwards; one alone is the last.
fn spread(count: i64, of: Levels) -> Result<Vec<usize>, BadTaps> {
    let Some(count) = usize::try_from(count).ok().filter(|count| (1..=of.count).contains(count)) else {
        return bad_layers(format!("{count} levels cannot be picked: {of}, so a number is from 1 to {}", of.count));
    };
    let (last, gaps) = (of.count - 1, count - 1);
    Ok(if gaps == 0 { vec![last] } else { (0..count).map(|i| (2 * i * last + gaps) / (2 * gaps)).collect() })
}

impl TapChoice {
    /// What a pass of this backbone is asked for.
    pub fn resolve(&self, of: Levels) -> Result<Taps, BadTaps> {
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

    fn of(count: usize) -> Levels<'static> {
        Levels { model: "m", count }
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn levels_are_all_or_these_or_evenly_spaced() {
        assert_eq!(LayerChoice::All.resolve(of(3)), Ok(vec![0, 1, 2]));
        assert_eq!(LayerChoice::These(vec![0, 3, 6]).resolve(of(7)), Ok(vec![0, 3, 6]));
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
            assert_eq!(LayerChoice::Evenly(count).resolve(of(levels)), Ok(expected), "{count} of {levels}");
        }
    }

    #[test]
    fn every_number_of_levels_gives_as_many_and_the_last() {
        for levels in 1..40 {
            for count in 1..=levels {
                let found = LayerChoice::Evenly(count as i64).resolve(of(levels)).expect("in range");
                assert_eq!((found.len(), found.last()), (count, Some(&(levels - 1))));
                assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{found:?}");
            }
        }
    }

    #[test]
    fn levels_that_are_not_there_or_not_in_order_are_refused() {
        let cases = [
            (LayerChoice::These(vec![0, 7]), "7 is out of range: m has levels 0 to 6"),
            (LayerChoice::These(vec![-1]), "-1 is out of range: m has levels 0 to 6"),
            (LayerChoice::These(vec![3, 3]), "3 is a duplicate"),
            (LayerChoice::These(vec![3, 2]), "2 follows 3: list the levels in ascending order"),
            (LayerChoice::These(vec![]), "the list is empty"),
            (LayerChoice::Evenly(0), "0 levels cannot be picked: m has levels 0 to 6, so a number is from 1 to 7"),
            (LayerChoice::Evenly(8), "8 levels cannot be picked: m has levels 0 to 6, so a number is from 1 to 7"),
        ];
        for (choice, reason) in cases {
            assert_eq!(choice.resolve(of(7)), bad_layers(reason.to_owned()), "{choice:?}");
        }
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
