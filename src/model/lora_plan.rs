//! LoRA (arXiv 2106.09685) with PEFT's semantics: `y = x W^T + b + scale * dropout(x) A^T B^T`, n adapter sets over one batch
//! with one frozen product for all of them, or one set for each row of a batch that several jobs share. Owns which sites carry an
//! update, the layout of the flat vector theta, and PEFT's names and initialisation; must never know a backbone.

use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::RngCore;
use rand_chacha::rand_core::SeedableRng;
use sha2::Digest;
use sha2::Sha256;
use tch::Tensor;

use crate::domain::settings::LoraSettings;
use crate::model::error::ModelError;
use crate::model::error::TchResult;
use crate::model::lora_pass::LoraPass;
use crate::model::lora_pass::Spread;
use crate::model::lora_pass::Update;
use crate::model::lora_pass::leaf;
use crate::model::packing::Rows;
use crate::model::sites::AdapterMatrix;
use crate::model::sites::LinearSite;

/// PEFT's word for every linear layer.
const ALL: &str = "all-linear";

#[derive(Debug)]
struct Planned {
    site: usize,
    scale: f64,
    down: AdapterMatrix,
    up: AdapterMatrix,
}

/// Which sites carry an update, of which rank and scale, and where its matrices stand in theta.
#[derive(Debug)]
pub struct LoraPlan {
    updates: Vec<Planned>,
    sites: usize,
    dropout: f64,
    /// Length P of the flat vector.
    pub parameters: usize,
    /// As PEFT's `target_modules`, `all-linear` spelled out.
    pub targets: Vec<String>,
    /// Equal for plans whose flat vectors mean the same.
    pub fingerprint: u64,
}

impl LoraPlan {
    /// Plans the updates on `sites`, where no target is named on `default_targets`; refuses a target or a pattern that matches no linear layer.
    pub fn new(
        sites: &[LinearSite],
        default_targets: &[&str],
        other_modules: &[&str],
        settings: &LoraSettings,
    ) -> Result<Self, ModelError> {
        let targets = if settings.target_modules.is_empty() {
            default_targets.iter().map(|&name| name.to_owned()).collect()
        } else {
            settings.target_modules.clone()
        };
        for target in &targets {
            if !sites.iter().any(|site| matches(&site.name, target)) {
                return Err(ModelError::setting("lora.target_modules", unmatched(target, sites, other_modules)));
            }
        }
        let chosen: Vec<usize> =
            (0..sites.len()).filter(|&i| targets.iter().any(|target| matches(&sites[i].name, target))).collect();
        check_patterns("rank_pattern", settings.rank_pattern.keys(), &chosen, sites)?;
        check_patterns("alpha_pattern", settings.alpha_pattern.keys(), &chosen, sites)?;
        let targets = if targets.iter().any(|target| target == ALL) {
            short_names(sites).into_iter().map(str::to_owned).collect()
        } else {
            targets
        };
        let mut plan = Self {
            updates: Vec::new(),
            sites: sites.len(),
            dropout: settings.dropout,
            parameters: 0,
            targets,
            fingerprint: 0,
        };
        for site in chosen {
            plan.add(site, &sites[site], settings);
        }
        let mut hasher = DefaultHasher::new();
        for update in &plan.updates {
            (update.site, update.scale.to_bits(), update.down.shape, update.up.shape).hash(&mut hasher);
        }
        plan.fingerprint = hasher.finish();
        Ok(plan)
    }

    fn add(&mut self, index: usize, site: &LinearSite, settings: &LoraSettings) {
        let rank = pattern(&settings.rank_pattern, &site.name).unwrap_or(settings.rank);
        let alpha = pattern(&settings.alpha_pattern, &site.name).unwrap_or(settings.alpha);
        let divisor = if settings.use_rslora { (rank as f64).sqrt() } else { rank as f64 };
        let down = self.add_matrix(&site.name, "lora_A", [rank, site.inputs]);
        let up = self.add_matrix(&site.name, "lora_B", [site.outputs, rank]);
        self.updates.push(Planned { site: index, scale: alpha / divisor, down, up });
    }

    fn add_matrix(&mut self, module: &str, matrix: &str, shape: [usize; 2]) -> AdapterMatrix {
        let offset = self.parameters;
        self.parameters += shape[0] * shape[1];
        AdapterMatrix { name: format!("base_model.model.{module}.{matrix}.weight"), shape, offset }
    }

    /// The matrices in the order of the flat vector: modules in order, `lora_A` before `lora_B`.
    pub fn layout(&self) -> impl Iterator<Item = &AdapterMatrix> {
        self.updates.iter().flat_map(|update| [&update.down, &update.up])
    }

    /// PEFT's initialisation of `sets` sets, `[n, P]`: A uniform in ±1/sqrt(in) (Kaiming with a = sqrt 5), B zero. The values
    /// depend on seed, set and name only: they are the same on every machine and thread count.
    pub fn initial(&self, seed: u64, sets: usize) -> TchResult<Tensor> {
        let mut values = vec![0.0_f32; sets * self.parameters];
        for (set, values) in values.chunks_exact_mut(self.parameters).enumerate() {
            for AdapterMatrix { name, shape: [rank, inputs], offset } in self.updates.iter().map(|update| &update.down)
            {
                fill(&mut values[*offset..offset + rank * inputs], *inputs, &format!("{seed}/{set}/{name}"));
            }
        }
        Tensor::f_from_slice(&values)?.f_view([sets as i64, self.parameters as i64])
    }

