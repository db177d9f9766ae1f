//! What most HTTP tests need: a host that the tests of a binary share, a project of each test's own, a tiny model with a
//! tokenizer, and short words for driving a job.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use serde_json::Value;
use serde_json::json;
use tokio::sync::OnceCell;

use crate::client::Client;
use crate::client::Reply;
use crate::client::Tensor;
use crate::client::Tensors;
use crate::desk;
use crate::host::Host;

/// The backbone of most tests: width 16, 60 words, at most 40 tokens.
pub const MODEL: &str = "tiny";
/// The same one under a name with a slash.
pub const SLASHED: &str = "org/tiny";
/// Width of its activations.
pub const WIDTH: usize = 16;

static HOST: OnceCell<Host> = OnceCell::const_new();
static PROJECTS: AtomicU32 = AtomicU32::new(0);

/// Settings of the shared host: small limits, so that tests can run into them.
const SETTINGS: [(&str, &str); 7] = [
    ("BLINDTUNE_LIMITS__JOBS_PER_PROJECT", "12"),
    ("BLINDTUNE_LIMITS__RUNNING_PER_PROJECT", "3"),
    ("BLINDTUNE_LIMITS__BATCH_ROWS", "64"),
    ("BLINDTUNE_LIMITS__FILE_BYTES", "1048576"),
    ("BLINDTUNE_JOBS__CHECKPOINT_EVERY_STEPS", "2"),
    ("BLINDTUNE_KEYS__CACHE_SECS", "1"),
    ("BLINDTUNE_FEATURES__SHARD_ROWS", "8"),
];

/// A project of a test's own on the shared host.
pub struct World {
    pub host: &'static Host,
    pub client: Client,
    pub project: String,
}

impl World {
    pub async fn new() -> Self {
        let host = HOST.get_or_init(start).await;
        let project = format!("project-{}", PROJECTS.fetch_add(1, Ordering::Relaxed));
        let key = desk::key(host, &project).await;
        Self { host, client: Client::new(&host.base(), Some(&key)), project }
    }

    /// Uploads a file and gives its id.
    pub async fn file(&self, filename: &str, content: &str) -> String {
        id(&self.client.upload(filename, content).await.ok_json())
    }

    /// Makes a job with these settings of the split.
    pub async fn job(&self, split: Value) -> Job {
        split_job(&self.client, split).await
    }

    /// Makes a job with these fields.
    pub async fn job_with(&self, fields: Value) -> Job {
        make_job(&self.client, fields).await
    }
}

async fn start() -> Host {
    let host = Host::start(&SETTINGS).await;
    host.add_model(&add_tiny(&host).await, SLASHED).await;
    host
}

/// Offers the tiny backbone, and gives its folder.
pub async fn add_tiny(host: &Host) -> PathBuf {
    let folder = host.scratch("tiny");
    write_model(&folder, "bert-gelu-cls");
    host.add_model(&folder, MODEL).await;
    folder
}

/// A golden case's folder with a tokenizer.
pub fn write_model(folder: &Path, case: &str) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/data").join(case);
    for name in ["config.json", "model.safetensors"] {
        fs::copy(data.join(name), folder.join(name)).expect("copies");
    }
    fs::write(folder.join("tokenizer.json"), tokenizer().to_string()).expect("writes");
}

/// Words `w4` to `w59`, in BERT's frame: `w5 w6` is `[2, 5, 6, 3]`.
fn tokenizer() -> Value {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
    let words = special.into_iter().map(str::to_owned).chain((4..60).map(|word| format!("w{word}")));
    let vocab: serde_json::Map<String, Value> = words.enumerate().map(|(id, word)| (word, json!(id))).collect();
    let added = special.iter().enumerate().map(|(id, word)| {
        json!({"id": id, "content": word, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
    });
    let mark = |word: &str, kind: u32| json!({"SpecialToken": {"id": word, "type_id": kind}});
    let part = |name: &str, kind: u32| json!({"Sequence": {"id": name, "type_id": kind}});
    let single = [mark("[CLS]", 0), part("A", 0), mark("[SEP]", 0)];
    let pair = [&single[..], &[part("B", 1), mark("[SEP]", 1)]].concat();
    let frame = |word: &str, id: u32| json!({"id": word, "ids": [id], "tokens": [word]});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "decoder": null,
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": pair,
            "special_tokens": {"[CLS]": frame("[CLS]", 2), "[SEP]": frame("[SEP]", 3)}},
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"},
    })
}

/// Makes a job on the tiny backbone with these settings of the split.
pub async fn split_job(client: &Client, split: Value) -> Job {
    make_job(client, json!({"method": {"type": "split", "split": split}})).await
}

/// Makes a job on the tiny backbone with these further fields.
pub async fn make_job(client: &Client, fields: Value) -> Job {
    let mut body = json!({"model": MODEL, "seed": 7});
    body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    Job { id: id(&client.post("/v1/fine_tuning/jobs", &body).await.ok_json()), client: client.clone(), seq: 1 }
}

