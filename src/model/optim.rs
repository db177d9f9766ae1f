//! AdamW on one flat buffer `[n, P]`, with PyTorch's arithmetic (torch.optim.AdamW, single tensor, not fused). Functional:
//! a step returns new values and leaves the old ones as they were, so that a refused step needs no undoing.

use tch::Device;
use tch::Kind;
use tch::Tensor;

use crate::model::error::TchResult;

/// Settings of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the two moments.
    pub betas: (f64, f64),
    /// Added to the denominator.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// What [`clip`] cuts the norm over all sets down to; `None` does not clip.
    pub max_grad_norm: Option<f64>,
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

    /// The values and the state after one step on gradients that are clipped already ([`clip`]).
    pub fn step(&self, theta: &Tensor, gradients: &Tensor, settings: &AdamW) -> TchResult<(Tensor, Self)> {
        let (beta1, beta2) = settings.betas;
        let first = self.first.f_lerp(gradients, 1.0 - beta1)?;
        let second = self.second.f_mul_scalar(beta2)?;
        let second = second.f_add(&gradients.f_mul(gradients)?.f_mul_scalar(1.0 - beta2)?)?;
        let steps: Vec<u64> = self.steps.iter().map(|step| step + 1).collect();
        let size = column(&steps, theta.device(), |t| -settings.lr / (1.0 - beta1.powf(t)))?;
        let root = column(&steps, theta.device(), |t| (1.0 - beta2.powf(t)).sqrt())?;
        let denominator = second.f_sqrt()?.f_div(&root)?.f_add_scalar(settings.eps)?;
        let decayed = theta.f_mul_scalar(1.0 - settings.lr * settings.weight_decay)?;
        let theta = decayed.f_add(&first.f_mul(&size)?.f_div(&denominator)?)?;
        Ok((theta, Self { first, second, steps }))
    }
}

/// One float for each set, `[n, 1]`.
fn column(steps: &[u64], device: Device, value: impl Fn(f64) -> f64) -> TchResult<Tensor> {
    let values: Vec<f32> = steps.iter().map(|&step| value(step as f64) as f32).collect();
    Tensor::f_from_slice(&values)?.f_unsqueeze(1)?.f_to_device(device)
}

/// Euclidean norm of each row of `[n, P]`.
pub fn norms(rows: &Tensor) -> TchResult<Vec<f64>> {
    let squares = rows.f_to_kind(Kind::Double)?.f_square()?.f_sum_dim_intlist(1, false, Kind::Double)?;
    Vec::<f64>::try_from(squares.f_sqrt()?.f_to_device(Device::Cpu)?)
}

/// Gradients of all sets after clipping.
#[derive(Debug)]
pub struct Clipped {
    /// `[n, P]`.
    pub gradients: Tensor,
    /// Norm of each set before.
    pub norms_before: Vec<f64>,
    /// Norm over all sets after.
    pub norm_after: f64,
}

/// Scales `gradients` so that the norm over all sets is at most `limit`, as `torch.nn.utils.clip_grad_norm_` does with the
/// parameters of all sets.
pub fn clip(gradients: &Tensor, limit: Option<f64>) -> TchResult<Clipped> {
    let norms_before = norms(gradients)?;
    let total = norms_before.iter().map(|norm| norm * norm).sum::<f64>().sqrt();
    let factor = limit.map_or(1.0, |limit| (limit / (total + 1e-6)).min(1.0));
    // Not copied where nothing is clipped: a step only reads them.
    let gradients = if factor < 1.0 { gradients.f_mul_scalar(factor)? } else { gradients.shallow_clone() };
    Ok(Clipped { gradients, norms_before, norm_after: total * factor })
}

/// Whether every element is a finite number.
pub fn is_finite(tensor: &Tensor) -> TchResult<bool> {
    Ok(tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: [[f32; 3]; 2]) -> Tensor {
        Tensor::from_slice2(&values)
    }

    /// Two parameters as two sets, torch 2.11: AdamW(lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1), gradients
    /// clipped to 1.5.
    #[test]
    fn three_steps_are_torchs() -> TchResult<()> {
        let settings = AdamW { lr: 1e-2, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.1, max_grad_norm: Some(1.5) };
        let mut theta = rows([[0.5, -1.25, 3.0], [0.1, 0.0, -2.0]]);
        let mut state = AdamState::new(&theta)?;
        let steps = [
            (
                [[0.3, -0.02, 1e-4], [2.0, -4.0, 0.7]],
                4.536_562_4,
                [[0.4895, -1.23875, 2.987_003], [0.0899, 0.01, -2.008]],
            ),
            (
                [[-0.1, 0.02, 5e-3], [1.0, 3.0, -0.7]],
                3.240_436,
                [[0.486_087_2, -1.239_674_2, 2.976_48], [0.080_052_91, 0.009_220_073, -2.003_829_2]],
            ),
            (
                [[0.25, 0.5, -0.75], [0.0, 1e-6, -0.2]],
                0.956_556_4,
                [[0.478_842_83, -1.244_859_1, 2.979_873_7], [0.072_430_52, 0.008_615_694, -1.997_462_8]],
            ),
        ];
        for (gradients, norm, expected) in steps {
            let clipped = clip(&rows(gradients), settings.max_grad_norm)?;
            let total = clipped.norms_before.iter().map(|norm| norm * norm).sum::<f64>().sqrt();
            assert!((total - norm).abs() < 1e-5, "{total}");
            assert!((clipped.norm_after - norm.min(1.5)).abs() < 1e-5, "{}", clipped.norm_after);
            (theta, state) = state.step(&theta, &clipped.gradients, &settings)?;
            let error = theta.f_sub(&rows(expected))?.f_abs()?.f_max()?.f_double_value(&[])?;
            assert!(error < 1e-6, "{error}");
        }
        assert_eq!(state.steps, [3, 3]);
        Ok(())
    }

    #[test]
    fn infinities_and_nans_are_seen() -> TchResult<()> {
        assert!(is_finite(&rows([[0.0, f32::MAX, -1.0]; 2]))?);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(!is_finite(&rows([[0.0, bad, 0.0]; 2]))?);
        }
        Ok(())
    }
}
