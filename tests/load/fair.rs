//! A light tenant beside one that takes all of the device that it can get. Both are clients like any other; what is compared is the
//! light one's time alone and beside the heavy one, with the time of one slice between them.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::client::Client;
use crate::client::Tensors;
use crate::figures::Times;
use crate::host::Host;
use crate::world::Job;
use crate::world::inputs;
use crate::world::make_job;

/// A real backbone: the tiny one's passes are too short to wait for.
pub const BACKBONE: &str = "minilm";

/// Offers all-MiniLM-L6-v2, which `make setup` fetched.
pub async fn add_backbone(host: &Host) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".deps/all-MiniLM-L6-v2");
    assert!(folder.join("model.safetensors").exists(), "all-MiniLM-L6-v2 is missing: make setup fetches it");
    host.add_model(&folder, BACKBONE).await;
}

/// What the heavy tenant sends, over and over.
#[derive(Clone, Copy)]
pub struct Heavy {
    /// Calls at once, each of a job of its own.
    pub callers: usize,
    /// Inputs of a call.
    pub rows: usize,
    /// Tokens of an input.
    pub tokens: usize,
}

/// What came of it.
pub struct Figures {
    /// The light tenant's calls, with nobody beside it.
    pub alone: Times,
    /// The same calls beside the heavy tenant.
    pub beside: Times,
    /// The heavy tenant's calls, with the light one beside it.
    pub heavy: Times,
    /// Calls of as many tokens as one slice has, alone.
    pub slice: Times,
}

impl Figures {
    /// What the light one's p95 should stay below: three times its own, and one slice.
    pub fn goal(&self) -> Duration {
        self.alone.quantile(0.95) * 3 + self.slice.quantile(0.95)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "light tenant alone:    {}", self.alone)?;
        writeln!(f, "light tenant beside:   {}", self.beside)?;
        writeln!(f, "heavy tenant's calls:  {}", self.heavy)?;
        writeln!(f, "one slice, alone:      {}", self.slice)?;
        write!(f, "goal for p95 beside:   {:.1} ms", self.goal().as_secs_f64() * 1000.0)
    }
}

/// Lets the light tenant call for `time` alone, then for `time` beside the heavy one.
pub async fn measure(host: &Host, heavy: Heavy, slice_tokens: usize, time: Duration) -> Figures {
    let light = job(&Client::new(&host.base(), Some(&host.key("light", &[]).await))).await;
    let client = Client::new(&host.base(), Some(&host.key("heavy", &[]).await));
    evaluate(&light, &batch(1, 3)).await; // the backbone is open
    let alone = calls(&light, &batch(1, 3), time).await;
    let slice = batch(slice_tokens / heavy.tokens, heavy.tokens);
    let slice = calls(&light, &slice, time / 4).await;
    let mut tasks: Vec<JoinHandle<Vec<Duration>>> = Vec::new();
    let (stop, _) = tokio::sync::watch::channel(false);
    for _ in 0..heavy.callers {
        let (job, mut stopped) = (job(&client).await, stop.subscribe());
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            while !*stopped.borrow_and_update() {
                times.push(evaluate(&job, &batch(heavy.rows, heavy.tokens)).await);
            }
            times
        }));
    }
    tokio::time::sleep(time / 8).await; // the device is busy
    let beside = calls(&light, &batch(1, 3), time).await;
    stop.send_replace(true);
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.expect("the heavy tenant is served too"));
    }
    Figures { alone: Times::new(alone), beside: Times::new(beside), heavy: Times::new(times), slice: Times::new(slice) }
}

async fn job(client: &Client) -> Job {
    let split = json!({"adapter_sets": 1, "pooling": "mean"});
    make_job(client, json!({"model": BACKBONE, "method": {"type": "split", "split": split}})).await
}

fn batch(rows: usize, tokens: usize) -> Tensors {
    let input: Vec<i64> = (0..tokens as i64).map(|token| 1000 + token % 500).collect();
    inputs(&vec![&input[..]; rows])
}

/// One call after the other, for so long.
async fn calls(job: &Job, batch: &Tensors, time: Duration) -> Vec<Duration> {
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < time {
        times.push(evaluate(job, batch).await);
    }
    times
}

async fn evaluate(job: &Job, batch: &Tensors) -> Duration {
    let begun = Instant::now();
    job.client.post_tensors(&job.path("/forward?train=false"), batch).await.ok();
    begun.elapsed()
}
