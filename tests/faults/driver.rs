//! Label holders that follow the protocol whatever the host does. The loss is a fixed linear functional, so that each step's
//! gradient is known beforehand and the whole run is a function of its seed.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Instant;

use reqwest::Method;
use serde_json::json;

use crate::client::Call;
use crate::client::Client;
use crate::client::OCTETS;
use crate::client::Reply;
use crate::client::Tensor;
use crate::client::Tensors;
use crate::client::one;
use crate::client::pack;
use crate::host::POLL;
use crate::host::WITHIN;
use crate::world::Job;
use crate::world::batch;
use crate::world::make_job;
use crate::world::shares_like;

const SETS: usize = 2;
const RATE: f32 = 0.05;

/// Steps done by all runs of a test.
pub type Count = Arc<AtomicU64>;

/// Sends a call until the host has an answer that waiting does not change.
pub async fn patiently(call: impl Fn() -> Call) -> Reply {
    let deadline = Instant::now() + WITHIN;
    loop {
        let reply = call().try_send().await;
        match reply {
            Ok(reply) if ![429, 503].contains(&reply.status) => return reply,
            other => assert!(Instant::now() < deadline, "no answer in time, the last was {other:?}"),
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A run in client custody.
pub struct ClientRun {
    pub job: Job,
    pub steps: u64,
    seed: u64,
    theta: Vec<Tensor>,
    done: Count,
}

impl ClientRun {
    pub async fn new(client: &Client, seed: u64, steps: u64, done: &Count) -> Self {
        let job = make_job(client, json!({"seed": seed % 1000})).await;
        let mut theta = Vec::new();
        for set in 0..SETS {
            theta.push(job.theta(set).await);
        }
        Self { job, steps, seed, theta, done: Arc::clone(done) }
    }

    /// Runs to the end, and gives the final adapters as the host has them.
    pub async fn run(mut self) -> Vec<Tensor> {
        for step in 0..self.steps {
            self.step(step).await;
            self.done.fetch_add(1, Ordering::SeqCst);
        }
        for (set, theta) in self.theta.iter().enumerate() {
            assert_eq!(&self.stored(set).await, theta, "the host has what it was sent");
        }
        let view = patiently(|| self.job.client.call(Method::GET, &self.job.path(""))).await.ok_json();
        assert_eq!(view["split"]["next_seq"], json!(2 * self.steps + 1), "each step once");
        self.theta
    }

    async fn stored(&self, set: usize) -> Tensor {
        loop {
            self.put_all().await;
            let reply = theta_of(&self.job, set).await;
            if reply.status == 200 {
                return reply.tensors().remove(&format!("theta.{set}")).expect("the set");
            }
            assert_eq!(reply.code(), "adapters_needed");
        }
    }

    async fn step(&mut self, step: u64) {
        let products = loop {
            let forward = self.forward(step).await;
            if let Some(products) = self.backward(step, &forward).await {
                break products;
            }
        };
        for (set, theta) in self.theta.iter_mut().enumerate() {
            let gradient = products[&format!("G.{set}.0")].floats();
            let values: Vec<f32> = theta.floats().iter().zip(gradient).map(|(value, g)| value - RATE * g).collect();
            *theta = Tensor::f32(&theta.shape, &values);
        }
    }

    /// New adapters travel with every second forward, and by PUT before the others.
    async fn forward(&self, step: u64) -> Reply {
        let with_theta = step.is_multiple_of(2);
        if !with_theta {
            self.put_all().await;
        }
        let mut tensors = batch();
        if with_theta {
            tensors.extend(self.theta.iter().enumerate().map(|(set, theta)| (format!("theta.{set}"), theta.clone())));
        }
        let path = self.job.path(&format!("/forward?seq={}", 2 * step + 1));
        loop {
            let reply = patiently(|| post(&self.job.client, &path, &tensors)).await;
            match reply.status {
                409 if reply.code() == "adapters_needed" => self.put_all().await,
                _ => return reply.ok(),
            }
        }
    }

    /// `None` when the forward must be sent again.
    async fn backward(&self, step: u64, forward: &Reply) -> Option<Tensors> {
        let shares = shares_like(&forward.tensors(), self.seed ^ step);
        let (seq, id) = (2 * step + 2, forward.scalars()["forward_id"].clone());
        let path = self.job.path(&format!("/backward?seq={seq}&forward_id={id}"));
        let reply = patiently(|| post(&self.job.client, &path, &shares)).await;
        match reply.status {
            409 if reply.code() == "forward_lost" => None,
            _ => Some(reply.tensors()),
        }
    }

    async fn put_all(&self) {
        for (set, theta) in self.theta.iter().enumerate() {
            let path = self.job.path(&format!("/adapters/{set}"));
            let body = pack(&one(&format!("theta.{set}"), theta.clone()));
            patiently(|| self.job.client.call(Method::PUT, &path).body(OCTETS, body.clone())).await.ok();
        }
    }
}

async fn theta_of(job: &Job, set: usize) -> Reply {
    let path = job.path(&format!("/adapters/{set}?format=flat"));
    patiently(|| job.client.call(Method::GET, &path).header("accept", OCTETS)).await
}

fn post(client: &Client, path: &str, tensors: &Tensors) -> Call {
    client.call(Method::POST, path).body(OCTETS, pack(tensors))
}

/// A run in host custody: three calls a step, sent again from wherever the host asks.
pub struct HostRun {
    pub job: Job,
    pub steps: u64,
    seed: u64,
    /// What the next call carries.
    seq: u64,
    forward: String,
    replays: u64,
    done: Count,
}

impl HostRun {
    pub async fn new(client: &Client, seed: u64, steps: u64, done: &Count) -> Self {
        let fields = json!({"seed": seed % 1000, "method": {"type": "split", "split": {"custody": "host"}}});
        let job = make_job(client, fields).await;
        Self { job, steps, seed, seq: 1, forward: String::new(), replays: 0, done: Arc::clone(done) }
    }

    /// Runs to the end, and gives the final adapters and how often the host asked for a replay.
    pub async fn run(mut self) -> (Vec<Tensor>, u64) {
        loop {
            self.run_to(self.steps).await;
            let mut theta = Vec::new();
            for set in 0..SETS {
                theta.extend(theta_of(&self.job, set).await.tensors().into_values());
            }
            // A crash in between may have undone steps: the values are then not the last ones.
            let view = patiently(|| self.job.client.call(Method::GET, &self.job.path(""))).await.ok_json();
            self.seq = view["split"]["next_seq"].as_u64().expect("a number");
            if self.seq > 3 * self.steps {
                assert_eq!(view["split"]["optimizer_steps"], json!(self.steps), "each step once");
                return (theta, self.replays);
            }
        }
    }

    /// Runs until so many steps are done.
    pub async fn run_to(&mut self, steps: u64) {
        while self.seq <= 3 * steps {
            self.seq = self.call(self.seq).await;
        }
    }

    /// Makes one call, and gives the seq of the next.
    async fn call(&mut self, seq: u64) -> u64 {
        let step = (seq - 1) / 3;
        let reply = match (seq - 1) % 3 {
            0 => self.forward(seq).await,
            1 => self.backward(seq, step).await,
            _ => self.optim_step(seq).await,
        };
        match (reply.status, (reply.status != 200).then(|| reply.code()).as_deref()) {
            (200, _) => self.went_well(seq, &reply),
            (409, Some("step_out_of_order")) => {
                self.replays += 1;
                reply.json()["error"]["expected_seq"].as_u64().expect("a seq")
            }
            (409, Some("forward_lost")) => seq - 1,
            // It is done and durable; only its answer is gone.
            (409, Some("answer_expired")) => seq + 1,
            _ => panic!("seq {seq}: {}: {}", reply.status, reply.text()),
        }
    }

    fn went_well(&mut self, seq: u64, reply: &Reply) -> u64 {
        match (seq - 1) % 3 {
            0 => self.forward = reply.scalars()["forward_id"].clone(),
            2 => drop(self.done.fetch_add(1, Ordering::SeqCst)),
            _ => {}
        }
        seq + 1
    }

    async fn forward(&self, seq: u64) -> Reply {
        let path = self.job.path(&format!("/forward?seq={seq}"));
        patiently(|| post(&self.job.client, &path, &batch())).await
    }

    async fn backward(&self, seq: u64, step: u64) -> Reply {
        let path = self.job.path(&format!("/backward?seq={seq}&forward_id={}", self.forward));
        let like = |set: usize| (format!("h.{set}"), Tensor::f32(&[3, 16], &[0.0; 48]));
        let shares = shares_like(&(0..SETS).map(like).collect(), self.seed ^ step);
        patiently(|| post(&self.job.client, &path, &shares)).await
    }

    async fn optim_step(&self, seq: u64) -> Reply {
        let (path, body) = (self.job.path("/optim_step"), json!({"seq": seq, "lr": 0.01}));
        patiently(|| self.job.client.call(Method::POST, &path).json(&body)).await
    }
}
