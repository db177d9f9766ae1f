//! Inputs, from texts or ids to checked token ids. Owns every check on them: nothing unchecked passes to the device. Ids,
//! token types, lengths and batch size are all refused here, by input.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::domain::limits::Limits;
use crate::domain::taps::Taps;
use crate::engine::errors::invalid;
use crate::engine::interface::EngineError;
use crate::engine::interface::ForwardCall;
use crate::engine::interface::Inputs;
use crate::engine::interface::Place;
use crate::engine::tokenizing::Overlong;
use crate::engine::tokenizing::TextReader;
use crate::engine::tokenizing::Unread;
use crate::model::BackboneInfo;

/// Checked inputs: no list is empty, every id and type is in its table, types have the shape of ids.
#[derive(Debug)]
pub struct TokenBatch {
    /// Ids, one list an input.
    pub ids: Vec<Vec<i64>>,
    /// Token types; `None` stands for all zero.
    pub types: Option<Vec<Vec<i64>>>,
    /// How many inputs were longer than the model takes, and have lost their end.
    pub truncated: usize,
}

impl TokenBatch {
    /// Tokens of all inputs together.
    pub fn tokens(&self) -> usize {
        self.ids.iter().map(Vec::len).sum()
    }
}

/// What an evaluation asks for, as far as it decides who may share its pass.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Evaluation {
    /// Activations of the bare backbone alone.
    Bare,
    /// Activations of adapter sets.
    Adapted,
    /// Hidden states.
    Taps(Arc<Taps>),
}

impl Evaluation {
    /// What a call asks for.
    pub fn of<I>(call: &ForwardCall<I>) -> Self {
        match &call.taps {
            Some(taps) => Self::Taps(Arc::clone(taps)),
            None if call.adapters.is_empty() => Self::Bare,
            None => Self::Adapted,
        }
    }
}

/// Evaluations of one session that are not answered yet; each counts from the moment it is asked for, so that a pass knows whom to
/// wait for before they reach the device.
#[derive(Debug, Default)]
pub struct PendingEvaluations {
    counts: Mutex<HashMap<Evaluation, usize>>,
}

/// An evaluation that counts as pending until this is dropped.
#[derive(Debug)]
pub struct PendingEvaluation {
    session: Arc<PendingEvaluations>,
    kind: Evaluation,
}

impl PendingEvaluations {
    /// Counts one more of a kind.
    pub fn count_in(self: &Arc<Self>, kind: Evaluation) -> PendingEvaluation {
        *self.counts().entry(kind.clone()).or_default() += 1;
        PendingEvaluation { session: Arc::clone(self), kind }
    }

    /// How many of a kind are pending.
    pub fn count(&self, kind: &Evaluation) -> usize {
        self.counts().get(kind).copied().unwrap_or(0)
    }

    /// The counts are whole at every moment: a panic elsewhere does not spoil them.
    fn counts(&self) -> MutexGuard<'_, HashMap<Evaluation, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PendingEvaluation {
    fn drop(&mut self) {
        let mut counts = self.session.counts();
        match counts.get_mut(&self.kind) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.kind)),
        }
    }
}

/// What turns the inputs of one session into tokens.
#[derive(Debug)]
pub struct Reader {
    /// The folder's tokenizer, where it has one.
    pub tokenizer: Option<Arc<TextReader>>,
    /// The backbone's sizes.
    pub info: BackboneInfo,
    /// Who waits for an evaluation.
    pub pending: Arc<PendingEvaluations>,
}