    /// Floats that a graph keeps for one token of one set because of the updates.
    pub fn graph_floats_per_token(&self) -> usize {
        let dropped = |update: &Planned| if self.dropout > 0.0 { 2 * update.down.shape[1] } else { 0 };
        self.updates.iter().map(|update| 2 * update.down.shape[0] + dropped(update)).sum()
    }

    /// Gets the sets `sets` of theta `[n, P]` ready for a pass. The leaves are views of theta (or of a copy of its rows), so
    /// theta must never be changed in place: whoever steps the optimizer makes a new tensor.
    pub fn pass(&self, theta: &Tensor, sets: &[usize], train: bool) -> TchResult<LoraPass> {
        let all = theta.size().first().is_some_and(|&n| sets.iter().copied().eq(0..n as usize));
        let rows: Vec<i64> = sets.iter().map(|&set| set as i64).collect();
        let rows = Tensor::f_from_slice(&rows)?.f_to_device(theta.device())?;
        let theta = if all { theta.shallow_clone() } else { theta.f_index_select(0, &rows)? };
        self.ready(&theta, if train { self.dropout } else { 0.0 }, Spread::EverySet)
    }

    /// Gets a pass ready in which each row belongs to one of O owners, whose values are theta's rows `[O, P]`. `rows` says whose
    /// the tokens are, and whose the inputs past the pool. Without dropout.
    pub fn stacked(&self, theta: &Tensor, rows: [Rows; 2]) -> TchResult<LoraPass> {
        self.ready(theta, 0.0, Spread::Owned(rows))
    }

    /// Whether updates drop inputs while training.
    pub fn has_dropout(&self) -> bool {
        self.dropout > 0.0
    }

    fn ready(&self, theta: &Tensor, dropout: f64, spread: Spread) -> TchResult<LoraPass> {
        let sets = theta.size().first().copied().unwrap_or(0);
        let mut pass =
            LoraPass { by_site: (0..self.sites).map(|_| None).collect(), leaves: Vec::new(), sets, dropout, spread };
        for update in &self.updates {
            let [down, up] = [leaf(theta, &update.down)?, leaf(theta, &update.up)?];
            pass.leaves.extend([down.shallow_clone(), up.shallow_clone()]);
            pass.by_site[update.site] = Some(Update { down, up, scale: update.scale });
        }
        Ok(pass)
    }
}

fn fill(values: &mut [f32], inputs: usize, name: &str) {
    let mut random = ChaCha20Rng::from_seed(Sha256::digest(name.as_bytes()).into());
    let bound = 1.0 / (inputs as f64).sqrt();
    for value in values {
        let unit = f64::from(random.next_u32() >> 8) / f64::from(1 << 24); // [0, 1) in steps of 2^-24
        *value = ((2.0 * unit - 1.0) * bound) as f32;
    }
}

/// PEFT's rule for names in lists and patterns: the whole name, or its last parts.
fn matches(name: &str, target: &str) -> bool {
    target == ALL || name == target || name.strip_suffix(target).is_some_and(|rest| rest.ends_with('.'))
}

/// The value of the longest key that matches.
fn pattern<T: Copy>(patterns: &std::collections::BTreeMap<String, T>, name: &str) -> Option<T> {
    let fitting = patterns.iter().filter(|(key, _)| matches(name, key));
    fitting.max_by_key(|(key, _)| key.len()).map(|(_, value)| *value)
}

fn check_patterns<'a>(
    param: &str,
    keys: impl Iterator<Item = &'a String>,
    chosen: &[usize],
    sites: &[LinearSite],
) -> Result<(), ModelError> {
    for key in keys {
        if !chosen.iter().any(|&site| matches(&sites[site].name, key)) {
            return Err(ModelError::setting(
                &format!("lora.{param}.{key}"),
                "matches no module that carries an update",
            ));
        }
    }
    Ok(())
}

/// The last parts of the sites' names, from behind the layer's number, each once.
pub fn short_names(sites: &[LinearSite]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for site in sites {
        let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let mut start = 0;
        for (at, _) in site.name.match_indices('.') {
            let before = site.name[..at].rsplit('.').next().unwrap_or_default();
            start = if number(before) { at + 1 } else { start };
        }
        if !names.contains(&&site.name[start..]) {
            names.push(&site.name[start..]);
        }
    }
    names
}

fn unmatched(target: &str, sites: &[LinearSite], other_modules: &[&str]) -> String {
    let names = short_names(sites);
    let other = other_modules.iter().any(|module| matches(target, module));
    let what = if other { "names a module that is not a linear layer" } else { "matches no module" };
    format!("'{target}' {what}; the linear layers are {}", names.join(", "))
}
