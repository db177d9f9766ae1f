//! Whose turn it is, told by counting passes and not by a clock.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use blindtune::domain::ids::ProjectId;
use blindtune::domain::settings::Custody;
use blindtune::engine::Engine;
use blindtune::engine::EngineConfig;
use blindtune::engine::ForwardCall;
use blindtune::engine::Inputs;
use blindtune::engine::LocalEngine;
use blindtune::engine::SessionSpec;
use uuid::Uuid;

use crate::support::Case;
use crate::support::call;
use crate::support::config;
use crate::support::job;
use crate::support::spec;

/// Calls that the busy project has in the queue at all times.
const QUEUED: u128 = 12;
const TRIES: usize = 20;

fn project(number: u128) -> ProjectId {
    ProjectId(Uuid::from_u128(number))
}

/// One short input, as often as that.
fn inputs(times: usize) -> Inputs {
    Inputs::Tokens { ids: vec![vec![5; 4]; times], types: None }
}

/// A project that keeps the device's queue full of short passes; a neighbour whose passes are longer is served next all the same. By the
/// length of the pass alone it would wait until it had waited too long.
#[tokio::test]
async fn a_neighbour_waits_for_the_pass_under_way_and_not_for_the_queue() {
    let case = Case::read("bert-gelu-cls");
    let config = EngineConfig { stack_tokens: 0, queue_len: 64, ..config() };
    let engine = Arc::new(LocalEngine::start(config).expect("starts"));
    for number in 0..=QUEUED {
        let whose = project(u128::from(number == QUEUED));
        let spec = SessionSpec { project: whose, ..spec(job(number), &case, Custody::Client) };
        engine.load(spec).await.expect("loads");
    }
    let (done, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let evaluate =
        move |times| ForwardCall { keep: None, inputs: inputs(times), ..call(&Case::read("bert-gelu-cls"), 1) };
    let mut busy = Vec::new();
    for number in 0..QUEUED {
        let (engine, done, over, call) = (Arc::clone(&engine), Arc::clone(&done), Arc::clone(&over), evaluate(1));
        busy.push(tokio::spawn(async move {
            while !over.load(Ordering::SeqCst) {
                engine.forward(job(number), call.clone()).await.expect("runs");
                done.fetch_add(1, Ordering::SeqCst);
            }
        }));
    }
    let mut overtaken = Vec::new();
    for _ in 0..TRIES {
        while done.load(Ordering::SeqCst) < 2 * QUEUED as usize * (overtaken.len() + 1) {
            tokio::task::yield_now().await;
        }
        let before = done.load(Ordering::SeqCst);
        engine.forward(job(QUEUED), evaluate(4)).await.expect("runs");
        overtaken.push(done.load(Ordering::SeqCst) - before);
    }
    over.store(true, Ordering::SeqCst);
    for task in busy {
        task.await.expect("ends");
    }
    overtaken.sort_unstable();
    let middle = overtaken[TRIES / 2];
    assert!(middle <= 6, "{middle} passes of {QUEUED} that waited went before: {overtaken:?}");
}
