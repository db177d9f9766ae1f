//! Several callers of one session, and callers of different sessions on one backbone: fewer passes, and each caller's own numbers.

use std::time::Duration;

use blindtune::domain::settings::Custody;
use blindtune::domain::settings::Pooling;
use blindtune::domain::taps::TapDtype;
use blindtune::domain::taps::TokenPick;
use blindtune::domain::taps::TokenPicks;
use blindtune::domain::tensor::WireTensor;
use blindtune::engine::Engine;
use blindtune::engine::EngineConfig;
use blindtune::engine::EngineError;
use blindtune::engine::ForwardCall;
use blindtune::engine::ForwardReply;
use blindtune::engine::Inputs;
use blindtune::engine::LocalEngine;
use blindtune::engine::SessionSpec;
use futures::future::join_all;

use crate::hidden::taps;
use crate::support::Case;
use crate::support::ROUNDING;
use crate::support::cases;
use crate::support::config;
use crate::support::difference;
use crate::support::job;
use crate::support::mild_cases;
use crate::support::spec;

const WILD: f64 = 1e-4;
const CALLERS: usize = 7;
const PATIENCE: Duration = Duration::from_secs(30);

/// Long enough that the requests of a test meet.
fn stacks() -> EngineConfig {
    EngineConfig { stack_tokens: 1024, stack_wait: Duration::from_secs(2), queue_len: 2, ..config() }
}

fn alone() -> EngineConfig {
    EngineConfig { stack_tokens: 0, ..config() }
}

/// Caller `number`'s inputs: one or two of the case.
fn call(case: &Case, number: usize, adapters: &[usize], base: bool) -> ForwardCall {
    let Inputs::Tokens { ids, types } = case.inputs() else { panic!("cases have ids") };
    let (from, count) = (number % (ids.len() - 1), 1 + number % 2);
    let cut = |lists: &Vec<Vec<i64>>| lists[from..from + count].to_vec();
    let inputs = Inputs::Tokens { ids: cut(&ids), types: types.as_ref().map(cut) };
    ForwardCall {
        keep: None,
        random: 0,
        inputs,
        adapters: adapters.to_vec(),
        base,
        theta: Vec::new(),
        taps: None,
        payer: None,
    }
}

async fn open(config: EngineConfig, specs: Vec<SessionSpec>, case: &Case) -> LocalEngine {
    let engine = LocalEngine::start(config).expect("starts");
    for spec in specs {
        let (job, sets) = (spec.job, spec.settings.adapter_sets);
        engine.load(spec).await.expect("loads");
        for (set, theta) in case.theta().into_iter().take(sets) {
            engine.set_adapter(job, set, theta).await.expect("fits");
        }
    }
    engine
}

fn same(got: &[WireTensor], expected: &[WireTensor], most: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        assert_eq!(got.name(), expected.name(), "{what}");
        match got.name() {
            "lengths" => assert_eq!(got, expected, "{what}"),
            name => {
                let difference = difference(got, expected);
                assert!(difference <= most, "{what}: {name} differs by {difference:e}");
            }
        }
    }
}

/// Runs the calls at once and one by one, and compares them. Gives the number of passes that the calls at once took: who comes first may
/// begin before the others are there.
async fn both(case: &Case, most: f64, specs: Vec<SessionSpec>, calls: Vec<(u128, ForwardCall)>) -> usize {
    let together = open(stacks(), specs.clone(), case).await;
    let single = open(alone(), specs, case).await;
    let replies = calls.iter().map(|(number, call)| together.evaluate(job(*number), call.clone(), PATIENCE));
    let replies: Vec<ForwardReply> =
        join_all(replies).await.into_iter().map(|reply| reply.expect("runs").answer).collect();
    for (reply, (number, call)) in replies.iter().zip(calls) {
        let expected = single.evaluate(job(number), call, PATIENCE).await.expect("runs").answer;
        assert_eq!((expected.jobs_in_pass, expected.tokens), (1, reply.tokens), "{}", case.name);
        same(&reply.tensors, &expected.tensors, most, &case.name);
    }
    replies.iter().map(|reply| 1.0 / reply.jobs_in_pass as f64).sum::<f64>().round() as usize
}

