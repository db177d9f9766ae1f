//! One job on the device: adapter values, optimizer state, and the passes over the backbone. Values are replaced, never
//! changed in place: a call that is refused leaves the session as it was, and live graphs stay valid.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

use tch::Device;
use tch::Tensor;

use crate::domain::families;
use crate::domain::limits::Limits;
use crate::domain::settings::Custody;
use crate::domain::settings::Pooling;
use crate::domain::settings::SplitSettings;
use crate::domain::tensor::Dtype;
use crate::domain::tensor::WireTensor;
use crate::engine::codec::to_tensor;
use crate::engine::codec::to_wire;
use crate::engine::errors::invalid;
use crate::engine::inputs::Callers;
use crate::engine::inputs::TokenBatch;
use crate::engine::interface::AdamW;
use crate::engine::interface::EngineError;
use crate::engine::interface::OptimReply;
use crate::engine::interface::Place;
use crate::engine::interface::SessionInfo;
use crate::engine::interface::Slot;
use crate::engine::retained_graphs::Graph;
use crate::engine::retained_graphs::Pinned;
use crate::model::Backbone;
use crate::model::lora_plan::LoraPlan;
use crate::model::optim;
use crate::model::optim::AdamSettings;
use crate::model::optim::AdamState;
use crate::model::packing::Packed;
use crate::model::packing::Unpacked;

/// LibTorch has one random generator for the whole process. A pass with dropout seeds it and must then be its only user;
/// with one engine there is one device thread and no waiting, but tests run several engines.
static RANDOM: Mutex<()> = Mutex::new(());

/// Optimizer state in host custody.
pub struct HostState {
    /// Moments.
    pub adam: AdamState,
    /// Gradients summed since the last step, `[n, P]`.
    pub gradients: Tensor,
    /// Whether anything was summed since the last step.
    pub pending: bool,
    /// Steps taken.
    pub steps: u64,
}

impl HostState {
    /// No step taken.
    pub fn new(theta: &Tensor) -> Result<Self, EngineError> {
        Ok(Self { adam: AdamState::new(theta)?, gradients: theta.f_zeros_like()?, pending: false, steps: 0 })
    }
}

/// An open job.
pub struct Session {
    /// Its settings.
    pub settings: SplitSettings,
    /// Which linear layers carry updates, and where they stand in theta.
    pub plan: LoraPlan,
    /// Adapter values `[n, P]`.
    pub theta: Rc<Tensor>,
    /// Optimizer state; only in host custody.
    pub host: Option<HostState>,
    /// The frozen model.
    pub backbone: Rc<dyn Backbone>,
    /// When it last ran a training forward.
    pub used: Instant,
    /// Who waits for an evaluation.
    pub callers: Arc<Callers>,
}

impl Session {
    /// A session with PEFT's initial values.
    pub fn fresh(
        (backbone, device): (Rc<dyn Backbone>, Device),
        settings: SplitSettings,
        seed: u64,
        limits: &Limits,
    ) -> Result<Self, EngineError> {
        settings.check(limits)?;
        let settings = families::settle(&backbone.info().family, settings)?;
        let plan =
            LoraPlan::new(backbone.linears(), backbone.default_targets(), backbone.other_modules(), &settings.lora)?;
        let bytes = plan.parameters * Dtype::F32.size();
        if bytes > limits.tensor_body_bytes {
            let limit = limits.tensor_body_bytes;
            let reason = format!("an adapter set of {bytes} bytes does not fit a body (tensor_body_bytes is {limit})");
            return Err(invalid(Place::Setting("lora.rank".to_owned()), reason));
        }
        let theta = plan.initial(seed, settings.adapter_sets)?.f_to_device(device)?;
        let host = match settings.custody {
            Custody::Client => None,
            Custody::Host => Some(HostState::new(&theta)?),
        };
        Ok(Self {
            settings,
            plan,
            theta: Rc::new(theta),
            host,
            backbone,
            used: Instant::now(),
            callers: Arc::default(),
        })
    }