/// The id of an object.
pub fn id(object: &Value) -> String {
    object["id"].as_str().unwrap_or_else(|| panic!("no id in {object}")).to_owned()
}

/// A job, and the seq that its next call carries.
#[derive(Clone)]
pub struct Job {
    pub client: Client,
    pub id: String,
    pub seq: u64,
}

impl Job {
    /// A path below the job.
    pub fn path(&self, rest: &str) -> String {
        format!("/v1/fine_tuning/jobs/{}{rest}", self.id)
    }

    pub async fn view(&self) -> Value {
        self.client.get(&self.path("")).await.ok_json()
    }

    pub async fn status(&self) -> String {
        self.view().await["status"].as_str().unwrap_or_default().to_owned()
    }

    pub async fn next_seq(&self) -> u64 {
        self.view().await["split"]["next_seq"].as_u64().expect("a number")
    }

    pub async fn verb(&self, verb: &str) -> Reply {
        self.client.verb(&self.path(&format!("/{verb}"))).await
    }

    /// A training forward in binary form; the seq moves on when it succeeds.
    pub async fn forward(&mut self, tensors: &Tensors) -> Reply {
        let reply = self.client.post_tensors(&self.path(&format!("/forward?seq={}", self.seq)), tensors).await;
        self.moved(reply)
    }

    /// A training forward that must succeed: its id and its activations.
    pub async fn forward_ok(&mut self, tensors: &Tensors) -> (String, Tensors) {
        let reply = self.forward(tensors).await.ok();
        (reply.scalars()["forward_id"].clone(), reply.tensors())
    }

    /// A backward in binary form; the seq moves on when it succeeds.
    pub async fn backward(&mut self, forward: &str, shares: &Tensors) -> Reply {
        let path = self.path(&format!("/backward?seq={}&forward_id={forward}", self.seq));
        let reply = self.client.post_tensors(&path, shares).await;
        self.moved(reply)
    }

    /// An optimizer step; the seq moves on when it succeeds.
    pub async fn optim_step(&mut self, lr: f64) -> Reply {
        let reply = self.client.post(&self.path("/optim_step"), &json!({"seq": self.seq, "lr": lr})).await;
        self.moved(reply)
    }

    /// An evaluation in binary form.
    pub async fn evaluate(&self, tensors: &Tensors) -> Tensors {
        self.client.post_tensors(&self.path("/forward?train=false&base=true"), tensors).await.tensors()
    }

    /// One set's flat vector.
    pub async fn theta(&self, set: usize) -> Tensor {
        let path = self.path(&format!("/adapters/{set}?format=flat"));
        let reply = self.client.call(reqwest::Method::GET, &path).header("accept", crate::client::OCTETS).send().await;
        reply.tensors().remove(&format!("theta.{set}")).expect("the set")
    }

    /// A forward and a backward that must succeed.
    pub async fn step_ok(&mut self) -> Tensors {
        let (forward, activations) = self.forward_ok(&batch()).await;
        self.backward(&forward, &shares_like(&activations, 1)).await.ok();
        activations
    }

    /// All entries of the ledger, oldest first.
    pub async fn ledger(&self) -> Vec<Value> {
        let page = self.client.get(&self.path("/ledger?limit=100")).await.ok_json();
        page["data"].as_array().expect("a list").clone()
    }

    fn moved(&mut self, reply: Reply) -> Reply {
        self.seq += u64::from(reply.status == 200);
        reply
    }
}

/// Three inputs, twelve tokens.
pub fn batch() -> Tensors {
    inputs(&[&[2, 5, 6, 3], &[2, 7, 3], &[2, 8, 9, 10, 3]])
}

/// The same three as texts.
pub const TEXTS: [&str; 3] = ["w5 w6", "w7", "w8 w9 w10"];

/// Token lists in binary form.
pub fn inputs(lists: &[&[i64]]) -> Tensors {
    let lengths: Vec<i64> = lists.iter().map(|list| list.len() as i64).collect();
    Tensors::from([
        ("input_ids".to_owned(), Tensor::i64(&lists.concat())),
        ("lengths".to_owned(), Tensor::i64(&lengths)),
    ])
}

/// One share `s.{i}.0` for each `h.{i}`, of its shape, with values that follow from `seed`.
pub fn shares_like(activations: &Tensors, seed: u64) -> Tensors {
    let sets = activations.iter().filter_map(|(name, tensor)| Some((name.strip_prefix("h.")?, tensor)));
    let shares = sets.filter(|(set, _)| *set != "base").map(|(set, tensor)| {
        let values = values(tensor.shape.iter().product(), seed);
        (format!("s.{set}.0"), Tensor::f32(&tensor.shape, &values))
    });
    shares.collect()
}

/// Numbers between -0.5 and 0.5 that follow from `seed` (xorshift).
pub fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next()).collect()
}