#[tokio::test]
async fn callers_of_one_session_share_a_pass_in_every_family() {
    // Of all cases most are as ill conditioned as random weights are: rounding grows in them.
    let mild = mild_cases().into_iter().map(|case| (case, ROUNDING));
    for (case, most) in mild.chain(cases().into_iter().map(|case| (case, WILD))) {
        for (adapters, base) in [(vec![0, 1], false), (vec![], true), (vec![1], true)] {
            let calls = (0..CALLERS).map(|number| (1, call(&case, number, &adapters, base))).collect();
            let passes = both(&case, most, vec![spec(job(1), &case, Custody::Client)], calls).await;
            assert!(passes <= 3, "{}: {adapters:?}: {passes} passes for {CALLERS} callers", case.name);
        }
    }
}

#[tokio::test]
async fn callers_of_the_same_hidden_states_share_a_pass_in_every_family() {
    let picks = TokenPicks::Some(vec![TokenPick::Cls, TokenPick::Mean, TokenPick::Max, TokenPick::Last]);
    let mild = mild_cases().into_iter().map(|case| (case, ROUNDING));
    for (case, most) in mild.chain(cases().into_iter().map(|case| (case, WILD))) {
        for tokens in [TokenPicks::All, picks.clone()] {
            let levels = if case.name.contains("one-layer") { vec![0, 1] } else { vec![0, 2] };
            let asked = || taps(levels.clone(), tokens.clone(), TapDtype::Float32);
            // Of two sessions, with other cuts: hidden states come before any cut.
            let mut other = spec(job(2), &case, Custody::Client);
            if case.json["family"] != "t5" {
                other.settings.pooling = Some(Pooling::Mean);
            }
            let calls = (0..CALLERS).map(|number| {
                let call = ForwardCall { taps: asked(), ..call(&case, number, &[], false) };
                (1 + number as u128 % 2, call)
            });
            let passes = both(&case, most, vec![spec(job(1), &case, Custody::Client), other], calls.collect()).await;
            assert!(passes <= 3, "{}: {passes} passes for {CALLERS} callers", case.name);
        }
    }
}

#[tokio::test]
async fn each_caller_has_a_scale_of_its_own_rows() {
    let case = Case::read("bert-gelu-cls");
    let specs = || vec![spec(job(1), &case, Custody::Client)];
    let (together, single) = (open(stacks(), specs(), &case).await, open(alone(), specs(), &case).await);
    let ask = |number| {
        let taps = taps([1], TokenPicks::All, TapDtype::Int8);
        ForwardCall { taps, ..call(&case, number, &[], false) }
    };
    let replies = join_all((0..CALLERS).map(|number| together.evaluate(job(1), ask(number), PATIENCE))).await;
    let replies: Vec<ForwardReply> = replies.into_iter().map(|reply| reply.expect("runs").answer).collect();
    assert!(replies.iter().any(|reply| reply.jobs_in_pass > 1));
    for (number, reply) in replies.iter().enumerate() {
        let expected = single.evaluate(job(1), ask(number), PATIENCE).await.expect("runs").answer;
        assert!(difference(&reply.tensors[1], &expected.tensors[1]) <= ROUNDING, "{}", reply.tensors[1].name());
        let steps = reply.tensors[0].bytes().iter().zip(expected.tensors[0].bytes());
        assert!(steps.into_iter().all(|(a, b)| a.cast_signed().abs_diff(b.cast_signed()) <= 1));
    }
}

