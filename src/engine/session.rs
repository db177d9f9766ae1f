//! One job on the device: adapter values, optimizer state, and the passes over the backbone. Values are replaced, never
//! changed in place: a call that is refused leaves the session as it was, and live graphs stay valid.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

use tch::Tensor;

use crate::domain::families;
use crate::domain::ids::ProjectId;
use crate::domain::limits::Limits;
use crate::domain::settings::Custody;
use crate::domain::settings::Pooling;
use crate::domain::settings::SplitSettings;
use crate::domain::tensor::Dtype;
use crate::domain::tensor::WireTensor;
use crate::engine::adapter_values::AdapterValues;
use crate::engine::backbones::LoadedBackbone;
use crate::engine::errors::invalid;
use crate::engine::fair_shares::NOBODY;
use crate::engine::host_optimizer::HostOptimizer;
use crate::engine::host_optimizer::check_adamw;
use crate::engine::inputs::PendingEvaluations;
use crate::engine::inputs::TokenBatch;
use crate::engine::interface::EngineError;
use crate::engine::interface::OptimReply;
use crate::engine::interface::Place;
use crate::engine::interface::SessionInfo;
use crate::engine::retained_graphs::Graph;
use crate::engine::retained_graphs::PassInputs;
use crate::model::lora_plan::LoraPlan;
use crate::model::optim::AdamW;
use crate::model::packing::Packed;
use crate::model::packing::Unpacked;

/// LibTorch has one random generator for the whole process. A pass with dropout seeds it and must then be its only user;
/// with one engine there is one device thread and no waiting, but tests run several engines.
static RANDOM: Mutex<()> = Mutex::new(());

/// An open job.
pub struct Session {
    /// Its settings.
    pub settings: SplitSettings,
    /// Which linear layers carry updates, and where they stand in theta.
    pub plan: LoraPlan,
    /// Its adapters.
    pub values: Rc<AdapterValues>,
    /// Only in host custody.
    pub host_optimizer: Option<HostOptimizer>,
    /// The frozen model.
    pub backbone: Rc<LoadedBackbone>,
    /// When it last ran a training forward, or was opened.
    pub trained_at: Instant,
    /// Who waits for an evaluation.
    pub pending: Arc<PendingEvaluations>,
    /// Whose share of the device its commands take.
    pub project: ProjectId,
}

/// What a session would be: settings that its backbone can run, before a value is made.
pub struct SessionPlan {
    backbone: Rc<LoadedBackbone>,
    settings: SplitSettings,
    plan: LoraPlan,
}

impl SessionPlan {
    /// Checks the settings against the backbone.
    pub fn new(backbone: Rc<LoadedBackbone>, settings: SplitSettings, limits: &Limits) -> Result<Self, EngineError> {
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
        Ok(Self { backbone, settings, plan })
    }

    /// What the session would turn out to be.
    pub fn info(&self) -> SessionInfo {
        let backbone = self.backbone.info();
        SessionInfo {
            hidden_size: backbone.hidden_size,
            levels: backbone.levels,
            adapter_parameters: self.plan.parameters,
            layout: self.plan.layout().cloned().collect(),
            target_modules: self.plan.targets.clone(),
            max_tokens: backbone.max_tokens,
            vocab_size: backbone.vocab_size,
            eos: backbone.eos,
            linear_parameters: self.backbone.linears().iter().map(|site| (site.inputs * site.outputs) as u64).sum(),
            optimizer_steps: 0,
        }
    }
}

