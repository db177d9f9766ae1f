//! Requests of several jobs in one pass: each answer is the job's own, to rounding, whoever else was in the pass.

use std::time::Duration;
use std::time::Instant;

use blindtune::domain::settings::Custody;
use blindtune::domain::tensor::WireTensor;
use blindtune::engine::BackwardReply;
use blindtune::engine::Engine;
use blindtune::engine::EngineConfig;
use blindtune::engine::EngineError;
use blindtune::engine::ForwardCall;
use blindtune::engine::ForwardReply;
use blindtune::engine::Inputs;
use blindtune::engine::LocalEngine;
use blindtune::engine::Place;
use blindtune::engine::SessionSpec;
use blindtune::engine::Share;
use futures::future::join_all;

use crate::support::Case;
use crate::support::ROUNDING;
use crate::support::call;
use crate::support::config;
use crate::support::difference;
use crate::support::id;
use crate::support::job;
use crate::support::mild_cases;
use crate::support::spec;

const JOBS: u128 = 6;

/// Long enough that the requests of a test meet.
fn stacks() -> EngineConfig {
    EngineConfig { stack_tokens: 1024, stack_wait: Duration::from_secs(2), queue_len: 64, ..config() }
}

fn alone() -> EngineConfig {
    EngineConfig { stack_tokens: 0, ..config() }
}

/// Job `number` of a test: one or two inputs of the case, adapters of its own, the bare backbone for every other job.
fn forward(case: &Case, number: u128) -> ForwardCall {
    let Inputs::Tokens { ids, types } = case.inputs() else { panic!("cases have ids") };
    let from = number as usize % (ids.len() - 1);
    let count = 1 + number as usize % 2;
    let cut = |lists: &Vec<Vec<i64>>| lists[from..from + count].to_vec();
    let inputs = Inputs::Tokens { ids: cut(&ids), types: types.as_ref().map(cut) };
    let scaled = |(set, theta): (usize, WireTensor)| {
        let values: Vec<f32> =
            theta.floats().expect("floats").iter().map(|v| v * (1.0 + number as f32 / 10.0)).collect();
        (set, WireTensor::from_f32("theta", vec![values.len()], &values).expect("fits"))
    };
    let theta = case.theta().into_iter().map(scaled).collect();
    ForwardCall { inputs, theta, base: number.is_multiple_of(2), ..call(case, 1) }
}

fn shares(reply: &ForwardReply) -> Vec<Share> {
    let of = |set: usize, share: usize| {
        let h = reply.tensors.iter().find(|tensor| tensor.name() == format!("h.{set}")).expect("is there");
        let values: Vec<f32> = (0..h.len()).map(|i| ((i * (share + 2) + set) as f32).sin()).collect();
        let tensor = WireTensor::from_f32("s", h.shape().to_vec(), &values).expect("fits");
        Share { set, share, tensor }
    };
    vec![of(0, 0), of(1, 0), of(1, 1)]
}

async fn open(config: EngineConfig, case: &Case, jobs: u128) -> LocalEngine {
    let engine = LocalEngine::start(config).expect("starts");
    for number in 0..jobs {
        engine.load(spec(job(number), case, Custody::Client)).await.expect("loads");
    }
    engine
}

fn gradients(reply: BackwardReply) -> Vec<WireTensor> {
    match reply {
        BackwardReply::Gradients(tensors) => tensors,
        BackwardReply::Accumulated(_) => panic!("client custody"),
    }
}

/// Forward and backward of every job, all at once.
async fn together(engine: &LocalEngine, case: &Case) -> Vec<(ForwardReply, Vec<WireTensor>)> {
    let forwards = join_all((0..JOBS).map(|number| engine.forward(job(number), forward(case, number)))).await;
    let forwards: Vec<ForwardReply> = forwards.into_iter().map(|reply| reply.expect("runs").answer).collect();
    let backwards = (0..JOBS).zip(&forwards).map(|(number, reply)| engine.backward(job(number), id(1), shares(reply)));
    let backwards = join_all(backwards).await.into_iter().map(|reply| gradients(reply.expect("runs").answer));
    forwards.into_iter().zip(backwards.collect::<Vec<_>>()).collect()
}

#[tokio::test]
async fn every_answer_equals_the_job_alone() {
    for case in mild_cases().into_iter().filter(|case| case.json["family"] != "deberta-v2") {
        let name = &case.name;
        let (stacked, single) = (open(stacks(), &case, JOBS).await, open(alone(), &case, JOBS).await);
        for (number, (reply, got)) in (0..JOBS).zip(together(&stacked, &case).await) {
            assert_eq!(reply.jobs_in_pass, JOBS as usize, "{name}");
            let expected = single.forward(job(number), forward(&case, number)).await.expect("runs").answer;
            assert_eq!(expected.jobs_in_pass, 1);
            assert_eq!((reply.tokens, reply.tensors.len()), (expected.tokens, expected.tensors.len()));
            let products = single.backward(job(number), id(1), shares(&reply)).await.expect("runs").answer;
            for (got, expected) in
                reply.tensors.iter().chain(&got).zip(expected.tensors.iter().chain(&gradients(products)))
            {
                assert_eq!(got.name(), expected.name());
                if got.name() != "lengths" {
                    let difference = difference(got, expected);
                    assert!(difference <= ROUNDING, "{name}: {} of job {number} differs by {difference:e}", got.name());
                }
            }
        }
    }
}

