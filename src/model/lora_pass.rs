//! The updates of one pass over the backbone. Owns the arithmetic of an update for all sets or for the owners of rows, and the
//! vector-Jacobian product on its leaves; must never change theta, of which the leaves are views.

use tch::Kind;
use tch::Tensor;

use crate::model::error::TchResult;
use crate::model::packing::Rows;
use crate::model::sites::AdapterMatrix;

/// Below so many rows BLAS multiplies with other kernels, which sum in another order: a request must answer the same alone and
/// stacked with others, so fewer rows are padded.
const FEW_ROWS: i64 = 8;

/// The update of one site.
#[derive(Debug)]
pub(super) struct Update {
    /// `lora_A`, `[S, r, in]`.
    pub(super) down: Tensor,
    /// `lora_B`, `[S, out, r]`.
    pub(super) up: Tensor,
    /// PEFT's scale of the update.
    pub(super) scale: f64,
}

impl Update {
    /// `[s, t, in]` to `[s, t, out]`.
    fn forward(&self, x: &Tensor) -> TchResult<Tensor> {
        let (_, rows, _) = x.size3()?;
        if rows < FEW_ROWS {
            let padded = x.f_constant_pad_nd([0, 0, 0, FEW_ROWS - rows])?;
            return self.forward(&padded)?.f_narrow(1, 0, rows);
        }
        let low = x.f_bmm(&self.down.f_transpose(1, 2)?)?.f_mul_scalar(self.scale)?; // (s, t, r)
        low.f_bmm(&self.up.f_transpose(1, 2)?)
    }
}

/// Which sets a row of the batch meets.
#[derive(Debug)]
pub(super) enum Spread {
    /// All of them, side by side in the second dimension.
    EverySet,
    /// Its owner's, in a second dimension of 1: the tokens' owners, and the inputs'.
    Owned([Rows; 2]),
}

/// The updates of S sets in one pass.
#[derive(Debug)]
pub struct LoraPass {
    /// By site: its update, where it carries one.
    pub(super) by_site: Vec<Option<Update>>,
    /// What gradients are collected for: `lora_A`, then `lora_B` of each update, in the order of theta.
    pub(super) leaves: Vec<Tensor>,
    /// How many sets, or owners, there are.
    pub(super) sets: i64,
    /// How much of an update's input is dropped.
    pub(super) dropout: f64,
    /// Which sets a row meets.
    pub(super) spread: Spread,
}

impl LoraPass {
    /// `scale * dropout(x) A^T B^T` of a site, float32: `[T, S, in]` (or `[T, 1, in]`) to `[T, S, out]`. `None` where the site has
    /// no update.
    pub fn delta(&self, site: usize, x: &Tensor) -> TchResult<Option<Tensor>> {
        let Some(update) = self.by_site.get(site).and_then(Option::as_ref) else { return Ok(None) };
        let x = x.f_to_kind(Kind::Float)?;
        let delta = match &self.spread {
            Spread::EverySet => self.every_set(&x, update)?,
            Spread::Owned(rows) => self.owned(&x, update, rows)?,
        };
        Ok(Some(delta))
    }

    fn every_set(&self, x: &Tensor, update: &Update) -> TchResult<Tensor> {
        let (tokens, _, inputs) = x.size3()?;
        let x = x.f_expand([tokens, self.sets, inputs], false)?; // (t, s, in)
        // The input is made whole first, so that each set draws a mask of its own.
        let x = if self.dropout > 0.0 { x.f_contiguous()?.f_dropout(self.dropout, true)? } else { x };
        update.forward(&x.f_transpose(0, 1)?)?.f_transpose(0, 1) // (t, s, out)
    }

    /// `[t, 1, in]` to `[t, 1, out]`, each row with its owner's matrices.
    fn owned(&self, x: &Tensor, update: &Update, rows: &[Rows; 2]) -> TchResult<Tensor> {
        let (count, _, inputs) = x.size3()?;
        let rows = if count == rows[0].count { &rows[0] } else { &rows[1] };
        let x = x.f_select(1, 0)?.f_index_select(0, &rows.gather)?.f_view([self.sets, -1, inputs])?; // (o, w, in)
        let delta = update.forward(&x)?; // (o, w, out)
        delta.f_flatten(0, 1)?.f_index_select(0, &rows.scatter)?.f_unsqueeze(1)
    }

    /// Vector-Jacobian product of `output` with `cotangent` (same shape, float32) for all sets at once: `[S, P]`.
    /// The graph is kept, so that further products can follow.
    pub fn vjp(&self, output: &Tensor, cotangent: &Tensor) -> TchResult<Tensor> {
        let root = output.f_mul(cotangent)?.f_sum(Kind::Float)?;
        let gradients = Tensor::f_run_backward(&[root], &self.leaves, true, false)?;
        let flat = gradients.iter().zip(&self.leaves).map(|(gradient, leaf)| {
            let whole = if gradient.defined() { gradient.shallow_clone() } else { leaf.f_zeros_like()? };
            whole.f_reshape([self.sets, -1])
        });
        Tensor::f_cat(&flat.collect::<TchResult<Vec<_>>>()?, 1) // (s, p)
    }
}

/// `[S, rows, columns]` of one matrix, a view that collects gradients.
pub(super) fn leaf(theta: &Tensor, matrix: &AdapterMatrix) -> TchResult<Tensor> {
    let [rows, columns] = matrix.shape.map(|dim| dim as i64);
    let sets = theta.size().first().copied().unwrap_or(0);
    let flat = theta.f_narrow(1, matrix.offset as i64, rows * columns)?; // (s, rows * columns)
    flat.f_view([sets, rows, columns])?.f_detach()?.f_set_requires_grad(true)
}
