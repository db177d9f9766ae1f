//! Attention over packed tokens: input by input, the inputs of one length together, so that nothing is padded. Owns how heads and
//! adapter sets are laid out for it; families give it their masks and biases.
//!
//! Shapes: t packed tokens, b inputs, s adapter sets, g inputs of one length l, k key heads, d width of a head.

use tch::Tensor;

use crate::model::error::TchResult;
use crate::model::packing::Group;
use crate::model::packing::Packed;

/// Heads of an attention.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// Heads of the queries.
    pub query: i64,
    /// Heads of keys and values; divides `query` (grouped-query attention, arXiv 2305.13245).
    pub key: i64,
    /// Width of a head.
    pub width: i64,
}

impl Heads {
    /// As many key heads as query heads.
    pub fn even(heads: usize, width: usize) -> Self {
        Self { query: heads as i64, key: heads as i64, width: width as i64 }
    }
}

/// Queries, keys and values `[t, s, heads * d]`; the queries may be one an input, `[b, s, heads * d]`. A set dimension of 1 stands
/// for all sets alike.
pub struct Projected {
    /// Queries.
    pub query: Tensor,
    /// Keys.
    pub key: Tensor,
    /// Values.
    pub value: Tensor,
}

/// What a family adds to the scores of a group.
pub enum Mask {
    /// Every query sees every key.
    None,
    /// A query sees the keys up to its own position.
    Causal,
    /// Booleans (true: seen) or floats (added), broadcast to `[g, s * heads, queries, l]`.
    Tensor(Tensor),
}

/// One group of inputs, its tensors laid out as heads.
pub struct GroupHeads<'a> {
    /// `[g, s * heads, l or 1, d]`
    pub query: Tensor,
    /// `[g, s * heads, l, d]`
    pub key: Tensor,
    /// `[g, s * heads, l, d]`
    pub value: Tensor,
    /// The group.
    pub group: &'a Group,
    /// First input of the group in the packed order.
    pub first_input: i64,
    /// Whether there is one query an input.
    pub picked: bool,
}

/// Runs `attend` on each group and puts the results together: `[t or b, s, heads * d]`.
pub fn by_group(
    projected: &Projected,
    heads: Heads,
    batch: &Packed,
    mut attend: impl FnMut(&GroupHeads) -> TchResult<Tensor>,
) -> TchResult<Tensor> {
    let Projected { query, key, value } = projected;
    let sets = [query, key, value].iter().filter_map(|x| x.size().get(1).copied()).max().unwrap_or(1);
    let picked = query.size().first() != key.size().first();
    let queries = query.f_split_with_sizes(if picked { batch.group_inputs() } else { batch.group_tokens() }, 0)?;
    let keys = key.f_split_with_sizes(batch.group_tokens(), 0)?;
    let values = value.f_split_with_sizes(batch.group_tokens(), 0)?;
    let mut outputs = Vec::with_capacity(batch.groups.len());
    let mut first_input = 0;
    for (i, group) in batch.groups.iter().enumerate() {
        let of = |x: &Tensor, count: i64| split_heads(x, group.inputs, [sets, count, heads.width]);
        let repeat = heads.query / heads.key;
        let out = attend(&GroupHeads {
            query: of(&queries[i], heads.query)?,
            key: repeat_heads(of(&keys[i], heads.key)?, repeat)?,
            value: repeat_heads(of(&values[i], heads.key)?, repeat)?,
            group,
            first_input,
            picked,
        })?; // (g, s * heads, l or 1, d)
        first_input += group.inputs;
        outputs.push(out.f_transpose(1, 2)?.f_reshape([-1, sets, heads.query * heads.width])?);
    }
    if let [only] = &outputs[..] {
        return Ok(only.shallow_clone());
    }
    Tensor::f_cat(&outputs, 0) // (t or b, s, heads * d)
}

/// Scaled dot-product attention; `scale` `None` is 1 / sqrt(d).
pub fn dot_product(heads: &GroupHeads, mask: &Mask, scale: Option<f64>) -> TchResult<Tensor> {
    let GroupHeads { query, key, value, picked, .. } = heads;
    let (mask, causal) = match mask {
        Mask::None => (None, false),
        Mask::Causal => (None, !picked),
        Mask::Tensor(mask) => (Some(mask), false),
    };
    Tensor::f_scaled_dot_product_attention(query, key, value, mask, 0.0, causal, scale, false)
}

/// `[g * l, s or 1, heads * d]` to `[g, s * heads, l, d]`: sets are treated as more heads, which costs no copy.
fn split_heads(x: &Tensor, inputs: i64, [sets, heads, width]: [i64; 3]) -> TchResult<Tensor> {
    let (tokens, _, all) = x.size3()?;
    let x = x.f_expand([tokens, sets, all], false)?;
    x.f_reshape([inputs, tokens / inputs, sets * heads, width])?.f_transpose(1, 2)
}

/// `[g, s * k, l, d]` to `[g, s * k * repeat, l, d]`, each head next to its copies.
fn repeat_heads(x: Tensor, repeat: i64) -> TchResult<Tensor> {
    if repeat == 1 {
        return Ok(x);
    }
    let (inputs, heads, length, width) = x.size4()?;
    let x = x.f_unsqueeze(2)?.f_expand([inputs, heads, repeat, length, width], false)?;
    x.f_reshape([inputs, heads * repeat, length, width])
}
