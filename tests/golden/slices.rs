//! Long passes in slices: each answer is the whole pass's to rounding, and the same bits whatever happens between two slices.

use std::time::Duration;

use blindtune::domain::settings::Custody;
use blindtune::domain::taps::TapDtype;
use blindtune::domain::taps::TokenPick;
use blindtune::domain::taps::TokenPicks;
use blindtune::domain::tensor::WireTensor;
use blindtune::engine::Engine;
use blindtune::engine::EngineConfig;
use blindtune::engine::ForwardCall;

use crate::hidden::taps;
use crate::support::Case;
use crate::support::ROUNDING;
use crate::support::World;
use crate::support::call;
use crate::support::config;
use crate::support::difference;
use crate::support::job;
use crate::support::mild_cases;
use crate::support::spec;

/// Fewer tokens than any input has: each input is a slice.
fn cut() -> EngineConfig {
    EngineConfig { slice_tokens: 1, stack_tokens: 0, ..config() }
}

fn whole() -> EngineConfig {
    EngineConfig { slice_tokens: usize::MAX, stack_tokens: 0, ..config() }
}

async fn world(config: EngineConfig, case: &Case, dropout: f64) -> World {
    let mut spec = spec(job(1), case, Custody::Client);
    spec.settings.lora.dropout = dropout;
    let world = World::with(config, spec).await;
    for (set, theta) in case.theta() {
        world.engine.set_adapter(world.job, set, theta).await.expect("fits");
    }
    world
}

fn same(got: &[WireTensor], expected: &[WireTensor], what: &str) {
    let names = |tensors: &[WireTensor]| tensors.iter().map(|one| one.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(got), names(expected), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        if got.name() == "lengths" {
            assert_eq!(got, expected, "{what}");
            continue;
        }
        let difference = difference(got, expected);
        assert!(difference <= ROUNDING, "{what}: {} differs by {difference:e}", got.name());
    }
}

#[tokio::test]
async fn a_cut_pass_gives_the_whole_ones_activations_and_gradients_in_every_family() {
    for case in mild_cases() {
        let (cut, whole) = (world(cut(), &case, 0.0).await, world(whole(), &case, 0.0).await);
        let asked = || ForwardCall { base: true, ..call(&case, 1) };
        let got = cut.forward(asked()).await.expect("runs");
        let expected = whole.forward(asked()).await.expect("runs");
        assert_eq!(got.tokens, expected.tokens, "{}", case.name);
        same(&got.tensors, &expected.tensors, &case.name);
        same(&cut.gradients(1, case.shares()).await, &whole.gradients(1, case.shares()).await, &case.name);
    }
}

#[tokio::test]
async fn a_cut_evaluation_gives_the_whole_ones_rows_in_every_family() {
    for case in mild_cases() {
        let (cut, whole) = (world(cut(), &case, 0.0).await, world(whole(), &case, 0.0).await);
        for (adapters, base) in [(vec![0, 1], true), (vec![], true), (vec![1], false)] {
            let asked = || ForwardCall { keep: None, adapters: adapters.clone(), base, ..call(&case, 1) };
            let patience = Duration::from_secs(30);
            let got = cut.engine.evaluate(job(1), asked(), patience).await.expect("runs").answer;
            let expected = whole.engine.evaluate(job(1), asked(), patience).await.expect("runs").answer;
            same(&got.tensors, &expected.tensors, &case.name);
        }
    }
}

#[tokio::test]
async fn hidden_states_of_a_cut_pass_have_one_scale_for_all_rows() {
    let picks = TokenPicks::Some(vec![TokenPick::Cls, TokenPick::Mean]);
    for case in mild_cases() {
        let (cut, whole) = (world(cut(), &case, 0.0).await, world(whole(), &case, 0.0).await);
        for tokens in [TokenPicks::All, picks.clone()] {
            for dtype in [TapDtype::Float32, TapDtype::Int8] {
                let taps = taps(vec![0, 1], tokens.clone(), dtype);
                let asked = || ForwardCall { keep: None, adapters: Vec::new(), taps: taps.clone(), ..call(&case, 1) };
                let got = cut.forward(asked()).await.expect("runs").tensors;
                let expected = whole.forward(asked()).await.expect("runs").tensors;
                for (got, expected) in got.iter().zip(&expected) {
                    assert_eq!((got.name(), got.shape()), (expected.name(), expected.shape()), "{}", case.name);
                }
                let floats = |tensors: Vec<WireTensor>| -> Vec<WireTensor> {
                    tensors.into_iter().filter(|one| one.floats().is_some()).collect()
                };
                same(&floats(got), &floats(expected), &case.name);
            }
        }
    }
}

#[tokio::test]
async fn slices_whose_graphs_were_evicted_give_the_same_bits() {
    for case in mild_cases() {
        let kept = world(cut(), &case, 0.3).await;
        let evicted = world(EngineConfig { graphs_per_job: 0, ..cut() }, &case, 0.3).await;
        let (first, second) = (kept.forward(call(&case, 1)).await, evicted.forward(call(&case, 1)).await);
        assert_eq!(first.expect("runs").tensors, second.expect("runs").tensors, "{}", case.name);
        let (first, second) = (kept.gradients(1, case.shares()).await, evicted.gradients(1, case.shares()).await);
        assert_eq!(first, second, "{}", case.name);
    }
}

#[tokio::test]
async fn slices_draw_dropout_of_their_own() {
    let case = Case::read("bert-gelu-cls");
    let world = world(cut(), &case, 0.5).await;
    let mut asked = call(&case, 1);
    let blindtune::engine::Inputs::Tokens { ids, .. } = case.inputs() else { panic!("cases have ids") };
    let twice = vec![ids[0].clone(), ids[0].clone()];
    asked.inputs = blindtune::engine::Inputs::Tokens { ids: twice, types: None };
    let reply = world.forward(asked).await.expect("runs");
    let rows = reply.tensors[0].floats().expect("floats");
    let (first, second) = rows.split_at(rows.len() / 2);
    assert_ne!(first, second, "the same text twice, cut between the two");
}
