//! Tiny random models with what transformers, PEFT and torch.optim.AdamW made of them (scripts/fixtures/make_golden.py), and
//! short words for driving an engine.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use blindtune::domain::ids::ForwardId;
use blindtune::domain::ids::JobId;
use blindtune::domain::limits::Limits;
use blindtune::domain::settings::Custody;
use blindtune::domain::settings::SplitSettings;
use blindtune::domain::tensor::WireTensor;
use blindtune::engine::AdamW;
use blindtune::engine::BackwardReply;
use blindtune::engine::Engine;
use blindtune::engine::EngineConfig;
use blindtune::engine::EngineError;
use blindtune::engine::ForwardCall;
use blindtune::engine::ForwardReply;
use blindtune::engine::Inputs;
use blindtune::engine::LocalEngine;
use blindtune::engine::NOBODY;
use blindtune::engine::SessionInfo;
use blindtune::engine::SessionSpec;
use blindtune::engine::Share;
use blindtune::engine::Start;
use blindtune::engine::codec::parse_safetensors;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

/// One golden case.
pub struct Case {
    pub name: String,
    pub folder: PathBuf,
    pub json: Value,
    pub tensors: HashMap<String, WireTensor>,
}

/// The cases in a folder of tests/golden, by name; `least` of them.
fn cases_in(folder: &str, least: usize) -> Vec<Case> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder));
    let mut names: Vec<String> = entries
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("utf-8"))
        .collect();
    names.sort();
    assert!(names.len() >= least, "golden cases are missing");
    names.iter().map(|name| Case::read_in(folder, name)).collect()
}

/// All cases for float32.
pub fn cases() -> Vec<Case> {
    cases_in("data", 19)
}

/// Cases with weights as well conditioned as trained ones, and representable in bfloat16; the expected values are float32's.
pub fn mild_cases() -> Vec<Case> {
    cases_in("bf16", 11)
}

impl Case {
    pub fn read(name: &str) -> Self {
        Self::read_in("data", name)
    }

    pub fn read_in(folder: &str, name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder).join(name);
        let json = serde_json::from_slice(&fs::read(folder.join("case.json")).expect("case.json")).expect("JSON");
        let file = fs::read(folder.join("expected.safetensors")).expect("expected.safetensors");
        let (tensors, _) = parse_safetensors(file.into(), &Limits::default()).expect("safetensors");
        let tensors = tensors.into_iter().map(|tensor| (tensor.name().to_owned(), tensor)).collect();
        Self { name: name.to_owned(), folder, json, tensors }
    }

    /// The case with the hidden states that transformers gives for its inputs, `hidden.{l}`.
    pub fn with_hidden(mut self) -> Self {
        let file = fs::read(self.folder.join("hidden.safetensors")).expect("hidden.safetensors");
        let (tensors, _) = parse_safetensors(file.into(), &Limits::default()).expect("safetensors");
        self.tensors.extend(tensors.into_iter().map(|tensor| (tensor.name().to_owned(), tensor)));
        self
    }

    fn get<T: DeserializeOwned>(&self, field: &str) -> T {
        T::deserialize(&self.json[field]).expect("the field has its type")
    }

    pub fn settings(&self, custody: Custody) -> SplitSettings {
        SplitSettings {
            custody,
            adapter_sets: self.get("adapter_sets"),
            lora: self.get("lora"),
            pooling: self.get("pooling"),
            ..SplitSettings::default()
        }
    }

    pub fn inputs(&self) -> Inputs {
        Inputs::Tokens { ids: self.get("ids"), types: self.get("types") }
    }

    pub fn layout(&self) -> Vec<(String, [usize; 2])> {
        self.get("layout")
    }

    pub fn adamw(&self) -> AdamW {
        let field = |name: &str| self.json["adamw"][name].as_f64().expect("a number");
        let betas = Vec::<f64>::deserialize(&self.json["adamw"]["betas"]).expect("two numbers");
        AdamW {
            lr: field("lr"),
            betas: (betas[0], betas[1]),
            eps: field("eps"),
            weight_decay: field("weight_decay"),
            max_grad_norm: Some(field("max_grad_norm")),
        }
    }

    pub fn theta(&self) -> Vec<(usize, WireTensor)> {
        (0..self.get("adapter_sets")).map(|set| (set, self.tensors[&format!("theta.{set}")].clone())).collect()
    }

    /// The shares that the case gives, all sets and numbers.
    pub fn shares(&self) -> Vec<Share> {
        let (sets, shares): (usize, usize) = (self.get("adapter_sets"), self.get("shares"));
        (0..sets).flat_map(|set| (0..shares).map(move |share| self.share(set, share))).collect()
    }

    pub fn share(&self, set: usize, share: usize) -> Share {
        Share { set, share, tensor: self.tensors[&format!("s.{set}.{share}")].clone() }
    }
}