#[tokio::test]
async fn a_backward_whose_mates_stay_away_equals_the_one_with_them() {
    let case = Case::read_in("bf16", "bf16-bert-cls");
    let engine = open(EngineConfig { stack_wait: Duration::from_millis(20), ..stacks() }, &case, JOBS).await;
    let all = together(&engine, &case).await;
    for number in [3, 0] {
        let reply = &all[number as usize].0;
        let again = gradients(engine.backward(job(number), id(1), shares(reply)).await.expect("runs").answer);
        for (got, expected) in again.iter().zip(&all[number as usize].1) {
            assert!(difference(got, expected) <= ROUNDING);
        }
    }
}

#[tokio::test]
async fn evaluations_are_stacked_and_keep_no_graph() {
    let case = Case::read("llama2-last");
    let engine = open(stacks(), &case, JOBS).await;
    let evaluate = |number| ForwardCall { keep: None, ..forward(&case, number) };
    let replies = join_all((0..JOBS).map(|number| engine.forward(job(number), evaluate(number)))).await;
    for reply in replies {
        let reply = reply.expect("runs").answer;
        assert_eq!(reply.jobs_in_pass, JOBS as usize);
        assert_eq!(engine.backward(job(0), id(1), shares(&reply)).await.err(), Some(EngineError::NoForward));
    }
}

#[tokio::test]
async fn a_request_that_is_refused_fails_alone() {
    let case = Case::read("bert-gelu-cls");
    let engine = open(EngineConfig { stack_wait: Duration::from_secs(2), ..stacks() }, &case, 3).await;
    let bad = ForwardCall { adapters: vec![7], ..forward(&case, 1) };
    let [a, b, c] = [forward(&case, 0), bad, forward(&case, 2)];
    let (a, b, c) = tokio::join!(engine.forward(job(0), a), engine.forward(job(1), b), engine.forward(job(2), c));
    assert!(matches!(b, Err(EngineError::Invalid { place: Place::Field("adapters"), .. })));
    assert_eq!((a.expect("runs").answer.jobs_in_pass, c.expect("runs").answer.jobs_in_pass), (2, 2));
}

#[tokio::test]
async fn jobs_with_other_adapters_or_dropout_or_long_inputs_run_alone() {
    let case = Case::read("bert-gelu-cls");
    type Change = fn(&mut SessionSpec);
    let changes: [Change; 3] = [|s| s.settings.lora.rank = 2, |s| s.settings.lora.dropout = 0.5, |_| {}];
    for (place, change) in changes.into_iter().enumerate() {
        // Two inputs of job 2 have over 10 tokens.
        let tokens = if place == 2 { 20 } else { 256 };
        let config = EngineConfig { stack_tokens: tokens, stack_wait: Duration::from_millis(50), ..stacks() };
        let engine = LocalEngine::start(config).expect("starts");
        for number in [1, 2] {
            let mut spec = spec(job(number), &case, Custody::Client);
            change(&mut spec);
            if number == 1 && place == 0 {
                spec.settings.lora.rank = 3;
            }
            engine.load(spec).await.expect("loads");
        }
        let plain = |number| ForwardCall { theta: Vec::new(), ..forward(&case, number) };
        let (a, b) = tokio::join!(engine.forward(job(1), plain(1)), engine.forward(job(2), plain(2)));
        assert_eq!((a.expect("runs").answer.jobs_in_pass, b.expect("runs").answer.jobs_in_pass), (1, 1), "{place}");
    }
}

#[tokio::test]
async fn without_retained_graphs_the_answers_are_the_same_bits() {
    let case = Case::read("deberta-v3-cls");
    let mut answers = Vec::new();
    for graphs_per_job in [2, 0] {
        let engine = open(EngineConfig { graphs_per_job, ..alone() }, &case, 1).await;
        let reply =
            engine.forward(job(0), ForwardCall { theta: case.theta(), ..call(&case, 1) }).await.expect("runs").answer;
        let mut products = Vec::new();
        for share in case.shares() {
            products.extend(gradients(engine.backward(job(0), id(1), vec![share]).await.expect("runs").answer));
        }
        answers.push((reply.tensors, products));
    }
    assert_eq!(answers[0], answers[1]);
}

/// Eight forwards that came at once take as long as the device worked, all together: none pays for waiting, nor for what the others
/// shared the pass with.
#[tokio::test]
async fn only_the_pass_is_billed_divided_among_those_who_share_it() {
    let case = Case::read("llama2-last");
    for config in [stacks(), alone()] {
        let engine = open(config, &case, JOBS).await;
        let begun = Instant::now();
        let replies = join_all((0..JOBS).map(|number| engine.forward(job(number), forward(&case, number)))).await;
        let wall = begun.elapsed();
        let replies: Vec<_> = replies.into_iter().map(|reply| reply.expect("runs")).collect();
        let billed: Duration = replies.iter().map(|reply| reply.device).sum();
        assert!(billed > Duration::ZERO && billed <= wall, "{billed:?} of {wall:?}");
        let backwards =
            (0..JOBS).zip(&replies).map(|(number, reply)| engine.backward(job(number), id(1), shares(&reply.answer)));
        for (done, forward) in join_all(backwards).await.into_iter().zip(&replies) {
            let done = done.expect("runs");
            assert!(done.device > Duration::ZERO);
            let numbers = shares(&forward.answer).iter().map(|share| share.share + 1).max().unwrap_or_default();
            assert_eq!((forward.tokens, done.tokens), (forward.answer.tokens, numbers * forward.answer.tokens));
        }
    }
}
