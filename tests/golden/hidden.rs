//! Hidden states are those of transformers' `output_hidden_states`, level by level: 1e-5 relative in float32; and what is made of them
//! on the way out is what one would make of them at home.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use blindtune::domain::settings::Custody;
use blindtune::domain::settings::Precision;
use blindtune::domain::taps::TapDtype;
use blindtune::domain::taps::Taps;
use blindtune::domain::taps::TokenPick;
use blindtune::domain::taps::TokenPicks;
use blindtune::domain::tensor::Dtype;
use blindtune::domain::tensor::WireTensor;
use blindtune::engine::EngineConfig;
use blindtune::engine::EngineError;
use blindtune::engine::ForwardCall;
use blindtune::engine::Inputs;
use blindtune::engine::Place;
use blindtune::engine::quantize;
use blindtune::model;
use blindtune::model::Placement;
use blindtune::model::packing::Packed;
use blindtune::model::packing::Unpacked;

use crate::nf4::dequantized;
use crate::support::Case;
use crate::support::World;
use crate::support::call;
use crate::support::cases;
use crate::support::close;
use crate::support::config;
use crate::support::difference;
use crate::support::id;
use crate::support::job;
use crate::support::mild_cases;
use crate::support::named;
use crate::support::spec;

const MOST: f64 = 1e-5;

fn picks() -> TokenPicks {
    TokenPicks::Some(TokenPick::ALL.to_vec())
}

pub fn taps(levels: impl IntoIterator<Item = usize>, tokens: TokenPicks, dtype: TapDtype) -> Option<Arc<Taps>> {
    Some(Arc::new(Taps { levels: levels.into_iter().collect(), tokens, dtype, transform: None, alone: false }))
}

fn asks(case: &Case, taps: Option<Arc<Taps>>) -> ForwardCall {
    ForwardCall { keep: None, adapters: Vec::new(), taps, ..call(case, 1) }
}

/// The case's hidden states, of every level and token.
async fn all(world: &World, case: &Case) -> Vec<WireTensor> {
    let every = taps(0..world.info.levels, TokenPicks::All, TapDtype::Float32);
    world.forward(asks(case, every)).await.expect("runs").tensors
}

#[tokio::test]
async fn every_level_equals_transformers() {
    for case in cases() {
        let case = case.with_hidden();
        let world = World::new(&case, Custody::Client).await;
        let expected = case.tensors.keys().filter(|name| name.starts_with("hidden.")).count();
        assert_eq!(world.info.levels, expected, "{}", case.name);
        let got = all(&world, &case).await;
        assert_eq!(got.len(), expected + 1, "{}: and lengths", case.name);
        for level in 0..expected {
            let name = format!("hidden.{level}");
            close(&case, named(&got)[&*name], &name, MOST);
        }
    }
}

/// Inputs' rows of states `[N, H]`.
fn by_input<'a>(states: &'a [f32], lengths: &[i64], width: usize) -> Vec<Vec<&'a [f32]>> {
    let mut rows = states.chunks_exact(width);
    lengths.iter().map(|&length| rows.by_ref().take(length as usize).collect()).collect()
}

fn at_home(pick: TokenPick, rows: &[&[f32]]) -> Vec<f32> {
    let over = |fold: fn(f64, f64) -> f64, first: f64| {
        (0..rows[0].len()).map(move |i| rows.iter().map(|row| f64::from(row[i])).fold(first, fold))
    };
    match pick {
        TokenPick::Cls => rows[0].to_vec(),
        TokenPick::Last => rows[rows.len() - 1].to_vec(),
        TokenPick::Max => over(f64::max, f64::NEG_INFINITY).map(|most| most as f32).collect(),
        TokenPick::Mean => over(|a, b| a + b, 0.0).map(|sum| (sum / rows.len() as f64) as f32).collect(),
    }
}

