//! Clients that each live through the lives of jobs, one request after the other, at their own times.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use tokio::time::Instant;

use crate::client::Call;
use crate::client::Client;
use crate::client::JSON;
use crate::figures::Load;
use crate::figures::Times;
use crate::world::MODEL;

const CLIENTS: u32 = 32;
const JOBS: &str = "/v1/fine_tuning/jobs";

/// The life of a job: three writes in ten requests.
const LIFE: [Kind; 20] = [
    Kind::Create,
    Kind::Get,
    Kind::Jobs,
    Kind::Events,
    Kind::Get,
    Kind::Metrics,
    Kind::Models,
    Kind::Verb("pause"),
    Kind::Get,
    Kind::Files,
    Kind::Verb("resume"),
    Kind::Events,
    Kind::Get,
    Kind::Jobs,
    Kind::Metrics,
    Kind::Models,
    Kind::Get,
    Kind::Files,
    Kind::Events,
    Kind::Verb("cancel"),
];

#[derive(Clone, Copy)]
enum Kind {
    Create,
    Get,
    Jobs,
    Events,
    Metrics,
    Models,
    Files,
    Verb(&'static str),
}

impl Kind {
    fn call(self, client: &Client, job: &str, step: u32) -> Call {
        let get = |path: &str| client.call(Method::GET, path);
        let post = |path: &str| client.call(Method::POST, path);
        match self {
            Self::Create => post(JOBS).json(&json!({"model": MODEL, "seed": 7})),
            Self::Get => get(&format!("{JOBS}/{job}")),
            Self::Jobs => get(&format!("{JOBS}?limit=10")),
            Self::Events => get(&format!("{JOBS}/{job}/events")),
            Self::Metrics => {
                post(&format!("{JOBS}/{job}/metrics")).json(&json!({"step": step, "metrics": {"loss": 0.5}}))
            }
            Self::Models => get("/v1/models"),
            Self::Files => get("/v1/files"),
            Self::Verb(verb) => post(&format!("{JOBS}/{job}/{verb}")).body(JSON, Vec::new()),
        }
    }
}

/// Sends so many requests a second, mixed, for this long.
pub async fn load(client: &Client, per_second: u32, time: Duration) -> Load {
    let each = (time.as_secs_f64() * f64::from(per_second) / f64::from(CLIENTS)) as u32;
    let every = Duration::from_secs_f64(f64::from(CLIENTS) / f64::from(per_second));
    let start = Instant::now() + Duration::from_millis(200);
    let lives: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(live(client.clone(), start + every * number / CLIENTS, every, each, number)))
        .collect();
    let (mut times, mut statuses) = (Vec::new(), std::collections::BTreeMap::new());
    for life in lives {
        for (status, time) in life.await.expect("a client lives on") {
            *statuses.entry(status).or_default() += 1;
            times.push(time);
        }
    }
    Load { times: Times::new(times), statuses, due: (each * CLIENTS) as usize }
}

async fn live(client: Client, start: Instant, every: Duration, count: u32, number: u32) -> Vec<(u16, Duration)> {
    let (mut job, mut done) = (String::new(), Vec::with_capacity(count as usize));
    for request in 0..count {
        let due = start + every * request;
        tokio::time::sleep_until(due).await;
        // Before its first job, a client is at a place of its own in the life of none: it only looks.
        let kind = match LIFE[((request + number) % LIFE.len() as u32) as usize] {
            kind @ (Kind::Create | Kind::Jobs | Kind::Models | Kind::Files) => kind,
            _ if job.is_empty() => Kind::Models,
            kind => kind,
        };
        let reply = kind.call(&client, &job, request).try_send().await;
        let status = reply.as_ref().map_or(0, |reply| reply.status);
        done.push((status, due.elapsed()));
        if let (Kind::Create, Ok(reply)) = (kind, reply) {
            let made: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            made["id"].as_str().unwrap_or_default().clone_into(&mut job);
        }
    }
    done
}
