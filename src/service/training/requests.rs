//! Step requests, from a body in either form to one typed call. Owns the names that the data plane knows (`rows`, `theta.{i}`,
//! `s.{i}.{j}`, ...); must never compute anything with a tensor.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::domain::adapter_selection::AdapterSelection;
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::ForwardId;
use crate::domain::labels::is_label_name;
use crate::domain::limits::Limits;
use crate::domain::tensor::WireTensor;
use crate::engine::Inputs;
use crate::engine::Share;
use crate::engine::codec;
use crate::service::accounting::sent::Sent;
use crate::service::error::ServiceError;
use crate::service::files::tensor_metadata::check_tensor_metadata;

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

/// What a JSON body gives besides scalars: lists as lists, and as tensors only what is sent as such.
#[derive(Debug, Default)]
pub struct ForwardValues {
    /// Rows of the job's training file.
    pub rows: Option<Vec<i64>>,
    /// Texts, or pairs of texts.
    pub texts: Option<Vec<(String, Option<String>)>>,
    /// Token ids, one list an input.
    pub input_ids: Option<Vec<Vec<i64>>>,
    /// Segment of each token, shaped as `input_ids`.
    pub token_type_ids: Option<Vec<Vec<i64>>>,
    /// New adapter values, `theta.{i}`.
    pub theta: Vec<WireTensor>,
}

/// The names that a forward takes.
const FORWARD_TENSORS: &str = "rows, input_ids, lengths, token_type_ids, theta.{i}";

impl ForwardRequest {
    /// From the tensors of a safetensors body.
    pub fn from_tensors(
        scalars: ForwardScalars,
        tensors: Vec<WireTensor>,
        mut sent: Sent,
    ) -> Result<Self, ServiceError> {
        check_seq(&scalars)?;
        sent.note_all(&tensors);
        let mut bag = Bag::new(tensors);
        let theta = bag.take_theta();
        let batch = bag.take_batch()?;
        bag.refuse_rest(FORWARD_TENSORS)?;
        Ok(Self::new(scalars, batch, theta, sent))
    }

    /// From the values of a JSON body. The ledger has them under the names and hashes of the binary form.
    pub fn from_values(scalars: ForwardScalars, values: ForwardValues, mut sent: Sent) -> Result<Self, ServiceError> {
        check_not_empty(&values)?;
        check_seq(&scalars)?;
        values.note_in(&mut sent);
        let ForwardValues { rows, texts, input_ids, token_type_ids, theta } = values;
        let mut bag = Bag::new(theta);
        let theta = bag.take_theta();
        let types_are_alone = input_ids.is_none() && token_type_ids.is_some();
        let batch = match (rows, input_ids, texts) {
            (Some(rows), None, None) => Batch::Rows(row_numbers(rows)?),
            (None, Some(ids), None) => Batch::Inline(Inputs::Tokens { ids, types: token_type_ids }),
            (None, None, Some(texts)) if !texts.is_empty() => Batch::Inline(Inputs::Texts(texts)),
            _ => return Err(not_one_batch()),
        };
        bag.refuse_rest(FORWARD_TENSORS)?;
        if types_are_alone {
            return Err(unknown_tensor("token_type_ids", FORWARD_TENSORS));
        }
        Ok(Self::new(scalars, batch, theta, sent))
    }

    fn new(scalars: ForwardScalars, batch: Batch, theta: Vec<(usize, WireTensor)>, sent: Sent) -> Self {
        let ForwardScalars { seq, adapters, base, .. } = scalars;
        Self { seq, adapters, base, batch, theta, sent }
    }
}

fn check_seq(scalars: &ForwardScalars) -> Result<(), ServiceError> {
    let refuse = |code, message: &str| Err(ServiceError::new(code, message).at("seq"));
    match (scalars.train, scalars.seq) {
        (true, None) => refuse(ErrorCode::SeqMissing, "A training forward needs seq."),
        (false, Some(_)) => refuse(ErrorCode::SeqUnexpected, "An evaluation (train=false) has no seq."),
        _ => Ok(()),
    }
}

/// A tensor has elements, and so must a list that stands for one.
fn check_not_empty(values: &ForwardValues) -> Result<(), ServiceError> {
    let refuse = |name: &str, reason: &str| {
        Err(ServiceError::new(ErrorCode::TensorInvalid, format!("{name}: {reason}.")).at(name))
    };
    if values.rows.as_ref().is_some_and(Vec::is_empty) {
        return refuse("rows", "is empty");
    }
    for (name, lists) in [("input_ids", &values.input_ids), ("token_type_ids", &values.token_type_ids)] {
        if lists.as_ref().is_some_and(|lists| lists.is_empty() || lists.iter().any(Vec::is_empty)) {
            return refuse(name, "each input needs a token");
        }
    }
    Ok(())
}