impl Reader {
    /// Tokenizes texts, and checks ids against the backbone and the limits. Takes milliseconds for texts: not for async code.
    pub fn read(&self, inputs: Inputs, overlong: Overlong, limits: &Limits) -> Result<TokenBatch, EngineError> {
        let count = match &inputs {
            Inputs::Texts(texts) => texts.len(),
            Inputs::Tokens { ids, .. } => ids.len(),
        };
        if count == 0 {
            return Err(invalid(Place::Inputs, "there are none"));
        }
        if count > limits.batch_rows {
            let limit = limits.batch_rows;
            return Err(EngineError::TooLarge(format!("{count} inputs in one forward, batch_rows is {limit}")));
        }
        let batch = match inputs {
            Inputs::Texts(texts) => self.tokenize(texts, overlong)?,
            Inputs::Tokens { ids, types } => TokenBatch { ids, types, truncated: 0 },
        };
        self.check(&batch)?;
        let tokens = batch.tokens();
        if tokens > limits.batch_tokens {
            let limit = limits.batch_tokens;
            return Err(EngineError::TooLarge(format!("{tokens} tokens in one forward, batch_tokens is {limit}")));
        }
        Ok(batch)
    }

    fn tokenize(&self, texts: Vec<(String, Option<String>)>, overlong: Overlong) -> Result<TokenBatch, EngineError> {
        let tokenizer = self
            .tokenizer
            .as_ref()
            .ok_or_else(|| invalid(Place::Texts, "the model's folder has no tokenizer.json; send input_ids"))?;
        let encodings = tokenizer.encode(texts, overlong).map_err(|error| match error {
            Unread::Unbroken { input, .. } => invalid(Place::Input(input), error.to_string()),
            Unread::Tokenizer(_) => invalid(Place::Texts, error.to_string()),
        })?;
        let is_cut = |one: &tokenizers::Encoding| !one.get_overflowing().is_empty();
        let cut: Vec<usize> = (0..encodings.len()).filter(|&input| is_cut(&encodings[input])).collect();
        if let (Overlong::Refused, Some(input)) = (overlong, cut.first()) {
            let reason = format!("is longer than the {} tokens that the model takes", self.info.max_tokens);
            return Err(invalid(Place::Input(*input), reason));
        }
        let lists = |pick: fn(&tokenizers::Encoding) -> &[u32]| -> Vec<Vec<i64>> {
            encodings.iter().map(|one| pick(one).iter().map(|&id| i64::from(id)).collect()).collect()
        };
        // RoBERTa has one token type, whatever its tokenizer says about pairs.
        let types = (self.info.token_types > 1).then(|| lists(|one| one.get_type_ids()));
        Ok(TokenBatch { ids: lists(|one| one.get_ids()), types, truncated: cut.len() })
    }

    fn check(&self, batch: &TokenBatch) -> Result<(), EngineError> {
        for (input, ids) in batch.ids.iter().enumerate() {
            if ids.is_empty() {
                return Err(invalid(Place::Input(input), "has no tokens"));
            }
            if ids.len() > self.info.max_tokens {
                let reason = format!("has {} tokens, the model takes at most {}", ids.len(), self.info.max_tokens);
                return Err(invalid(Place::Input(input), reason));
            }
            if let Some(id) = outside(ids, self.info.vocab_size) {
                let reason = format!("token id {id} is not from 0 to {}", self.info.vocab_size - 1);
                return Err(invalid(Place::Input(input), reason));
            }
        }
        match &batch.types {
            None => Ok(()),
            Some(types) => self.check_types(&batch.ids, types),
        }
    }

    fn check_types(&self, ids: &[Vec<i64>], types: &[Vec<i64>]) -> Result<(), EngineError> {
        if types.len() != ids.len() {
            return Err(invalid(
                Place::Field("token_type_ids"),
                format!("{} lists for {} inputs", types.len(), ids.len()),
            ));
        }
        for (input, (ids, types)) in ids.iter().zip(types).enumerate() {
            if types.len() != ids.len() {
                return Err(invalid(
                    Place::Input(input),
                    format!("{} token types for {} tokens", types.len(), ids.len()),
                ));
            }
            if let Some(kind) = outside(types, self.info.token_types) {
                let reason = format!("token type {kind} is not from 0 to {}", self.info.token_types.saturating_sub(1));
                return Err(invalid(Place::Input(input), reason));
            }
        }
        Ok(())
    }
}

fn outside(values: &[i64], rows: usize) -> Option<i64> {
    values.iter().copied().find(|&value| usize::try_from(value).map_or(true, |value| value >= rows))
}
