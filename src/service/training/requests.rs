//! Step requests, from named tensors to typed calls. Owns the names that the data plane knows (`rows`, `theta.{i}`,
//! `s.{i}.{j}`, ...); must never compute anything with a tensor.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::domain::adapter_selection::AdapterSelection;
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::ForwardId;
use crate::domain::labels::is_label_name;
use crate::domain::limits::Limits;
use crate::domain::tensor::Dtype;
use crate::domain::tensor::WireTensor;
use crate::engine::Inputs;
use crate::engine::Share;
use crate::engine::codec;
use crate::service::accounting::sent::Sent;
use crate::service::error::ServiceError;

/// The batch of a forward.
#[derive(Debug, Clone, PartialEq)]
pub enum Batch {
    /// Rows of the job's training file.
    Rows(Vec<u64>),
    /// Inputs in the request itself.
    Inline(Inputs),
}

/// A forward, parsed.
#[derive(Debug, Clone)]
pub struct ForwardRequest {
    /// Step number; present exactly when training.
    pub seq: Option<u64>,
    /// Which adapter sets.
    pub adapters: AdapterSelection,
    /// Whether the bare backbone's activations are asked for.
    pub base: bool,
    /// The batch.
    pub batch: Batch,
    /// New adapter values by set.
    pub theta: Vec<(usize, WireTensor)>,
    /// For idempotency and the ledger.
    pub sent: Sent,
}

/// Scalars of a forward.
#[derive(Debug, Clone)]
pub struct ForwardScalars {
    /// Step number.
    pub seq: Option<u64>,
    /// Whether it is a training step.
    pub train: bool,
    /// Which adapter sets.
    pub adapters: AdapterSelection,
    /// Whether the bare backbone's activations are asked for.
    pub base: bool,
}

impl ForwardRequest {
    /// From a body of tensors, with texts where the body was JSON.
    pub fn new(
        scalars: ForwardScalars,
        tensors: Vec<WireTensor>,
        texts: Option<Vec<(String, Option<String>)>>,
        mut sent: Sent,
    ) -> Result<Self, ServiceError> {
        match (scalars.train, scalars.seq) {
            (true, None) => {
                return Err(ServiceError::new(ErrorCode::SeqMissing, "A training forward needs seq.").at("seq"));
            }
            (false, Some(_)) => {
                return Err(
                    ServiceError::new(ErrorCode::SeqUnexpected, "An evaluation (train=false) has no seq.").at("seq")
                );
            }
            _ => {}
        }
        sent.note_all(&tensors);
        if let Some(texts) = &texts {
            sent.note_texts(texts);
        }
        let mut bag = Bag::new(tensors);
        let theta = bag.take_theta()?;
        let batch = bag.take_batch(texts)?;
        bag.refuse_rest("rows, input_ids, lengths, token_type_ids, theta.{i}")?;
        Ok(Self { seq: scalars.seq, adapters: scalars.adapters, base: scalars.base, batch, theta, sent })
    }
}

/// A backward, parsed.
#[derive(Debug, Clone)]
pub struct BackwardRequest {
    /// Step number.
    pub seq: u64,
    /// The forward it belongs to.
    pub forward: ForwardId,
    /// The shares.
    pub shares: Vec<Share>,
    /// For idempotency and the ledger.
    pub sent: Sent,
}

impl BackwardRequest {
    /// From a body of tensors named `s.{i}.{j}`.
    pub fn new(
        seq: u64,
        forward: ForwardId,
        tensors: Vec<WireTensor>,
        mut sent: Sent,
        limits: &Limits,
    ) -> Result<Self, ServiceError> {
        sent.note_all(&tensors);
        let mut bag = Bag::new(tensors);
        let mut shares = Vec::new();
        for name in bag.names() {
            let Some((set, share)) = share_name(&name) else { continue };
            if share >= limits.shares_per_set {
                let message = format!("{name}: a set has at most {} shares.", limits.shares_per_set);
                return Err(ServiceError::new(ErrorCode::TensorInvalid, message).at(name));
            }
            shares.extend(bag.take(&name).map(|tensor| Share { set, share, tensor }));
        }
        bag.refuse_rest("s.{i}.{j}")?;
        if shares.is_empty() {
            return Err(ServiceError::new(ErrorCode::SharesMissing, "A backward needs at least one share s.{i}.{j}.")
                .at("s.0.0"));
        }
        Ok(Self { seq, forward, shares, sent })
    }
}