impl ForwardValues {
    fn note_in(&self, sent: &mut Sent) {
        sent.note_all(&self.theta);
        if let Some(rows) = &self.rows {
            sent.note_integers("rows", rows.iter().copied());
        }
        if let Some(ids) = &self.input_ids {
            sent.note_integers("input_ids", ids.iter().flatten().copied());
            sent.note_integers("lengths", ids.iter().map(|ids| ids.len() as i64));
        }
        if let Some(types) = &self.token_type_ids {
            sent.note_integers("token_type_ids", types.iter().flatten().copied());
        }
        if let Some(texts) = &self.texts {
            sent.note_texts(texts);
        }
    }
}

fn not_one_batch() -> ServiceError {
    let message = "Send the batch in exactly one form: rows, texts, or input_ids with lengths.";
    ServiceError::new(ErrorCode::InputsMissing, message).at("rows")
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
    /// From a body of tensors named `s.{i}.{j}`. How many of them a set may have is for the engine to say.
    pub fn new(seq: u64, forward: ForwardId, tensors: Vec<WireTensor>, mut sent: Sent) -> Result<Self, ServiceError> {
        sent.note_all(&tensors);
        let mut bag = Bag::new(tensors);
        let mut shares = Vec::new();
        for name in bag.names() {
            let Some((set, share)) = share_name(&name) else { continue };
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
struct Bag(BTreeMap<String, WireTensor>);

impl Bag {
    /// Holds the tensors of one body.
    fn new(tensors: Vec<WireTensor>) -> Self {
        Self(tensors.into_iter().map(|tensor| (tensor.name().to_owned(), tensor)).collect())
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn take(&mut self, name: &str) -> Option<WireTensor> {
        self.0.remove(name)
    }

    fn take_theta(&mut self) -> Vec<(usize, WireTensor)> {
        let mut theta = Vec::new();
        for name in self.names() {
            let Some(set) = name.strip_prefix("theta.").and_then(|set| set.parse().ok()) else { continue };
            theta.extend(self.take(&name).map(|tensor| (set, tensor)));
        }
        theta
    }

    fn take_batch(&mut self) -> Result<Batch, ServiceError> {
        match (self.take("rows"), self.take("input_ids")) {
            (Some(rows), None) => Ok(Batch::Rows(row_numbers(integers(&rows)?)?)),
            (None, Some(ids)) => Ok(Batch::Inline(self.take_tokens(&ids)?)),
            _ => Err(not_one_batch()),
        }
    }

    fn take_tokens(&mut self, ids: &WireTensor) -> Result<Inputs, ServiceError> {
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
            Some(name) => Err(unknown_tensor(name, known)),
        }
    }
}

fn unknown_tensor(name: &str, known: &str) -> ServiceError {
    let message = format!("There is no tensor '{name}' in this call; it takes {known}.");
    ServiceError::new(ErrorCode::UnknownTensor, message).at(name)
}

fn integers(tensor: &WireTensor) -> Result<Vec<i64>, ServiceError> {
    tensor.integers().ok_or_else(|| {
        ServiceError::new(ErrorCode::TensorInvalid, format!("{}: must be I64 or I32.", tensor.name())).at(tensor.name())
    })
}

fn row_numbers(rows: Vec<i64>) -> Result<Vec<u64>, ServiceError> {
    let negative = |_| ServiceError::new(ErrorCode::RowOutOfRange, "rows: a row number is negative.").at("rows");
    rows.into_iter().map(u64::try_from).collect::<Result<_, _>>().map_err(negative)
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

/// The tensors of a safetensors body, whose metadata says nothing.
pub fn parse_body(body: Bytes, limits: &Limits) -> Result<Vec<WireTensor>, ServiceError> {
    let (tensors, metadata) = codec::parse_safetensors(body, limits)?;
    check_tensor_metadata(&metadata)?;
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::KeyId;
    use crate::domain::tensor::Dtype;

    fn scalars(seq: Option<u64>, train: bool) -> ForwardScalars {
        ForwardScalars { seq, train, adapters: AdapterSelection::All, base: false }
    }

    fn integers_of(name: &str, values: &[i64]) -> WireTensor {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        WireTensor::new(name, Dtype::I64, vec![values.len()], bytes.into()).expect("fits")
    }

    fn forward(tensors: Vec<WireTensor>) -> Result<ForwardRequest, ServiceError> {
        ForwardRequest::from_tensors(scalars(Some(1), true), tensors, sent("forward"))
    }

    fn sent(kind: &str) -> Sent {
        Sent::new(KeyId(uuid::Uuid::nil()), kind, "", b"")
    }

    #[test]
    fn packed_tokens_become_inputs() {
        let request =
            forward(vec![integers_of("input_ids", &[5, 6, 7]), integers_of("lengths", &[1, 2])]).expect("valid");
        assert_eq!(request.batch, Batch::Inline(Inputs::Tokens { ids: vec![vec![5], vec![6, 7]], types: None }));
        assert_eq!(request.sent.tensors.0.len(), 2);
    }

    #[test]
    fn both_forms_of_a_batch_are_one_request_and_one_ledger_entry() {
        let theta = || WireTensor::from_f32("theta.1", vec![2], &[0.5, 1.0]).expect("fits");
        let ids = || Some(vec![vec![5], vec![6, 7]]);
        let types = || Some(vec![vec![0], vec![0, 1]]);
        let tokens =
            ForwardValues { input_ids: ids(), token_type_ids: types(), theta: vec![theta()], ..Default::default() };
        let rows = ForwardValues { rows: Some(vec![3, 1]), ..Default::default() };
        let tensors = vec![
            theta(),
            integers_of("input_ids", &[5, 6, 7]),
            integers_of("lengths", &[1, 2]),
            integers_of("token_type_ids", &[0, 0, 1]),
        ];
        for (values, tensors) in [(tokens, tensors), (rows, vec![integers_of("rows", &[3, 1])])] {
            let json = ForwardRequest::from_values(scalars(Some(1), true), values, sent("forward")).expect("valid");
            let binary = forward(tensors).expect("valid");
            assert_eq!((&json.batch, &json.theta), (&binary.batch, &binary.theta));
            assert_eq!(json.sent.tensors, binary.sent.tensors);
        }
    }

    #[test]
    fn each_wrong_json_batch_is_refused_by_name() {
        let ids = |lists: &[&[i64]]| Some(lists.iter().map(|list| list.to_vec()).collect::<Vec<_>>());
        let cases = [
            (ForwardValues::default(), ErrorCode::InputsMissing, "rows"),
            (ForwardValues { texts: Some(Vec::new()), ..Default::default() }, ErrorCode::InputsMissing, "rows"),
            (
                ForwardValues { rows: Some(vec![1]), input_ids: ids(&[&[1]]), ..Default::default() },
                ErrorCode::InputsMissing,
                "rows",
            ),
            (ForwardValues { rows: Some(vec![-1]), ..Default::default() }, ErrorCode::RowOutOfRange, "rows"),
            (ForwardValues { rows: Some(Vec::new()), ..Default::default() }, ErrorCode::TensorInvalid, "rows"),
            (ForwardValues { input_ids: ids(&[]), ..Default::default() }, ErrorCode::TensorInvalid, "input_ids"),
            (
                ForwardValues { input_ids: ids(&[&[1], &[]]), ..Default::default() },
                ErrorCode::TensorInvalid,
                "input_ids",
            ),
            (ForwardValues { token_type_ids: ids(&[&[0]]), ..Default::default() }, ErrorCode::InputsMissing, "rows"),
            (
                ForwardValues { rows: Some(vec![1]), token_type_ids: ids(&[&[0]]), ..Default::default() },
                ErrorCode::UnknownTensor,
                "token_type_ids",
            ),
        ];
        for (values, code, param) in cases {
            let error =
                ForwardRequest::from_values(scalars(Some(1), true), values, sent("forward")).expect_err(code.as_str());
            assert_eq!((error.code, error.param.as_deref()), (code, Some(param)));
        }
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
        let read = |names: &[&str]| {
            let tensors = names.iter().map(|name| share(name)).collect();
            BackwardRequest::new(2, ForwardId(uuid::Uuid::nil()), tensors, sent("backward"))
        };
        let request = read(&["s.0.1", "s.1.0"]).expect("valid");
        assert_eq!(request.shares.iter().map(|s| (s.set, s.share)).collect::<Vec<_>>(), [(0, 1), (1, 0)]);
        for (names, code) in [
            (vec![], ErrorCode::SharesMissing),
            (vec!["s.0"], ErrorCode::UnknownTensor),
            (vec!["y"], ErrorCode::LabelPresent),
        ] {
            assert_eq!(read(&names).expect_err(code.as_str()).code, code);
        }
    }
}