#[tokio::test]
async fn other_hidden_states_and_activations_do_not_mix() {
    let case = Case::read("bert-gelu-cls");
    let specs = || vec![spec(job(1), &case, Custody::Client)];
    let config = EngineConfig { stack_wait: Duration::from_millis(50), ..stacks() };
    let (together, single) = (open(config, specs(), &case).await, open(alone(), specs(), &case).await);
    let of = |taps| ForwardCall { taps, ..call(&case, 0, &[], false) };
    let kinds = [
        of(taps([1], TokenPicks::All, TapDtype::Float32)),
        of(taps([2], TokenPicks::All, TapDtype::Float32)),
        of(taps([2], TokenPicks::All, TapDtype::Bfloat16)),
        of(taps([2], TokenPicks::Some(vec![TokenPick::Cls]), TapDtype::Float32)),
        call(&case, 0, &[], true),
        call(&case, 0, &[0], false),
    ];
    // Each twice, so that passes wait for others: who waits could take in the wrong ones.
    let calls: Vec<ForwardCall> = kinds.iter().chain(&kinds).cloned().collect();
    let replies = join_all(calls.iter().map(|call| together.evaluate(job(1), call.clone(), PATIENCE))).await;
    for (reply, call) in replies.into_iter().zip(calls) {
        let (reply, taps) = (reply.expect("runs").answer, call.taps.clone());
        let expected = single.evaluate(job(1), call, PATIENCE).await.expect("runs").answer;
        let kinds = |reply: &ForwardReply| {
            let kind = |tensor: &WireTensor| (tensor.name().to_owned(), tensor.dtype(), tensor.shape().to_vec());
            reply.tensors.iter().map(kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds(&reply), kinds(&expected), "{taps:?}");
        assert!(taps.is_none() || reply.jobs_in_pass <= 2, "{taps:?} in a pass of {}", reply.jobs_in_pass);
    }
}

#[tokio::test]
async fn models_on_one_backbone_share_a_pass_with_each_other_and_with_the_bare_one() {
    let case = Case::read("bert-gelu-cls");
    let specs = (1..=3).map(|number| spec(job(number), &case, Custody::Client)).collect();
    let calls = vec![
        (1, call(&case, 0, &[0, 1], false)),
        (2, call(&case, 1, &[0], true)),
        (1, call(&case, 2, &[1], false)),
        (3, call(&case, 3, &[], true)),
    ];
    let passes = both(&case, ROUNDING, specs, calls).await;
    assert!(passes <= 2, "{passes} passes for four callers");
}

#[tokio::test]
async fn another_cut_and_other_adapters_of_a_family_without_owners_do_not_mix() {
    let config = || EngineConfig { stack_wait: Duration::from_millis(50), ..stacks() };
    let case = Case::read("bert-gelu-cls");
    let mut mean = spec(job(2), &case, Custody::Client);
    mean.settings.pooling = Some(Pooling::Mean);
    let engine = open(config(), vec![spec(job(1), &case, Custody::Client), mean], &case).await;
    let bare = call(&case, 0, &[], true);
    let (a, b) = tokio::join!(engine.evaluate(job(1), bare.clone(), PATIENCE), engine.evaluate(job(2), bare, PATIENCE));
    let (a, b) = (a.expect("runs").answer, b.expect("runs").answer);
    assert_eq!((a.jobs_in_pass, b.jobs_in_pass), (1, 1));
    assert!(difference(&a.tensors[0], &b.tensors[0]) > 1e-3, "two cuts");

    let case = Case::read("deberta-v3-cls");
    let specs = (1..=2).map(|number| spec(job(number), &case, Custody::Client)).collect();
    let engine = open(config(), specs, &case).await;
    let of = |number| engine.evaluate(job(number), call(&case, 0, &[0], false), PATIENCE);
    let (a, b) = tokio::join!(of(1), of(2));
    assert_eq!((a.expect("runs").answer.jobs_in_pass, b.expect("runs").answer.jobs_in_pass), (1, 1));
}

#[tokio::test]
async fn callers_wait_for_a_place_where_a_step_would_be_refused() {
    let case = Case::read("bert-gelu-cls");
    let config = EngineConfig { queue_len: 1, ..alone() };
    let engine = open(config, vec![spec(job(1), &case, Custody::Client)], &case).await;
    let calls = (0..200).map(|number| engine.evaluate(job(1), call(&case, number, &[0], false), PATIENCE));
    assert!(join_all(calls).await.into_iter().all(|reply| reply.is_ok()));
    let hasty = (0..200).map(|number| engine.evaluate(job(1), call(&case, number, &[0], false), Duration::ZERO));
    let refused = join_all(hasty).await.into_iter().filter(|reply| reply.as_ref().err() == Some(&EngineError::Busy));
    assert!(refused.count() > 0, "patience has an end");
}