fn share_name(name: &str) -> Option<(usize, usize)> {
    let (set, share) = name.strip_prefix("s.")?.split_once('.')?;
    Some((set.parse().ok()?, share.parse().ok()?))
}

/// Tensors by name, taken out one after the other; what is left at the end is refused.
pub struct Bag(BTreeMap<String, WireTensor>);

impl Bag {
    /// Holds the tensors of one body.
    pub fn new(tensors: Vec<WireTensor>) -> Self {
        Self(tensors.into_iter().map(|tensor| (tensor.name().to_owned(), tensor)).collect())
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn take(&mut self, name: &str) -> Option<WireTensor> {
        self.0.remove(name)
    }

    fn take_theta(&mut self) -> Result<Vec<(usize, WireTensor)>, ServiceError> {
        let mut theta = Vec::new();
        for name in self.names() {
            let Some(set) = name.strip_prefix("theta.").and_then(|set| set.parse().ok()) else { continue };
            theta.extend(self.take(&name).map(|tensor| (set, tensor)));
        }
        Ok(theta)
    }

    fn take_batch(&mut self, texts: Option<Vec<(String, Option<String>)>>) -> Result<Batch, ServiceError> {
        let rows = self.take("rows");
        let ids = self.take("input_ids");
        match (rows, ids, texts) {
            (Some(rows), None, None) => Ok(Batch::Rows(row_numbers(&rows)?)),
            (None, Some(ids), None) => Ok(Batch::Inline(self.tokens(&ids)?)),
            (None, None, Some(texts)) if !texts.is_empty() => Ok(Batch::Inline(Inputs::Texts(texts))),
            _ => Err(ServiceError::new(
                ErrorCode::InputsMissing,
                "Send the batch in exactly one form: rows, texts, or input_ids with lengths.",
            )
            .at("rows")),
        }
    }

    fn tokens(&mut self, ids: &WireTensor) -> Result<Inputs, ServiceError> {
        let Some(lengths) = self.take("lengths") else {
            return Err(ServiceError::new(ErrorCode::InputsMissing, "input_ids needs lengths.").at("lengths"));
        };
        let lengths: Vec<usize> = integers(&lengths)?
            .into_iter()
            .map(|length| usize::try_from(length).ok().filter(|length| *length > 0))
            .collect::<Option<_>>()
            .ok_or_else(|| {
                ServiceError::new(ErrorCode::TensorInvalid, "lengths: each must be positive.").at("lengths")
            })?;
        let types = self.take("token_type_ids").map(|types| split(&types, &lengths)).transpose()?;
        Ok(Inputs::Tokens { ids: split(ids, &lengths)?, types })
    }

    fn refuse_rest(&self, known: &str) -> Result<(), ServiceError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) if is_label_name(name) => Err(ServiceError::label_present(name, name.clone())),
            Some(name) => Err(ServiceError::new(
                ErrorCode::UnknownTensor,
                format!("There is no tensor '{name}' in this call; it takes {known}."),
            )
            .at(name.clone())),
        }
    }
}

fn integers(tensor: &WireTensor) -> Result<Vec<i64>, ServiceError> {
    tensor.integers().ok_or_else(|| {
        ServiceError::new(ErrorCode::TensorInvalid, format!("{}: must be I64 or I32.", tensor.name())).at(tensor.name())
    })
}

fn row_numbers(rows: &WireTensor) -> Result<Vec<u64>, ServiceError> {
    integers(rows)?
        .into_iter()
        .map(u64::try_from)
        .collect::<Result<_, _>>()
        .map_err(|_| ServiceError::new(ErrorCode::RowOutOfRange, "rows: a row number is negative.").at("rows"))
}

fn split(tensor: &WireTensor, lengths: &[usize]) -> Result<Vec<Vec<i64>>, ServiceError> {
    let values = integers(tensor)?;
    let total = lengths.iter().try_fold(0usize, |sum, length| sum.checked_add(*length));
    if total != Some(values.len()) {
        let message = format!("{}: has {} elements, lengths add up to {total:?}.", tensor.name(), values.len());
        return Err(ServiceError::new(ErrorCode::TensorInvalid, message).at(tensor.name()));
    }
    let mut rest = values.as_slice();
    Ok(lengths
        .iter()
        .map(|length| {
            let (input, tail) = rest.split_at(*length);
            rest = tail;
            input.to_vec()
        })
        .collect())
}

/// The tensors of a safetensors body.
pub fn parse_body(body: Bytes, limits: &Limits) -> Result<Vec<WireTensor>, ServiceError> {
    Ok(codec::parse_safetensors(body, limits)?.0)
}

