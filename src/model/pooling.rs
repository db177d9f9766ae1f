//! The cut: what of the last layer becomes the activations, and what of any level is picked, put back into the callers' order.

use tch::Tensor;

use crate::domain::settings::Pooling;
use crate::domain::taps::TokenPick;
use crate::model::error::TchResult;
use crate::model::packing::Packed;

/// The packed tokens that the pool reads, one an input; `None` where it reads all of them.
pub fn picks(batch: &Packed, pooling: Pooling) -> Option<&Tensor> {
    match pooling {
        Pooling::Cls => Some(&batch.first),
        Pooling::Last => Some(&batch.last),
        Pooling::Eos => Some(&batch.eos),
        Pooling::Mean | Pooling::None => None,
    }
}

/// Pools `hidden`, which is `[B, S, H]` in packed order where [`picks`] gave tokens, `[N, S, H]` otherwise.
/// Returns `[B, S, H]`, or `[N, S, H]` for `none`, in the callers' order.
pub fn pool(hidden: &Tensor, batch: &Packed, pooling: Pooling) -> TchResult<Tensor> {
    match pooling {
        Pooling::Cls | Pooling::Last | Pooling::Eos => hidden.f_index_select(0, &batch.restore_inputs),
        Pooling::Mean => means(hidden, batch)?.f_index_select(0, &batch.restore_inputs),
        Pooling::None => hidden.f_index_select(0, &batch.restore_tokens),
    }
}

/// What `pick` makes of each input's tokens: `[N, S, H]` in packed order to `[B, S, H]` in the callers' order.
pub fn pick(hidden: &Tensor, batch: &Packed, pick: TokenPick) -> TchResult<Tensor> {
    let picked = match pick {
        TokenPick::Cls => hidden.f_index_select(0, &batch.first)?,
        TokenPick::Last => hidden.f_index_select(0, &batch.last)?,
        TokenPick::Mean => means(hidden, batch)?,
        TokenPick::Max => by_input(hidden, batch, |tokens| tokens.f_amax([1], false))?,
    };
    picked.f_index_select(0, &batch.restore_inputs)
}

/// The mean over each input's tokens: `[N, S, H]` to `[B, S, H]`, in packed order.
fn means(hidden: &Tensor, batch: &Packed) -> TchResult<Tensor> {
    by_input(hidden, batch, |tokens| tokens.f_mean_dim(1, false, None))
}

/// `[N, S, H]` to `[B, S, H]`, in packed order; `reduce` takes the inputs of one length, `[G, L, S, H]` to `[G, S, H]`.
fn by_input(hidden: &Tensor, batch: &Packed, reduce: impl Fn(&Tensor) -> TchResult<Tensor>) -> TchResult<Tensor> {
    let (_, sets, width) = hidden.size3()?;
    let parts = hidden.f_split_with_sizes(batch.group_tokens(), 0)?;
    let reduced = parts.iter().zip(&batch.groups).map(|(part, group)| {
        reduce(&part.f_reshape([group.inputs, group.length, sets, width])?) // (g, s, h)
    });
    Tensor::f_cat(&reduced.collect::<TchResult<Vec<_>>>()?, 0) // (b, s, h)
}
