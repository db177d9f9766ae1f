//! Hidden states as a pass gives them. Owns which states of a pass are kept, and the one place where they get the element type of the
//! answer; must never decide who shares a pass.

use std::ops::ControlFlow;
use std::sync::Arc;

use tch::Kind;
use tch::Tensor;

use crate::domain::settings::Pooling;
use crate::domain::taps::BatchSize;
use crate::domain::taps::TapDtype;
use crate::domain::taps::Taps;
use crate::domain::taps::TokenPicks;
use crate::domain::tensor::Dtype;
use crate::domain::tensor::TensorError;
use crate::domain::tensor::WireTensor;
use crate::domain::transform::Transform;
use crate::engine::codec::to_tensor;
use crate::engine::codec::to_wire;
use crate::engine::codec::to_wire_as;
use crate::engine::errors::invalid;
use crate::engine::inputs::TokenBatch;
use crate::engine::interface::EngineError;
use crate::engine::interface::ForwardCall;
use crate::engine::interface::Place;
use crate::engine::retained_graphs::BatchRows;
use crate::engine::retained_graphs::RowRange;
use crate::engine::session::Session;
use crate::model::error::TchResult;
use crate::model::packing::Packed;
use crate::model::pooling;

/// Largest magnitude of an 8-bit integer that stands for a value.
const INT8: f32 = 127.0;
/// Largest 16-bit float.
const FLOAT16: f64 = 65_504.0;

/// How large the states of a batch are on a session's backbone.
pub fn size_of(session: &Session, batch: &TokenBatch) -> BatchSize {
    BatchSize { inputs: batch.ids.len(), tokens: batch.tokens(), width: session.backbone.info().hidden_size }
}

/// Refuses taps together with anything else, and levels that the backbone does not have.
pub fn check(session: &Session, call: &ForwardCall<TokenBatch>, taps: &Taps) -> Result<(), EngineError> {
    let refuse = |reason: &str| Err(invalid(Place::Field("layers"), reason));
    if call.keep.is_some() || call.base || !call.adapters.is_empty() {
        return refuse("hidden states are asked for alone: of no adapter set, and of no training pass");
    }
    let levels = session.backbone.info().levels;
    if taps.levels.is_empty() || taps.levels.iter().any(|level| *level >= levels) {
        return refuse(&format!("levels are from 0 to {}, and there is at least one", levels - 1));
    }
    if !taps.levels.is_sorted_by(|a, b| a < b) {
        return refuse("levels ascend, and none comes twice");
    }
    Ok(())
}

/// The states that a pass kept, in the callers' order.
pub struct TappedPass {
    by_token: bool,
    dtype: TapDtype,
    transform: Option<Arc<Transform>>,
    /// Under the names that they have in an answer: `[N, H]`, or `[B, H]` where tokens were picked; float32, on the device.
    kept: Vec<(String, Tensor)>,
}