/// Token lists of a JSON body as the tensors that the binary form would carry.
pub fn ragged(name: &str, inputs: &[Vec<i64>]) -> Result<Vec<WireTensor>, ServiceError> {
    let bytes =
        |values: &mut dyn Iterator<Item = i64>| Bytes::from(values.flat_map(i64::to_le_bytes).collect::<Vec<u8>>());
    let flat = bytes(&mut inputs.iter().flatten().copied());
    let lengths = bytes(&mut inputs.iter().map(|input| input.len() as i64));
    let bad = |error: crate::domain::tensor::TensorError| {
        ServiceError::new(ErrorCode::TensorInvalid, error.to_string()).at(name)
    };
    let ids = WireTensor::new(name, Dtype::I64, vec![flat.len() / 8], flat).map_err(bad)?;
    let lengths = WireTensor::new("lengths", Dtype::I64, vec![inputs.len()], lengths).map_err(bad)?;
    Ok(vec![ids, lengths])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::KeyId;

    fn scalars(seq: Option<u64>, train: bool) -> ForwardScalars {
        ForwardScalars { seq, train, adapters: AdapterSelection::All, base: false }
    }

    fn integers_of(name: &str, values: &[i64]) -> WireTensor {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        WireTensor::new(name, Dtype::I64, vec![values.len()], bytes.into()).expect("fits")
    }

    fn forward(tensors: Vec<WireTensor>) -> Result<ForwardRequest, ServiceError> {
        ForwardRequest::new(
            scalars(Some(1), true),
            tensors,
            None,
            Sent::new(KeyId(uuid::Uuid::nil()), "forward", "", b""),
        )
    }

    #[test]
    fn packed_tokens_become_inputs() {
        let request =
            forward(vec![integers_of("input_ids", &[5, 6, 7]), integers_of("lengths", &[1, 2])]).expect("valid");
        assert_eq!(request.batch, Batch::Inline(Inputs::Tokens { ids: vec![vec![5], vec![6, 7]], types: None }));
        assert_eq!(request.sent.tensors.0.len(), 2);
    }

    #[test]
    fn each_wrong_bag_is_refused_by_name() {
        let cases = [
            (vec![], ErrorCode::InputsMissing, "rows"),
            (vec![integers_of("rows", &[1]), integers_of("label", &[1])], ErrorCode::LabelPresent, "label"),
            (vec![integers_of("rows", &[1]), integers_of("extra", &[1])], ErrorCode::UnknownTensor, "extra"),
            (vec![integers_of("rows", &[-1])], ErrorCode::RowOutOfRange, "rows"),
            (vec![integers_of("input_ids", &[1])], ErrorCode::InputsMissing, "lengths"),
            (vec![integers_of("input_ids", &[1]), integers_of("lengths", &[2])], ErrorCode::TensorInvalid, "input_ids"),
            (vec![integers_of("input_ids", &[1]), integers_of("lengths", &[0])], ErrorCode::TensorInvalid, "lengths"),
            (
                vec![integers_of("input_ids", &[1]), integers_of("lengths", &[i64::MAX, i64::MAX, 3])],
                ErrorCode::TensorInvalid,
                "input_ids",
            ),
        ];
        for (tensors, code, param) in cases {
            let error = forward(tensors).expect_err(code.as_str());
            assert_eq!((error.code, error.param.as_deref()), (code, Some(param)));
        }
    }

    #[test]
    fn shares_are_read_by_set_and_number() {
        let share = |name: &str| WireTensor::from_f32(name, vec![1], &[1.0]).expect("fits");
        let limits = Limits::default();
        let read = |names: &[&str]| {
            let tensors = names.iter().map(|name| share(name)).collect();
            BackwardRequest::new(
                2,
                ForwardId(uuid::Uuid::nil()),
                tensors,
                Sent::new(KeyId(uuid::Uuid::nil()), "backward", "", b""),
                &limits,
            )
        };
        let request = read(&["s.0.1", "s.1.0"]).expect("valid");
        assert_eq!(request.shares.iter().map(|s| (s.set, s.share)).collect::<Vec<_>>(), [(0, 1), (1, 0)]);
        for (names, code) in [
            (vec![], ErrorCode::SharesMissing),
            (vec!["s.0"], ErrorCode::UnknownTensor),
            (vec!["s.0.99"], ErrorCode::TensorInvalid),
            (vec!["y"], ErrorCode::LabelPresent),
        ] {
            assert_eq!(read(&names).expect_err(code.as_str()).code, code);
        }
    }
}
