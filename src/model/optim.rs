//! AdamW on one flat buffer `[n, P]`, with PyTorch's arithmetic (torch.optim.AdamW, single tensor, not fused). Functional:
//! a step returns new values and leaves the old ones as they were, so that a refused step needs no undoing.

use tch::Kind;
use tch::Tensor;

use crate::model::TchResult;

/// Settings of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamSettings {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the two moments.
    pub betas: (f64, f64),
    /// Added to the denominator.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

/// Moments `[n, P]` and steps taken by each set.
#[derive(Debug)]
pub struct AdamState {
    /// Mean of the gradients.
    pub first: Tensor,
    /// Mean of their squares.
    pub second: Tensor,
    /// Steps by set; sets differ after one of them was replaced.
    pub steps: Vec<u64>,
}

impl AdamState {
    /// No step taken.
    pub fn new(theta: &Tensor) -> TchResult<Self> {
        let sets = theta.size().first().copied().unwrap_or(0);
        Ok(Self { first: theta.f_zeros_like()?, second: theta.f_zeros_like()?, steps: vec![0; sets as usize] })
    }

    /// The values and the state after one step.
    pub fn step(&self, theta: &Tensor, gradients: &Tensor, settings: &AdamSettings) -> TchResult<(Tensor, Self)> {
        let (beta1, beta2) = settings.betas;
        let first = self.first.f_lerp(gradients, 1.0 - beta1)?;
        let second = self.second.f_mul_scalar(beta2)?;
        let second = second.f_add(&gradients.f_mul(gradients)?.f_mul_scalar(1.0 - beta2)?)?;
        let steps: Vec<u64> = self.steps.iter().map(|step| step + 1).collect();
        let size = column(&steps, |t| -settings.lr / (1.0 - beta1.powf(t)))?;
        let root = column(&steps, |t| (1.0 - beta2.powf(t)).sqrt())?;
        let denominator = second.f_sqrt()?.f_div(&root)?.f_add_scalar(settings.eps)?;
        let decayed = theta.f_mul_scalar(1.0 - settings.lr * settings.weight_decay)?;
        let theta = decayed.f_add(&first.f_mul(&size)?.f_div(&denominator)?)?;
        Ok((theta, Self { first, second, steps }))
    }
}

/// One float for each set, `[n, 1]`.
fn column(steps: &[u64], value: impl Fn(f64) -> f64) -> TchResult<Tensor> {
    let values: Vec<f32> = steps.iter().map(|&step| value(step as f64) as f32).collect();
    Tensor::f_from_slice(&values)?.f_unsqueeze(1)
}

/// Euclidean norm of each row of `[n, P]`.
pub fn norms(rows: &Tensor) -> TchResult<Vec<f64>> {
    let squares = rows.f_to_kind(Kind::Double)?.f_square()?.f_sum_dim_intlist(1, false, Kind::Double)?;
    Vec::<f64>::try_from(squares.f_sqrt()?)
}

/// Scales `gradients` so that the norm over all sets is at most `limit`, as `torch.nn.utils.clip_grad_norm_` does with the
/// parameters of all sets. Returns the gradients, the norms by set before and the norm over all sets after.
pub fn clip(gradients: &Tensor, limit: Option<f64>) -> TchResult<(Tensor, Vec<f64>, f64)> {
    let before = norms(gradients)?;
    let total = before.iter().map(|norm| norm * norm).sum::<f64>().sqrt();
    let factor = limit.map_or(1.0, |limit| (limit / (total + 1e-6)).min(1.0));
    let clipped = if factor < 1.0 { gradients.f_mul_scalar(factor)? } else { gradients.shallow_clone() };
    Ok((clipped, before, total * factor))
}

/// Whether every element is a finite number.
pub fn is_finite(tensor: &Tensor) -> TchResult<bool> {
    Ok(tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? != 0)
}