    /// What the session turned out to be.
    pub fn info(&self) -> SessionInfo {
        let slot = |matrix: &crate::model::lora_pass::Matrix| Slot {
            name: matrix.name.clone(),
            shape: matrix.shape,
            offset: matrix.offset,
        };
        SessionInfo {
            hidden_size: self.backbone.info().hidden_size,
            adapter_parameters: self.plan.parameters,
            layout: self.plan.layout().map(slot).collect(),
            target_modules: self.plan.targets.clone(),
            max_tokens: self.backbone.info().max_tokens,
            vocab_size: self.backbone.info().vocab_size,
            eos: self.backbone.info().eos,
            linear_parameters: self.backbone.linears().iter().map(|site| (site.inputs * site.outputs) as u64).sum(),
            optimizer_steps: self.host.as_ref().map_or(0, |host| host.steps),
        }
    }

    /// Bytes of the graph of a training pass over `tokens` tokens of `sets` sets, by estimate.
    pub fn graph_bytes(&self, tokens: usize, sets: usize) -> usize {
        let floats = self.backbone.graph_floats_per_token() + self.plan.graph_floats_per_token();
        [sets, floats, Dtype::F32.size()].into_iter().fold(tokens, usize::saturating_mul)
    }

    /// Bytes at the peak of a pass without a graph, by estimate: two layers' worth of what a graph would keep.
    pub fn pass_bytes(&self, tokens: usize, sets: usize) -> usize {
        self.graph_bytes(tokens, sets) / self.backbone.info().layers.max(1) * 2
    }

    /// Runs the pinned sets with a graph, and with dropout.
    pub fn train(&self, pinned: &Pinned) -> Result<Graph, EngineError> {
        let batch = self.pack(&pinned.batch)?;
        let lora = self.plan.pass(&pinned.theta, &pinned.sets, true)?;
        let _alone = self.plan.has_dropout().then(|| {
            let guard = RANDOM.lock().unwrap_or_else(PoisonError::into_inner);
            tch::manual_seed(pinned.random.cast_signed());
            guard
        });
        let output = self.backbone.forward(&batch, Some(&lora), self.settings.cut())?;
        let tokens = pinned.batch.tokens() * pinned.sets.len();
        Ok(Graph { output, lora, tokens, _backbone: Rc::clone(&self.backbone) })
    }

    /// Runs the pinned sets without a graph and without dropout: `[B, S, H]` or `[N, S, H]`.
    pub fn evaluate(&self, pinned: &Pinned) -> Result<Tensor, EngineError> {
        let _frozen = tch::no_grad_guard();
        let lora = self.plan.pass(&pinned.theta, &pinned.sets, false)?;
        Ok(self.backbone.forward(&self.pack(&pinned.batch)?, Some(&lora), self.settings.cut())?)
    }

    /// Runs the bare backbone: `[B, 1, H]` or `[N, 1, H]`.
    pub fn base(&self, batch: &TokenBatch) -> Result<Tensor, EngineError> {
        let _frozen = tch::no_grad_guard();
        Ok(self.backbone.forward(&self.pack(batch)?, None, self.settings.cut())?)
    }

    /// Packs a batch for the backbone's device.
    pub fn pack(&self, batch: &TokenBatch) -> Result<Packed, EngineError> {
        let eos = self.backbone.info().eos;
        let inputs = Unpacked { ids: &batch.ids, types: batch.types.as_deref(), eos };
        Ok(Packed::new(inputs, self.theta.device())?)
    }

    /// Refuses inputs that lack the token at which the backbone is cut.
    pub fn check_cut(&self, batch: &TokenBatch) -> Result<(), EngineError> {
        let Some(eos) = self.backbone.info().eos.filter(|_| self.settings.cut() == Pooling::Eos) else { return Ok(()) };
        match batch.ids.iter().position(|ids| !ids.contains(&eos)) {
            Some(input) => Err(invalid(Place::Input(input), format!("has no end-of-sequence token (id {eos})"))),
            None => Ok(()),
        }
    }

