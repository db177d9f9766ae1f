//! The life of a job. Stock clients send the verbs with a JSON content type and no body at all.

use std::time::Duration;
use std::time::Instant;

use serde_json::json;

use crate::client::Client;
use crate::host::Host;
use crate::host::POLL;
use crate::world::Job;
use crate::world::World;
use crate::world::add_tiny;
use crate::world::batch;
use crate::world::make_job;

/// A job brought into a state.
async fn job_in(world: &World, state: &str) -> Job {
    let job = world.job(json!({})).await;
    match state {
        "running" => {}
        "paused" => drop(job.verb("pause").await.ok()),
        "cancelled" => drop(job.verb("cancel").await.ok()),
        "succeeded" => drop(job.verb("complete").await.ok()),
        other => panic!("no such state: {other}"),
    }
    assert_eq!(job.status().await, state);
    job
}

#[tokio::test]
async fn each_verb_leads_where_the_life_cycle_says_and_nowhere_else() {
    let world = World::new().await;
    let table = [
        (
            "running",
            [
                ("pause", Some("paused")),
                ("resume", None),
                ("cancel", Some("cancelled")),
                ("complete", Some("succeeded")),
            ],
        ),
        (
            "paused",
            [
                ("pause", None),
                ("resume", Some("running")),
                ("cancel", Some("cancelled")),
                ("complete", Some("succeeded")),
            ],
        ),
        ("cancelled", [("pause", None), ("resume", None), ("cancel", None), ("complete", None)]),
        ("succeeded", [("pause", None), ("resume", None), ("cancel", None), ("complete", None)]),
    ];
    for (state, verbs) in table {
        for (verb, leads_to) in verbs {
            let job = job_in(&world, state).await;
            let reply = job.verb(verb).await;
            match leads_to {
                Some(next) => assert_eq!(reply.ok_json()["status"], next, "{state}: {verb}"),
                None => assert_eq!(reply.status, 409, "{state}: {verb}: {}", reply.text()),
            }
            assert_eq!(job.status().await, leads_to.unwrap_or(state), "{state}: {verb}");
            if leads_to.is_some_and(|next| ["running", "paused"].contains(&next))
                || ["running", "paused"].contains(&state)
            {
                job.verb("cancel").await;
            }
        }
    }
}

#[tokio::test]
async fn a_final_job_says_when_it_ended_and_takes_no_step() {
    let world = World::new().await;
    for verb in ["cancel", "complete"] {
        let mut job = world.job(json!({})).await;
        job.step_ok().await;
        let done = job.verb(verb).await.ok_json();
        assert!(done["finished_at"].is_i64(), "{verb}: {done}");
        job.forward(&batch()).await.refused(409, "job_not_running");
        assert_eq!(job.next_seq().await, 3, "{verb}");
    }
}

#[tokio::test]
async fn a_paused_job_goes_on_where_it_stood() {
    let world = World::new().await;
    let mut job = world.job(json!({"custody": "host"})).await;
    let (forward, activations) = job.forward_ok(&batch()).await;
    job.backward(&forward, &crate::world::shares_like(&activations, 1)).await.ok();
    job.optim_step(0.01).await.ok();
    let before = (job.theta(0).await, job.evaluate(&batch()).await);
    job.verb("pause").await.ok();
    job.verb("resume").await.ok();
    assert_eq!((job.theta(0).await, job.evaluate(&batch()).await), before);
    job.verb("pause").await.ok();
    let (forward, activations) = job.forward_ok(&batch()).await;
    assert_eq!(activations["h.0"], before.1["h.0"], "a step alone wakes it");
    assert_eq!(job.status().await, "running");
    job.backward(&forward, &crate::world::shares_like(&activations, 2)).await.ok();
    assert_eq!(job.optim_step(0.01).await.ok_json()["step"], 2);
}

#[tokio::test]
async fn what_a_pause_saves_is_what_the_client_last_sent() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let theta = crate::client::Tensor::f32(&[1024], &crate::world::values(1024, 9));
    let mut tensors = batch();
    tensors.insert("theta.1".to_owned(), theta.clone());
    job.forward_ok(&tensors).await;
    job.verb("pause").await.ok();
    assert_eq!(job.theta(1).await, theta);
}

