//! The optimizer of a job whose adapters the host steps (host custody). Owns the moments and the gradients summed since the last
//! step; a step that is refused leaves both as they were.

use tch::Tensor;

use crate::engine::errors::invalid;
use crate::engine::interface::EngineError;
use crate::engine::interface::OptimReply;
use crate::engine::interface::Place;
use crate::model::optim;
use crate::model::optim::AdamState;
use crate::model::optim::AdamW;

/// Optimizer state in host custody.
pub struct HostOptimizer {
    /// Moments.
    pub adam: AdamState,
    /// Gradients summed since the last step, `[n, P]`.
    pub gradients: Tensor,
    /// Whether anything was summed since the last step.
    pub pending: bool,
    /// Steps taken.
    pub steps: u64,
}

impl HostOptimizer {
    /// No step taken.
    pub fn new(theta: &Tensor) -> Result<Self, EngineError> {
        Ok(Self { adam: AdamState::new(theta)?, gradients: theta.f_zeros_like()?, pending: false, steps: 0 })
    }

    /// Adds gradients `[S, P]` of the sets `sets`. Gives each set's norm of the sum.
    pub fn accumulate<'a>(
        &mut self,
        sets: &[usize],
        gradients: impl Iterator<Item = &'a Tensor>,
    ) -> Result<Vec<f64>, EngineError> {
        let mut rows = self.gradients.f_unbind(0)?;
        for gradient in gradients {
            for (index, set) in sets.iter().enumerate() {
                rows[*set] = rows[*set].f_add(&gradient.f_select(0, index as i64)?)?;
            }
        }
        let sum = Tensor::f_stack(&rows, 0)?;
        let norms = optim::norms(&sum)?;
        self.gradients = sum;
        self.pending = true;
        Ok(norms)
    }

    /// Starts a set again: its values were replaced, so its moments and gradients are of others.
    pub fn clear_set(&mut self, set: usize) -> Result<(), EngineError> {
        let cleared = |tensor: &Tensor| {
            let mut rows = tensor.f_unbind(0)?;
            rows[set] = rows[set].f_zeros_like()?;
            Tensor::f_stack(&rows, 0)
        };
        let first = cleared(&self.adam.first)?;
        let second = cleared(&self.adam.second)?;
        self.gradients = cleared(&self.gradients)?;
        let mut steps = self.adam.steps.clone();
        steps[set] = 0;
        self.adam = AdamState { first, second, steps };
        Ok(())
    }

    /// Steps AdamW on what was accumulated, and gives the new values `[n, P]`. Refuses values that are not finite.
    pub fn step(&mut self, theta: &Tensor, settings: &AdamW) -> Result<(Tensor, OptimReply), EngineError> {
        if !self.pending {
            return Err(invalid(Place::Field("optim_step"), "there are no gradients: send a backward first"));
        }
        let _frozen = tch::no_grad_guard();
        let clipped = optim::clip(&self.gradients, settings.max_grad_norm)?;
        let (theta, adam) = self.adam.step(theta, &clipped.gradients, settings)?;
        for tensor in [&theta, &adam.first, &adam.second] {
            if !optim::is_finite(tensor)? {
                return Err(invalid(
                    Place::Field("optim_step"),
                    "the new values are not finite; the old ones are kept",
                ));
            }
        }
        let steps = self.steps + 1;
        *self = Self { adam, gradients: theta.f_zeros_like()?, pending: false, steps };
        let reply = OptimReply { step: steps, gradient_norms: clipped.norms_before, clipped_norm: clipped.norm_after };
        Ok((theta, reply))
    }
}

/// Refuses settings with which no step can be taken.
pub fn check_adamw(settings: &AdamW) -> Result<(), EngineError> {
    let AdamW { lr, betas, eps, weight_decay, max_grad_norm } = *settings;
    let at_least_zero = |value: f64| value.is_finite() && value >= 0.0;
    let checks = [
        ("lr", at_least_zero(lr), "must be a number of at least 0"),
        ("betas", [betas.0, betas.1].iter().all(|beta| (0.0..1.0).contains(beta)), "must be from 0 to less than 1"),
        ("eps", at_least_zero(eps), "must be a number of at least 0"),
        ("weight_decay", at_least_zero(weight_decay), "must be a number of at least 0"),
        ("max_grad_norm", max_grad_norm.is_none_or(|norm| norm.is_finite() && norm > 0.0), "must be a positive number"),
    ];
    match checks.into_iter().find(|(_, good, _)| !good) {
        Some((field, _, reason)) => Err(invalid(Place::Field(field), reason)),
        None => Ok(()),
    }
}