#[tokio::test]
async fn picks_are_what_all_tokens_give_at_home() {
    for case in cases() {
        let world = World::new(&case, Custody::Client).await;
        let whole = all(&world, &case).await;
        let whole = named(&whole);
        let lengths = whole["lengths"].integers().expect("integers");
        let levels = [0, world.info.levels - 1];
        let reply = world.forward(asks(&case, taps(levels, picks(), TapDtype::Float32))).await.expect("runs");
        assert_eq!(reply.tensors.len(), 8, "two levels, four picks, no lengths");
        let got = named(&reply.tensors);
        for (level, pick) in levels.into_iter().flat_map(|level| TokenPick::ALL.map(|pick| (level, pick))) {
            let all = whole[&*format!("hidden.{level}")];
            let states = all.floats().expect("floats");
            let rows = by_input(&states, &lengths, all.shape()[1]);
            let values: Vec<f32> = rows.iter().flat_map(|rows| at_home(pick, rows)).collect();
            let name = format!("hidden.{level}.{}", pick.name());
            let expected = WireTensor::from_f32("", vec![lengths.len(), all.shape()[1]], &values).expect("fits");
            let most = if pick == TokenPick::Mean { 1e-5 } else { 0.0 };
            assert!(difference(got[&*name], &expected) <= most, "{}: {name}", case.name);
        }
    }
}

#[tokio::test]
async fn some_levels_are_the_same_bits_as_all() {
    for case in cases() {
        let world = World::new(&case, Custody::Client).await;
        let whole = all(&world, &case).await;
        for level in 0..world.info.levels {
            let one = taps([level], TokenPicks::All, TapDtype::Float32);
            let reply = world.forward(asks(&case, one)).await.expect("runs");
            let names: Vec<&str> = reply.tensors.iter().map(WireTensor::name).collect();
            assert_eq!(names, [&*format!("hidden.{level}"), "lengths"]);
            assert_eq!(&reply.tensors[0], named(&whole)[names[0]], "{}", case.name);
        }
    }
}

#[tokio::test]
async fn the_last_level_is_what_activations_without_a_pool_are() {
    for case in cases().into_iter().filter(|case| case.json["pooling"] == "none") {
        let world = World::new(&case, Custody::Client).await;
        let base = ForwardCall { keep: None, adapters: Vec::new(), base: true, ..call(&case, 1) };
        let base = world.forward(base).await.expect("runs").tensors;
        let last = taps([world.info.levels - 1], TokenPicks::All, TapDtype::Float32);
        let last = world.forward(asks(&case, last)).await.expect("runs").tensors;
        assert_eq!((last[0].bytes(), &last[1]), (base[0].bytes(), &base[1]), "{}", case.name);
    }
}

#[test]
fn a_pass_ends_with_the_last_level_that_is_wanted() {
    for case in cases() {
        let Inputs::Tokens { ids, types } = case.inputs() else { panic!("cases have ids") };
        let backbone = model::load(&case.folder, Placement::default()).expect("loads");
        let unpacked = Unpacked { ids: &ids, types: types.as_deref(), eos: None };
        let packed = Packed::new(unpacked, tch::Device::Cpu).expect("packs");
        for last in 0..backbone.info().levels {
            let mut seen = Vec::new();
            let mut visit = |level: usize, _: &tch::Tensor| {
                seen.push(level);
                Ok(if level == last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            };
            backbone.hidden_states(&packed, &mut visit).expect("runs");
            assert_eq!(seen, (0..=last).collect::<Vec<_>>(), "{}", case.name);
        }
    }
}

fn widened(tensor: &WireTensor) -> Vec<f32> {
    let two = tensor.bytes().as_chunks::<2>().0.iter().map(|two| u16::from_le_bytes(*two));
    match tensor.dtype() {
        Dtype::BF16 => two.map(|bits| f32::from_bits(u32::from(bits) << 16)).collect(),
        Dtype::F16 => two.map(half).collect(),
        other => panic!("{other:?}"),
    }
}

/// The value of a 16-bit float.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023) / 1024.0);
    match exponent {
        31 => sign * f32::INFINITY,
        0 => sign * fraction * 2_f32.powi(-14),
        exponent => sign * (1.0 + fraction) * 2_f32.powi(exponent - 15),
    }
}