    /// Theta with some sets replaced, in a new tensor; the session itself is not changed.
    pub fn with_values(&self, values: &[(usize, WireTensor)]) -> Result<Rc<Tensor>, EngineError> {
        if values.is_empty() {
            return Ok(Rc::clone(&self.theta));
        }
        let sets = self.settings.adapter_sets;
        let mut rows = self.theta.f_unbind(0)?;
        for (at, (set, wire)) in values.iter().enumerate() {
            let name = format!("theta.{set}");
            if *set >= sets {
                return Err(invalid(Place::Tensor(name), format!("the job has adapter sets 0 to {}", sets - 1)));
            }
            if values[..at].iter().any(|(other, _)| other == set) {
                return Err(invalid(Place::Tensor(name), "is there twice"));
            }
            if wire.shape() != [self.plan.parameters] || wire.dtype() != Dtype::F32 {
                let (dtype, shape) = (wire.dtype().name(), wire.shape());
                return Err(invalid(
                    Place::Tensor(name),
                    format!("is {dtype} {shape:?}, must be F32 [{}]", self.plan.parameters),
                ));
            }
            rows[*set] = to_tensor(&wire.clone().renamed(name))?.f_to_device(self.theta.device())?;
        }
        Ok(Rc::new(Tensor::f_stack(&rows, 0)?))
    }

    /// Takes values for all sets in place of PEFT's initial ones.
    pub fn begin_with(&mut self, values: Vec<WireTensor>) -> Result<(), EngineError> {
        let sets = self.settings.adapter_sets;
        if values.len() != sets {
            return Err(invalid(
                Place::Field("adapters"),
                format!("there are {} of them for {sets} adapter sets", values.len()),
            ));
        }
        self.theta = self.with_values(&values.into_iter().enumerate().collect::<Vec<_>>())?;
        Ok(())
    }

    /// Replaces a set. In host custody its moments, its step count and its gradients start again.
    pub fn set_adapter(&mut self, set: usize, values: WireTensor) -> Result<(), EngineError> {
        let theta = self.with_values(&[(set, values)])?;
        if let Some(host) = &mut self.host {
            let cleared = |tensor: &Tensor| {
                let mut rows = tensor.f_unbind(0)?;
                rows[set] = rows[set].f_zeros_like()?;
                Tensor::f_stack(&rows, 0)
            };
            let (first, second) = (cleared(&host.adam.first)?, cleared(&host.adam.second)?);
            host.gradients = cleared(&host.gradients)?;
            let mut steps = host.adam.steps.clone();
            steps[set] = 0;
            host.adam = AdamState { first, second, steps };
        }
        self.theta = theta;
        Ok(())
    }

    /// The values of a set, `theta.{set}` `[P]`.
    pub fn adapter(&self, set: usize) -> Result<WireTensor, EngineError> {
        if set >= self.settings.adapter_sets {
            return Err(invalid(
                Place::Field("set"),
                format!("the job has adapter sets 0 to {}", self.settings.adapter_sets - 1),
            ));
        }
        Ok(to_wire(format!("theta.{set}"), &self.theta.f_select(0, set as i64)?)?)
    }

    /// Steps AdamW on what was accumulated. Keeps the old values where the new ones are not finite.
    pub fn optim_step(&mut self, settings: &AdamW) -> Result<OptimReply, EngineError> {
        check_adamw(settings)?;
        let theta = Rc::clone(&self.theta);
        let host = self
            .host
            .as_mut()
            .ok_or_else(|| invalid(Place::Field("custody"), "the client steps the optimizer of this job"))?;
        if !host.pending {
            return Err(invalid(Place::Field("optim_step"), "there are no gradients: send a backward first"));
        }
        let _frozen = tch::no_grad_guard();
        let (gradients, gradient_norms, clipped_norm) = optim::clip(&host.gradients, settings.max_grad_norm)?;
        let AdamW { lr, betas, eps, weight_decay, .. } = *settings;
        let (theta, adam) = host.adam.step(&theta, &gradients, &AdamSettings { lr, betas, eps, weight_decay })?;
        for tensor in [&theta, &adam.first, &adam.second] {
            if !optim::is_finite(tensor)? {
                return Err(invalid(
                    Place::Field("optim_step"),
                    "the new values are not finite; the old ones are kept",
                ));
            }
        }
        let steps = host.steps + 1;
        *host = HostState { adam, gradients: theta.f_zeros_like()?, pending: false, steps };
        self.theta = Rc::new(theta);
        Ok(OptimReply { step: steps, gradient_norms, clipped_norm })
    }
}

fn check_adamw(settings: &AdamW) -> Result<(), EngineError> {
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