#[tokio::test]
async fn a_job_waits_for_a_place_and_gets_the_next_free_one() {
    let world = World::new().await;
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(world.job(json!({})).await);
    }
    let mut states = Vec::new();
    for job in &jobs {
        states.push(job.status().await);
    }
    assert_eq!(states, ["running", "running", "running", "queued", "queued"]);
    let newest = world.client.get("/v1/fine_tuning/jobs").await.ok_json()["data"].as_array().expect("a list").clone();
    let places: Vec<_> = newest.iter().rev().map(|job| job["queue_position"].clone()).collect();
    assert_eq!(places, [json!(null), json!(null), json!(null), json!(1), json!(2)]);
    let counts = async || world.client.get("/v1/fine_tuning/jobs/counts").await.ok_json();
    let some = |queued, running, succeeded, cancelled| {
        json!({"object": "fine_tuning.job.counts", "queued": queued, "running": running, "paused": 0,
               "succeeded": succeeded, "failed": 0, "cancelled": cancelled})
    };
    assert_eq!(counts().await, some(2, 3, 0, 0));
    let reply = jobs[3].forward(&batch()).await;
    reply.refused(429, "job_queued");
    assert!(!reply.header("retry-after").is_empty());
    assert_eq!(jobs[3].next_seq().await, 1);
    for (verb, ends) in [("cancel", 0), ("complete", 1)] {
        jobs[ends].verb(verb).await.ok();
    }
    assert_eq!((jobs[3].status().await, jobs[4].status().await), ("running".into(), "running".into()));
    assert_eq!(counts().await, some(0, 3, 1, 1));
    assert_eq!(world.client.get(&jobs[3].path("")).await.ok_json()["queue_position"], json!(null));
    jobs[3].forward(&batch()).await.ok();
}

#[tokio::test]
async fn an_unknown_job_has_no_verbs() {
    let world = World::new().await;
    for id in ["x".to_owned(), format!("ftjob-{}", "0".repeat(32))] {
        let job = Job { client: world.client.clone(), id, seq: 1 };
        for verb in ["pause", "resume", "cancel", "complete"] {
            job.verb(verb).await.refused(404, "not_found");
        }
    }
}

/// A host with one place for a project's jobs, where a job that nobody calls pauses within two seconds.
async fn one_place() -> (Host, Client) {
    let settings = [
        ("BLINDTUNE_LIMITS__RUNNING_PER_PROJECT", "1"),
        ("BLINDTUNE_JOBS__IDLE_PAUSE_SECS", "1"),
        ("BLINDTUNE_JOBS__LEASE_SECS", "3"),
    ];
    let host = Host::start(&settings).await;
    add_tiny(&host).await;
    let key = host.key("one-place", &[]).await;
    let client = Client::new(&host.base(), Some(&key));
    (host, client)
}

async fn becomes(job: &Job, state: &str) {
    let begun = Instant::now();
    while job.status().await != state {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} does not become {state}", job.status().await);
        tokio::time::sleep(POLL).await;
    }
}

#[tokio::test]
async fn a_job_that_nobody_calls_gives_its_place_to_the_next() {
    let (_host, client) = one_place().await;
    let begun = make_job(&client, json!({})).await;
    let mut queued = make_job(&client, json!({})).await;
    becomes(&begun, "paused").await; // it never had a step
    becomes(&queued, "running").await;
    queued.step_ok().await;
    let third = make_job(&client, json!({})).await;
    becomes(&queued, "paused").await; // it had one, and its session is closed
    becomes(&third, "running").await;
}

#[tokio::test]
async fn jobs_made_at_once_get_no_more_places_than_there_are() {
    let (_host, client) = one_place().await;
    let made = futures::future::join_all((0..16).map(|_| make_job(&client, json!({})))).await;
    let list = client.get("/v1/fine_tuning/jobs?limit=100").await.ok_json();
    let running = list["data"].as_array().expect("a list").iter().filter(|job| job["status"] == "running").count();
    assert_eq!((made.len(), running), (16, 1));
}