#[tokio::test]
async fn narrow_types_are_float32_to_their_rounding() {
    for (case, tokens) in [("bert-gelu-cls", TokenPicks::All), ("flan-t5-eos", picks())] {
        let case = Case::read(case);
        let world = World::new(&case, Custody::Client).await;
        let ask = async |dtype| {
            let taps = taps(0..world.info.levels, tokens.clone(), dtype);
            world.forward(asks(&case, taps)).await.expect("runs").tensors
        };
        let exact = ask(TapDtype::Float32).await;
        for (dtype, bits) in [(TapDtype::Float16, 11), (TapDtype::Bfloat16, 8)] {
            for (got, exact) in ask(dtype).await.iter().zip(&exact).filter(|(got, _)| got.name() != "lengths") {
                assert_eq!((got.dtype(), got.name()), (dtype.wire(), exact.name()));
                let most = 2_f32.powi(-bits);
                let pairs = widened(got).into_iter().zip(exact.floats().expect("floats"));
                for (got, exact) in pairs {
                    assert!((got - exact).abs() <= most * exact.abs() + 1e-7, "{dtype:?}: {got} for {exact}");
                }
            }
        }
        let narrow = ask(TapDtype::Int8).await;
        let expected: HashMap<String, WireTensor> = exact
            .iter()
            .filter(|tensor| tensor.name() != "lengths")
            .flat_map(|tensor| quantize(tensor).expect("quantizes"))
            .map(|tensor| (tensor.name().to_owned(), tensor))
            .collect();
        assert_eq!(narrow.iter().filter(|tensor| tensor.name() != "lengths").count(), expected.len());
        for tensor in narrow.iter().filter(|tensor| tensor.name() != "lengths") {
            assert_eq!(tensor, &expected[tensor.name()], "{}", case.name);
        }
    }
}

#[tokio::test]
async fn a_bfloat16_backbone_stays_within_two_percent() {
    for case in mild_cases() {
        let plain = World::new(&case, Custody::Client).await;
        let mut spec = spec(job(1), &case, Custody::Client);
        spec.settings.precision = Precision::Bfloat16;
        let rough = World::with(config(), spec).await;
        for (got, exact) in all(&rough, &case).await.iter().zip(&all(&plain, &case).await) {
            if got.name() != "lengths" {
                let difference = difference(got, exact);
                assert!(difference <= 2e-2, "{}: {} differs by {difference:e}", case.name, got.name());
            }
        }
    }
}

#[tokio::test]
async fn levels_of_a_four_bit_backbone_are_those_of_its_dequantized_weights() {
    let case = Case::read("llama2-last");
    let mut four = spec(job(1), &case, Custody::Client);
    four.settings.precision = Precision::Nf4;
    let folder = tempfile::tempdir().expect("a folder");
    dequantized(&case, folder.path(), false);
    let mut plain = spec(job(1), &case, Custody::Client);
    plain.folder = folder.path().to_owned();
    let (four, plain) = (World::with(config(), four).await, World::with(config(), plain).await);
    let (got, expected) = (all(&four, &case).await, all(&plain, &case).await);
    for (got, expected) in got.iter().zip(&expected).filter(|(got, _)| got.name() != "lengths") {
        assert!(difference(got, expected) < MOST, "{}", got.name());
    }
    let own = case.with_hidden();
    assert!(difference(&got[1], &own.tensors["hidden.1"]) > 1e-3, "and they are not the file's own");
}

#[tokio::test]
async fn what_a_pass_cannot_give_is_refused() {
    let case = Case::read("bert-gelu-cls");
    let world = World::new(&case, Custody::Client).await;
    let all_of = |levels: Vec<usize>| taps(levels, TokenPicks::All, TapDtype::Float32);
    for call in [
        asks(&case, all_of(vec![3])),
        asks(&case, all_of(vec![])),
        asks(&case, all_of(vec![1, 1])),
        asks(&case, all_of(vec![1, 0])),
        ForwardCall { base: true, ..asks(&case, all_of(vec![0])) },
        ForwardCall { adapters: vec![0], ..asks(&case, all_of(vec![0])) },
        ForwardCall { keep: Some(id(1)), ..asks(&case, all_of(vec![0])) },
    ] {
        let refused = world.forward(call).await.expect_err("refused");
        assert!(matches!(refused, EngineError::Invalid { place: Place::Field("layers"), .. }), "{refused}");
    }
}

#[tokio::test]
async fn what_is_kept_counts_against_the_budget() {
    let case = Case::read("bert-gelu-cls");
    let Inputs::Tokens { ids, .. } = case.inputs() else { panic!("cases have ids") };
    let tokens: usize = ids.iter().map(Vec::len).sum();
    // Two layers' worth of a pass, and one level of [N, 16].
    let pass = tokens * (7 * 16 + 64) * 4 * 2 + tokens * 16 * 4;
    let world =
        |graph_bytes| World::with(EngineConfig { graph_bytes, ..config() }, spec(job(1), &case, Custody::Client));
    let world = world(pass + 4096).await;
    let of = |levels: std::ops::Range<usize>| asks(&case, taps(levels, TokenPicks::All, TapDtype::Float32));
    world.forward(of(0..1)).await.expect("fits");
    assert!(matches!(world.forward(of(0..3)).await, Err(EngineError::TooLarge(_))));
}