impl Session {
    /// A session with PEFT's initial values.
    pub fn fresh(planned: SessionPlan, seed: u64) -> Result<Self, EngineError> {
        let SessionPlan { backbone, settings, plan } = planned;
        let theta = plan.initial(seed, settings.adapter_sets)?.f_to_device(backbone.device)?;
        let host_optimizer = match settings.custody {
            Custody::Client => None,
            Custody::Host => Some(HostOptimizer::new(&theta)?),
        };
        Ok(Self {
            settings,
            plan,
            values: Rc::new(AdapterValues::new(theta)),
            host_optimizer,
            backbone,
            trained_at: Instant::now(),
            pending: Arc::default(),
            project: NOBODY,
        })
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

    /// Runs a pass with a graph, and with dropout.
    pub fn train(&self, inputs: &PassInputs) -> Result<Graph, EngineError> {
        let batch = self.pack(&inputs.batch)?;
        let lora = self.plan.pass(inputs.values.theta(), &inputs.sets, true)?;
        let _alone = self.plan.has_dropout().then(|| {
            let guard = RANDOM.lock().unwrap_or_else(PoisonError::into_inner);
            tch::manual_seed(inputs.random.cast_signed());
            guard
        });
        let output = self.backbone.forward(&batch, Some(&lora), self.settings.cut())?;
        Ok(Graph { output, lora, tokens: inputs.tokens(), _backbone: Rc::clone(&self.backbone) })
    }

    /// Runs a pass without a graph and without dropout: `[B, S, H]` or `[N, S, H]`.
    pub fn evaluate(&self, inputs: &PassInputs) -> Result<Tensor, EngineError> {
        let _frozen = tch::no_grad_guard();
        let lora = self.plan.pass(inputs.values.theta(), &inputs.sets, false)?;
        Ok(self.backbone.forward(&self.pack(&inputs.batch)?, Some(&lora), self.settings.cut())?)
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
        Ok(Packed::new(inputs, self.backbone.device)?)
    }

    /// Refuses inputs that lack the token at which the backbone is cut.
    pub fn check_cut(&self, batch: &TokenBatch) -> Result<(), EngineError> {
        let Some(eos) = self.backbone.info().eos.filter(|_| self.settings.cut() == Pooling::Eos) else { return Ok(()) };
        match batch.ids.iter().position(|ids| !ids.contains(&eos)) {
            Some(input) => Err(invalid(Place::Input(input), format!("has no end-of-sequence token (id {eos})"))),
            None => Ok(()),
        }
    }

    /// The session's values with some sets replaced; the session itself is not changed.
    pub fn values_with(&self, sets: &[(usize, WireTensor)]) -> Result<Rc<AdapterValues>, EngineError> {
        if sets.is_empty() {
            return Ok(Rc::clone(&self.values)); // the same values, under the same id: such passes can be one
        }
        Ok(Rc::new(self.values.with_sets(sets)?))
    }

    /// Takes values for all sets in place of PEFT's initial ones.
    pub fn start_from(&mut self, values: Vec<WireTensor>) -> Result<(), EngineError> {
        let sets = self.settings.adapter_sets;
        if values.len() != sets {
            return Err(invalid(
                Place::Field("adapters"),
                format!("there are {} of them for {sets} adapter sets", values.len()),
            ));
        }
        self.values = self.values_with(&values.into_iter().enumerate().collect::<Vec<_>>())?;
        Ok(())
    }

    /// Starts without the job's values: they were lost, and its client has them.
    pub fn start_without_values(&mut self) {
        self.values = Rc::new(self.values.lose_all());
    }

    /// Replaces a set. In host custody its moments, its step count and its gradients start again.
    pub fn set_adapter(&mut self, set: usize, values: WireTensor) -> Result<(), EngineError> {
        let values = self.values_with(&[(set, values)])?;
        if let Some(optimizer) = &mut self.host_optimizer {
            optimizer.clear_set(set)?;
        }
        self.values = values;
        Ok(())
    }

    /// Steps AdamW on what was accumulated. Keeps the old values where the new ones are not finite.
    pub fn optim_step(&mut self, settings: &AdamW) -> Result<OptimReply, EngineError> {
        check_adamw(settings)?;
        let optimizer = self
            .host_optimizer
            .as_mut()
            .ok_or_else(|| invalid(Place::Field("custody"), "the client steps the optimizer of this job"))?;
        let (theta, reply) = optimizer.step(self.values.theta(), settings)?;
        self.values = Rc::new(AdapterValues::new(theta));
        Ok(reply)
    }
}