/// An engine with one job on it.
pub struct World {
    pub engine: LocalEngine,
    pub job: JobId,
    pub info: SessionInfo,
}

/// One thread, so that the same bits come out; `make test-portable` asks for two.
pub fn config() -> EngineConfig {
    let asked = std::env::var("BLINDTUNE_TEST_THREADS").ok().and_then(|text| text.parse().ok());
    EngineConfig { threads: asked.unwrap_or(1), ..EngineConfig::default() }
}

pub fn spec(job: JobId, case: &Case, custody: Custody) -> SessionSpec {
    let settings = case.settings(custody);
    SessionSpec { job, project: NOBODY, folder: case.folder.clone(), seed: 7, settings, start: Start::Fresh }
}

pub fn id(number: u128) -> ForwardId {
    ForwardId(Uuid::from_u128(number))
}

pub fn job(number: u128) -> JobId {
    JobId(Uuid::from_u128(number))
}

impl World {
    pub async fn new(case: &Case, custody: Custody) -> Self {
        Self::with(config(), spec(job(1), case, custody)).await
    }

    pub async fn with(config: EngineConfig, spec: SessionSpec) -> Self {
        let engine = LocalEngine::start(config).expect("starts");
        let job = spec.job;
        let info = engine.load(spec).await.expect("loads");
        Self { engine, job, info }
    }

    /// A world whose adapters are the case's.
    pub async fn ready(case: &Case, custody: Custody) -> Self {
        let world = Self::new(case, custody).await;
        for (set, theta) in case.theta() {
            world.engine.set_adapter(world.job, set, theta).await.expect("fits");
        }
        world
    }

    pub async fn forward(&self, call: ForwardCall) -> Result<ForwardReply, EngineError> {
        self.engine.forward(self.job, call).await.map(|done| done.answer)
    }

    pub async fn backward(&self, number: u128, shares: Vec<Share>) -> Result<BackwardReply, EngineError> {
        self.engine.backward(self.job, id(number), shares).await.map(|done| done.answer)
    }

    /// Products for client custody.
    pub async fn gradients(&self, number: u128, shares: Vec<Share>) -> Vec<WireTensor> {
        match self.backward(number, shares).await.expect("runs") {
            BackwardReply::Gradients(tensors) => tensors,
            BackwardReply::Accumulated(_) => panic!("the job is in host custody"),
        }
    }
}

/// A training forward over the case's inputs and both sets.
pub fn call(case: &Case, number: u128) -> ForwardCall {
    ForwardCall {
        keep: Some(id(number)),
        random: number as u64,
        inputs: case.inputs(),
        adapters: vec![0, 1],
        base: false,
        theta: Vec::new(),
        taps: None,
        payer: None,
    }
}

pub fn named(tensors: &[WireTensor]) -> HashMap<&str, &WireTensor> {
    tensors.iter().map(|tensor| (tensor.name(), tensor)).collect()
}

/// How far an answer out of a shared pass may be from the job's alone. Without AVX-512 oneDNN adds up a row in another order
/// when there are more rows, and T5's gradients differ by up to 1.9e-6. Another job's adapters would
/// make a difference of a tenth and more.
pub const ROUNDING: f64 = 1e-5;

/// Largest difference over largest value.
pub fn difference(got: &WireTensor, expected: &WireTensor) -> f64 {
    assert_eq!(got.shape(), expected.shape(), "{}", got.name());
    let (got, expected) = (got.floats().expect("floats"), expected.floats().expect("floats"));
    let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(f64::from(value.abs())));
    let pairs = got.iter().zip(&expected);
    pairs.fold(0.0_f64, |most, (a, b)| most.max((f64::from(*a) - f64::from(*b)).abs())) / largest.max(1e-30)
}

/// Refuses a relative difference over `most`.
pub fn close(case: &Case, got: &WireTensor, expected: &str, most: f64) {
    let difference = difference(got, &case.tensors[expected]);
    assert!(difference <= most, "{}: {expected} differs by {difference:e}", case.name);
}
