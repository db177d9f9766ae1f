//! The cut: what of the last layer becomes the activations, put back into the callers' order.

use tch::Tensor;

use crate::domain::settings::Pooling;
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

/// The mean over each input's tokens: `[N, S, H]` to `[B, S, H]`, in packed order.
fn means(hidden: &Tensor, batch: &Packed) -> TchResult<Tensor> {
    let (_, sets, width) = hidden.size3()?;
    let parts = hidden.f_split_with_sizes(batch.group_tokens(), 0)?;
    let means = parts.iter().zip(&batch.groups).map(|(part, group)| {
        part.f_reshape([group.inputs, group.length, sets, width])?.f_mean_dim(1, false, None) // (g, s, h)
    });
    Tensor::f_cat(&means.collect::<TchResult<Vec<_>>>()?, 0) // (b, s, h)
}