impl TappedPass {
    /// Runs the bare backbone up to the last level that is wanted, and keeps of each level what is wanted of it.
    pub fn run(session: &Session, batch: &TokenBatch, taps: &Taps) -> Result<Self, EngineError> {
        let _frozen = tch::no_grad_guard();
        let packed = session.pack(batch)?;
        let mut kept = Vec::new();
        let mut visit = |level: usize, states: &Tensor| {
            if taps.levels.contains(&level) {
                kept.extend(wanted(level, states, &packed, &taps.tokens)?);
            }
            let is_last = taps.levels.last().is_none_or(|last| *last <= level);
            Ok(if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        session.backbone.hidden_states(&packed, &mut visit)?;
        Ok(Self {
            by_token: taps.tokens == TokenPicks::All,
            dtype: taps.dtype,
            transform: taps.transform.clone(),
            kept,
        })
    }

    /// The slices of one pass, their rows one below the other.
    pub fn joined(mut slices: Vec<Self>) -> Result<Self, EngineError> {
        let mut whole = slices.pop().ok_or_else(|| EngineError::Internal("a pass without slices".to_owned()))?;
        for (index, (_, states)) in whole.kept.iter_mut().enumerate() {
            let before = slices.iter().filter_map(|slice| slice.kept.get(index)).map(|(_, states)| states);
            let rows: Vec<&Tensor> = before.chain([&*states]).collect();
            if rows.len() > 1 {
                *states = Tensor::f_cat(&rows, 0)?;
            }
        }
        Ok(whole)
    }

    /// The states of one call's rows, as its answer has them.
    pub fn cut_out(&self, rows: BatchRows) -> Result<Vec<WireTensor>, EngineError> {
        let RowRange { first, count } = if self.by_token { rows.tokens } else { rows.inputs };
        let mut tensors = Vec::with_capacity(self.kept.len());
        for (name, states) in &self.kept {
            let states = states.f_narrow(0, first, count)?;
            match &self.transform {
                None => tensors.extend(to_answer(name, &states, self.dtype)?),
                Some(transform) => tensors.extend(self.transformed(name, &states, transform)?),
            }
        }
        Ok(tensors)
    }
}

impl TappedPass {
    /// The states of one call's rows `[R, H]`, projected `[R, dim]` and with the scales of a whole job.
    fn transformed(&self, name: &str, states: &Tensor, transform: &Transform) -> Result<Vec<WireTensor>, EngineError> {
        let unknown = || EngineError::Internal(format!("the transform of {} has no {name}", transform.id));
        let part = transform.part(name).ok_or_else(unknown)?;
        let live = |wire: &WireTensor| Ok::<_, EngineError>(to_tensor(wire)?.f_to_device(states.device())?);
        let states = match &part.projection {
            None => states.shallow_clone(),
            Some([mean, components]) => states.f_sub(&live(mean)?)?.f_matmul(&live(components)?)?, // (r, dim)
        };
        match (&part.scale, self.dtype) {
            (Some(scale), TapDtype::Int8) => {
                let values = to_int8_by(&states, &live(scale)?)?;
                Ok(vec![to_wire_as(name, &values, self.dtype.wire())?, scale.clone().renamed(scale_of(name))])
            }
            _ => to_answer(name, &states, self.dtype),
        }
    }
}

/// What is wanted of a level `[N, 1, H]` in packed order, by name.
fn wanted(level: usize, states: &Tensor, batch: &Packed, tokens: &TokenPicks) -> TchResult<Vec<(String, Tensor)>> {
    let name = format!("hidden.{level}");
    match tokens {
        TokenPicks::All => Ok(vec![(name, pooling::pool(states, batch, Pooling::None)?.f_select(1, 0)?)]),
        TokenPicks::Some(picks) => picks
            .iter()
            .map(|pick| Ok((format!("{name}.{}", pick.name()), pooling::pick(states, batch, *pick)?.f_select(1, 0)?)))
            .collect(),
    }
}

/// States `[R, H]` in the element type of the answer, with their scale where they have one.
fn to_answer(name: &str, states: &Tensor, dtype: TapDtype) -> Result<Vec<WireTensor>, EngineError> {
    Ok(match dtype {
        TapDtype::Float32 | TapDtype::Bfloat16 => vec![to_wire_as(name, states, dtype.wire())?],
        TapDtype::Float16 => vec![to_wire_as(name, &states.f_clamp(-FLOAT16, FLOAT16)?, dtype.wire())?],
        TapDtype::Int8 => {
            let [values, scale] = to_int8(states)?;
            vec![to_wire_as(name, &values, dtype.wire())?, to_wire(scale_of(name), &scale)?]
        }
    })
}

fn scale_of(name: &str) -> String {
    format!("{name}.scale")
}

/// Integers from -127 to 127 for states `[R, H]`, and the scale `[H]` that each feature's are to be multiplied by. A feature that is zero
/// everywhere has scale 1.
fn to_int8(states: &Tensor) -> TchResult<[Tensor; 2]> {
    let scale = states.f_abs()?.f_amax([0], false)?.f_div_scalar(f64::from(INT8))?;
    let scale = scale.f_where_self(&scale.f_gt(0.0)?, &scale.f_ones_like()?)?;
    Ok([to_int8_by(states, &scale)?, scale])
}

/// Integers for states `[R, H]` with this scale `[H]`; what is beyond -127 and 127 is cut there.
fn to_int8_by(states: &Tensor, scale: &Tensor) -> TchResult<Tensor> {
    states.f_div(scale)?.f_round()?.f_clamp(f64::from(-INT8), f64::from(INT8))?.f_to_kind(Kind::Int8)
}

/// The same integers and scale, bit for bit, of float32 rows `[R, H]` that several passes gave: all rows of an answer have one scale.
pub fn quantize(rows: &WireTensor) -> Result<[WireTensor; 2], EngineError> {
    let failed = |error: TensorError| EngineError::Internal(error.to_string());
    let (Some(values), &[_, width]) = (rows.floats(), rows.shape()) else {
        return Err(EngineError::Internal(format!("{} is no matrix of float32", rows.name())));
    };
    let mut scale = vec![0.0_f32; width];
    for row in values.chunks_exact(width) {
        scale.iter_mut().zip(row).for_each(|(most, value)| *most = most.max(value.abs()));
    }
    scale.iter_mut().for_each(|most| *most = if *most / INT8 > 0.0 { *most / INT8 } else { 1.0 });
    let to_byte = |(value, scale): (&f32, &f32)| {
        let rounded = (value / scale).round_ties_even().clamp(-INT8, INT8);
        (rounded as i8).cast_unsigned()
    };
    let bytes: Vec<u8> = values.chunks_exact(width).flat_map(|row| row.iter().zip(&scale).map(to_byte)).collect();
    let values = WireTensor::new(rows.name(), Dtype::I8, rows.shape().to_vec(), bytes.into()).map_err(failed)?;
    let scale = WireTensor::from_f32(scale_of(rows.name()), vec![width], &scale).map_err(failed)?;
    Ok([values, scale])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn int8_of_one_pass_and_of_several_are_the_same_bits() {
        // The second feature is zero everywhere; halves of a step are among the others.
        let rows = [[3.0_f32, 0.0, -1e-3], [-127.0, 0.0, 5e-4], [0.5, 0.0, 1.27e-1], [1.5, 0.0, -5.5e-3]];
        let whole = WireTensor::from_f32("x", vec![4, 3], rows.as_flattened()).expect("fits");
        let live = Tensor::from_slice(rows.as_flattened()).f_view([4, 3]).expect("views");
        let on_device = to_answer("x", &live, TapDtype::Int8).expect("converts");
        let at_once = quantize(&whole).expect("quantizes");
        assert_eq!(on_device, at_once);
        assert_eq!((at_once[0].dtype(), at_once[1].name()), (Dtype::I8, "x.scale"));
        assert_eq!(at_once[1].floats(), Some(vec![1.0, 1.0, 1.27e-1 / INT8]));
        let first: Vec<u8> = at_once[0].bytes().iter().step_by(3).copied().collect();
        assert_eq!(first, [3_i8, -127, 0, 2].map(i8::cast_unsigned), "halves go to the even neighbour");
    }

    #[test]
    fn a_float_beyond_16_bits_is_the_largest_of_them() {
        let large = Tensor::from_slice(&[1e6_f32, -1e6, 1.0]).f_view([1, 3]).expect("views");
        let answer = to_answer("x", &large, TapDtype::Float16).expect("converts");
        assert_eq!(answer[0].bytes()[..], [0xff, 0x7b, 0xff, 0xfb, 0x00, 0x3c]);
    }
}
