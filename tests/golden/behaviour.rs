//! What the engine promises besides its numbers: the same call gives the same bits whatever happened in between, and a call
//! that is refused changes nothing.

use std::fs;
use std::time::Duration;

use blindtune::domain::settings::Custody;
use blindtune::domain::settings::Pooling;
use blindtune::domain::tensor::Dtype;
use blindtune::domain::tensor::WireTensor;
use blindtune::engine::Engine;
use blindtune::engine::EngineConfig;
use blindtune::engine::EngineError;
use blindtune::engine::ForwardCall;
use blindtune::engine::Inputs;
use blindtune::engine::SessionSpec;
use blindtune::engine::Share;
use blindtune::engine::Start;
use blindtune::engine::inspect;

use crate::support::Case;
use crate::support::World;
use crate::support::call;
use crate::support::cases;
use crate::support::config;
use crate::support::id;
use crate::support::job;
use crate::support::spec;

fn case() -> Case {
    Case::read("bert-gelu-cls")
}

/// Where a call was refused, and why.
fn refused<T: std::fmt::Debug>(result: Result<T, EngineError>) -> (String, String) {
    match result {
        Err(EngineError::Invalid { place, reason }) => (place.to_string(), reason),
        other => panic!("not refused as invalid: {other:?}"),
    }
}

fn tokens(ids: Vec<Vec<i64>>) -> Inputs {
    Inputs::Tokens { ids, types: None }
}

fn spoiled(share: &Share, values: &[f32]) -> Share {
    let tensor = WireTensor::from_f32("s", share.tensor.shape().to_vec(), values).expect("fits");
    Share { tensor, ..share.clone() }
}

#[tokio::test]
async fn a_bad_share_is_refused_and_the_job_goes_on() {
    let case = case();
    let world = World::ready(&case, Custody::Host).await;
    world.forward(call(&case, 1)).await.expect("runs");
    let before = world.engine.snapshot(world.job).await.expect("writes").bytes;
    let good = case.share(1, 0);
    let values = good.tensor.floats().expect("floats");
    for (bad, said) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (1e9, "share_norm")] {
        let mut values = values.clone();
        values[20] = bad;
        let (param, reason) = refused(world.backward(1, vec![case.share(0, 0), spoiled(&good, &values)]).await);
        assert_eq!(param, "s.1.0");
        assert!(reason.contains(said), "{reason}");
    }
    assert_eq!(world.engine.snapshot(world.job).await.expect("writes").bytes, before);
    world.backward(1, case.shares()).await.expect("goes on");
}

#[tokio::test]
async fn a_share_must_have_the_shape_of_the_activations() {
    let case = case();
    let world = World::ready(&case, Custody::Client).await;
    world.forward(call(&case, 1)).await.expect("runs");
    for shape in [vec![1], vec![16], vec![1, 16], vec![6, 1], vec![16, 6], vec![6, 16, 1], vec![1, 1, 1, 1], vec![96]] {
        let tensor = WireTensor::from_f32("s", shape.clone(), &vec![0.5; shape.iter().product()]).expect("fits");
        let (param, reason) = refused(world.backward(1, vec![Share { set: 0, share: 1, tensor }]).await);
        assert_eq!(param, "s.0.1");
        assert!(reason.contains("[6, 16]") && reason.contains(&format!("{shape:?}")), "{reason}");
    }
    let integers = WireTensor::new("s", Dtype::I32, vec![6, 16], vec![0; 6 * 16 * 4].into()).expect("fits");
    refused(world.backward(1, vec![Share { set: 0, share: 0, tensor: integers }]).await);
}

#[tokio::test]
async fn shares_must_belong_to_the_forward() {
    let case = case();
    let world = World::ready(&case, Custody::Client).await;
    world.forward(ForwardCall { adapters: vec![1], ..call(&case, 1) }).await.expect("runs");
    assert_eq!(refused(world.backward(1, vec![case.share(0, 0)]).await).0, "s.0.0");
    assert_eq!(refused(world.backward(1, vec![case.share(1, 0), case.share(1, 0)]).await).0, "s.1.0");
    assert_eq!(refused(world.backward(1, Vec::new()).await).0, "shares");
    assert_eq!(refused(world.backward(1, vec![Share { share: 99, ..case.share(1, 0) }]).await).0, "s.1.99");
    assert_eq!(world.backward(2, vec![case.share(1, 0)]).await.err(), Some(EngineError::NoForward));
    assert_eq!(world.gradients(1, vec![case.share(1, 0)]).await.len(), 1);
}

#[tokio::test]
async fn bad_inputs_are_refused_by_number() {
    let case = case();
    let world = World::ready(&case, Custody::Client).await;
    let long = vec![5; world.info.max_tokens + 1];
    let types = |types: Vec<Vec<i64>>| Inputs::Tokens { ids: vec![vec![5, 6], vec![7]], types: Some(types) };
    let table = [
        (tokens(vec![vec![5], vec![60]]), "input 1"),
        (tokens(vec![vec![5], vec![6], vec![-1]]), "input 2"),
        (tokens(vec![vec![i64::MAX]]), "input 0"),
        (tokens(vec![vec![5], vec![]]), "input 1"),
        (tokens(vec![vec![5], long]), "input 1"),
        (tokens(vec![]), "inputs"),
        (types(vec![vec![0, 0]]), "token_type_ids"),
        (types(vec![vec![0, 0], vec![0, 0]]), "input 1"),
        (types(vec![vec![0, 2], vec![0]]), "input 0"),
        (Inputs::Texts(vec![("no tokenizer here".to_owned(), None)]), "texts"),
    ];
    for (inputs, expected) in table {
        assert_eq!(refused(world.forward(ForwardCall { inputs, ..call(&case, 1) }).await).0, expected);
    }
    world.forward(call(&case, 1)).await.expect("goes on");
}

#[tokio::test]
async fn too_much_at_once_is_refused_with_the_limit() {
    let case = case();
    let mut small = config();
    (small.limits.batch_rows, small.limits.batch_tokens, small.graph_bytes) = (4, 20, 60_000);
    let world = World::with(small, spec(job(1), &case, Custody::Client)).await;
    let table = [
        (vec![vec![5]; 5], "batch_rows"),
        (vec![vec![5; 6]; 4], "batch_tokens"),
        (vec![vec![5; 10]; 2], "graph_bytes"),
    ];
    for (ids, limit) in table {
        match world.forward(ForwardCall { inputs: tokens(ids), ..call(&case, 1) }).await {
            Err(EngineError::TooLarge(text)) => assert!(text.contains(limit), "{text}"),
            other => panic!("{limit}: {other:?}"),
        }
    }
    world.forward(ForwardCall { inputs: tokens(vec![vec![5; 4]]), ..call(&case, 1) }).await.expect("fits");
}

#[tokio::test]
async fn bad_adapter_values_are_refused_and_the_old_ones_stay() {
    let case = case();
    let world = World::ready(&case, Custody::Client).await;
    let before = world.engine.adapter(world.job, 0).await.expect("is there");
    let mut values = before.floats().expect("floats");
    let short = WireTensor::from_f32("x", vec![values.len() - 1], &values[1..]).expect("fits");
    let folded = WireTensor::from_f32("x", vec![values.len(), 1], &values).expect("fits");
    values[3] = f32::NEG_INFINITY;
    let infinite = WireTensor::from_f32("x", vec![values.len()], &values).expect("fits");
    for bad in [short, folded, infinite] {
        let theta = vec![(1, case.theta()[1].1.clone()), (0, bad.clone())];
        assert_eq!(refused(world.forward(ForwardCall { theta, ..call(&case, 1) }).await).0, "theta.0");
        assert_eq!(refused(world.engine.set_adapter(world.job, 0, bad).await).0, "theta.0");
    }
    assert_eq!(refused(world.engine.set_adapter(world.job, 2, before.clone()).await).0, "theta.2");
    assert_eq!(world.engine.adapter(world.job, 0).await, Ok(before));
}

#[tokio::test]
async fn custody_decides_who_steps() {
    let case = case();
    let host = World::ready(&case, Custody::Host).await;
    let theta = case.theta();
    assert_eq!(refused(host.forward(ForwardCall { theta, ..call(&case, 1) }).await).0, "theta.0");
    assert_eq!(refused(host.engine.optim_step(host.job, case.adamw()).await).0, "optim_step");
    let client = World::ready(&case, Custody::Client).await;
    assert_eq!(refused(client.engine.optim_step(client.job, case.adamw()).await).0, "custody");
}

#[tokio::test]
async fn a_step_to_values_that_are_not_finite_is_refused_and_undone() {
    let case = case();
    let world = World::ready(&case, Custody::Host).await;
    world.forward(call(&case, 1)).await.expect("runs");
    world.backward(1, case.shares()).await.expect("runs");
    let before = world.engine.snapshot(world.job).await.expect("writes").bytes;
    let mut adamw = case.adamw();
    adamw.lr = 1e300;
    assert_eq!(refused(world.engine.optim_step(world.job, adamw.clone()).await).0, "optim_step");
    adamw.lr = f64::NAN;
    assert_eq!(refused(world.engine.optim_step(world.job, adamw).await).0, "lr");
    assert_eq!(world.engine.snapshot(world.job).await.expect("writes").bytes, before);
    assert_eq!(world.engine.optim_step(world.job, case.adamw()).await.expect("goes on").answer.step, 1);
}

#[tokio::test]
async fn an_evicted_graph_comes_back_bit_for_bit() {
    for case in cases() {
        let mut spec = spec(job(1), &case, Custody::Client);
        spec.settings.lora.dropout = 0.3;
        let roomy = World::with(config(), spec.clone()).await;
        let tight = EngineConfig { graphs_per_job: 1, graph_ttl: Duration::ZERO, ..config() };
        let tight = World::with(tight, spec).await;
        let mut answers = Vec::new();
        for world in [&roomy, &tight] {
            let first = ForwardCall { theta: case.theta(), ..call(&case, 1) };
            let h = world.forward(first).await.expect("runs").tensors;
            // A later forward with other values takes the place of the graph, where there is room for one only.
            let other: Vec<f32> = case.theta()[0].1.floats().expect("floats").iter().map(|value| value * 0.5).collect();
            let other = WireTensor::from_f32("x", vec![other.len()], &other).expect("fits");
            world.forward(ForwardCall { theta: vec![(0, other)], ..call(&case, 2) }).await.expect("runs");
            answers.push((h, world.gradients(1, case.shares()).await, world.gradients(1, case.shares()).await));
        }
        assert_eq!(answers[0].1, answers[0].2, "{}: the second backward on a graph differs", case.name);
        assert_eq!(answers[0], answers[1], "{}", case.name);
    }
}

#[tokio::test]
async fn dropout_follows_the_seed_of_the_pass_and_nothing_else() {
    let case = case();
    let mut spec = spec(job(1), &case, Custody::Client);
    spec.settings.lora.dropout = 0.5;
    let world = World::with(config(), spec.clone()).await;
    let again = World::with(config(), spec).await;
    let call = |random, keep| ForwardCall { random, keep, theta: case.theta(), ..call(&case, 1) };
    let first = world.forward(call(1, Some(id(1)))).await.expect("runs").tensors;
    let second = world.forward(call(2, Some(id(2)))).await.expect("runs").tensors;
    assert_ne!(first, second, "the seed has no effect");
    assert_eq!(world.forward(call(1, Some(id(3)))).await.expect("runs").tensors, first);
    assert_eq!(again.forward(call(1, Some(id(1)))).await.expect("runs").tensors, first);
    let evaluated = world.forward(call(1, None)).await.expect("runs").tensors;
    assert_eq!(world.forward(call(2, None)).await.expect("runs").tensors, evaluated);
    crate::support::close(&case, &evaluated[0], "h.0", 1e-5);
}

#[tokio::test]
async fn two_jobs_side_by_side_equal_each_alone() {
    let (a, b) = (Case::read("bert-gelu-cls"), Case::read("roberta-cls"));
    let mut solo = Vec::new();
    for case in [&a, &b] {
        let world = World::ready(case, Custody::Host).await;
        for step in 1..=3 {
            train(&world, case, step).await;
        }
        solo.push(world.engine.snapshot(world.job).await.expect("writes").bytes);
    }
    let mut world = World::ready(&a, Custody::Host).await;
    world.engine.load(spec(job(2), &b, Custody::Host)).await.expect("loads");
    for (set, theta) in b.theta() {
        world.engine.set_adapter(job(2), set, theta).await.expect("fits");
    }
    for step in 1..=3 {
        for (number, case) in [(1, &a), (2, &b)] {
            world.job = job(number);
            train(&world, case, step).await;
        }
    }
    for (number, solo) in (1..).zip(solo) {
        assert_eq!(world.engine.snapshot(job(number)).await.expect("writes").bytes, solo);
    }
}

async fn train(world: &World, case: &Case, step: u128) {
    world.forward(call(case, step)).await.expect("runs");
    world.backward(step, case.shares()).await.expect("runs");
    world.engine.optim_step(world.job, case.adamw()).await.expect("steps");
}

#[tokio::test]
async fn a_snapshot_resumes_bit_for_bit() {
    let case = case();
    let world = World::ready(&case, Custody::Host).await;
    train(&world, &case, 1).await;
    world.forward(call(&case, 2)).await.expect("runs");
    world.backward(2, case.shares()).await.expect("runs");
    let taken = world.engine.snapshot(world.job).await.expect("writes");
    assert_eq!(taken.optimizer_steps, 1);
    let spec = SessionSpec { start: Start::Restored(taken.bytes.clone()), ..spec(job(1), &case, Custody::Host) };
    let resumed = World::with(config(), spec.clone()).await;
    assert_eq!(resumed.info.optimizer_steps, 1);
    assert_eq!(resumed.engine.snapshot(job(1)).await.expect("writes").bytes, taken.bytes);
    for world in [&world, &resumed] {
        world.engine.optim_step(world.job, case.adamw()).await.expect("steps");
        train(world, &case, 3).await;
    }
    let [a, b] = [world.engine.snapshot(job(1)).await, resumed.engine.snapshot(job(1)).await];
    assert_eq!(a.expect("writes").bytes, b.expect("writes").bytes);

    let mut other = spec;
    other.settings.lora.rank = 4;
    assert_eq!(refused(world.engine.load(other).await).0, "snapshot");
}

#[tokio::test]
async fn a_session_without_its_values_refuses_each_set_until_it_is_sent() {
    let case = case();
    let spec = SessionSpec { start: Start::Lost, ..spec(job(1), &case, Custody::Client) };
    let world = World::with(config(), spec).await;
    let lost = |set| Some(EngineError::AdaptersLost { set });
    let with = |theta: Vec<(usize, WireTensor)>| ForwardCall { theta, ..call(&case, 1) };
    assert_eq!(world.forward(with(Vec::new())).await.err(), lost(0));
    assert_eq!(world.forward(with(vec![case.theta()[0].clone()])).await.err(), lost(1), "the other set is lost still");
    assert_eq!(world.engine.adapter(world.job, 0).await.err(), lost(0), "a refused forward sends nothing");
    assert_eq!(world.engine.snapshot(world.job).await.err(), lost(0));
    let bare = ForwardCall { keep: None, adapters: Vec::new(), base: true, ..call(&case, 1) };
    world.forward(bare).await.expect("needs no adapters");
    world.engine.set_adapter(world.job, 1, case.theta()[1].1.clone()).await.expect("fits");
    let sent = world.forward(with(vec![case.theta()[0].clone()])).await.expect("runs").tensors;
    assert_eq!(World::ready(&case, Custody::Client).await.forward(call(&case, 1)).await.expect("runs").tensors, sent);
    world.engine.snapshot(world.job).await.expect("every set is there");
}

#[tokio::test]
async fn adapters_start_as_pefts_do_and_alike_on_every_machine() {
    let case = case();
    let world = World::new(&case, Custody::Client).await;
    let theta = world.engine.adapter(world.job, 0).await.expect("is there").floats().expect("floats");
    let other = world.engine.adapter(world.job, 1).await.expect("is there").floats().expect("floats");
    for slot in &world.info.layout {
        let values = &theta[slot.offset..slot.offset + slot.shape[0] * slot.shape[1]];
        if slot.name.contains("lora_B") {
            assert!(values.iter().all(|value| *value == 0.0));
            continue;
        }
        let bound = 1.0 / (slot.shape[1] as f32).sqrt();
        assert!(values.iter().all(|value| value.abs() <= bound));
        assert!(values.iter().any(|value| *value > bound / 2.0) && values.iter().any(|value| *value < -bound / 2.0));
        assert_ne!(values, &other[slot.offset..slot.offset + values.len()], "the sets start alike");
    }
    // Seed 7 on any machine: a change here would make jobs start differently after an update.
    assert_eq!(theta[..3], [-0.214_067_52, 0.138_060_84, -0.024_132_43]);
}

#[tokio::test]
async fn settings_that_do_not_fit_the_backbone_are_refused_by_name() {
    let case = case();
    let target = |name: &str| vec![name.to_owned()];
    let spoil = |spoil: &dyn Fn(&mut SessionSpec)| {
        let mut spec = spec(job(1), &case, Custody::Client);
        spoil(&mut spec);
        spec
    };
    let table = [
        (spoil(&|s| s.settings.lora.target_modules = target("q_proj")), "target_modules", "matches no module"),
        (spoil(&|s| s.settings.lora.target_modules = target("uery")), "target_modules", "matches no module"),
        (spoil(&|s| s.settings.lora.target_modules = target("LayerNorm")), "target_modules", "not a linear layer"),
        (spoil(&|s| s.settings.lora.rank_pattern = [("key".to_owned(), 2)].into()), "rank_pattern.key", "no module"),
        (spoil(&|s| s.settings.adapter_sets = 9), "adapter_sets", "from 1 to 8"),
        (spoil(&|s| s.settings.pooling = Some(Pooling::Eos)), "pooling", "eos"),
    ];
    let world = World::new(&case, Custody::Client).await;
    for (spec, field, said) in table {
        let (param, reason) = refused(world.engine.load(spec).await);
        assert!(param.ends_with(field), "{param}");
        assert!(reason.contains(said), "{reason}");
    }
    world.forward(call(&case, 1)).await.expect("the open session stays");
}

#[tokio::test]
async fn a_session_that_is_not_open_is_not_found() {
    let case = case();
    let world = World::ready(&case, Custody::Client).await;
    world.forward(call(&case, 1)).await.expect("runs");
    world.engine.close(world.job).await;
    assert_eq!(world.forward(call(&case, 2)).await.err(), Some(EngineError::NoSession));
    assert_eq!(world.backward(1, case.shares()).await.err(), Some(EngineError::NoSession));
    assert_eq!(world.engine.adapter(world.job, 0).await.err(), Some(EngineError::NoSession));
    assert_eq!(world.engine.snapshot(world.job).await.err(), Some(EngineError::NoSession));
}

#[test]
fn a_folder_of_pickles_is_refused_with_the_way_out() {
    let case = case();
    let folder = tempfile::tempdir().expect("a folder");
    fs::copy(case.folder.join("config.json"), folder.path().join("config.json")).expect("copies");
    let text = |folder: &std::path::Path| inspect(folder).expect_err("no weights").to_string();
    assert!(text(folder.path()).contains("no model.safetensors"));
    for pickle in ["pytorch_model.bin", "rust_model.ot", "model.pt"] {
        fs::write(folder.path().join(pickle), b"\x80\x02").expect("writes");
        let text = text(folder.path());
        assert!(text.contains(pickle) && text.contains("safe_serialization=True"), "{text}");
        fs::remove_file(folder.path().join(pickle)).expect("removes");
    }
}

#[test]
fn a_folder_that_lacks_a_tensor_is_refused_by_its_name() {
    let case = case();
    let folder = tempfile::tempdir().expect("a folder");
    let mut config: serde_json::Value =
        serde_json::from_slice(&fs::read(case.folder.join("config.json")).expect("reads")).expect("JSON");
    fs::copy(case.folder.join("model.safetensors"), folder.path().join("model.safetensors")).expect("copies");
    config["num_hidden_layers"] = 3.into();
    fs::write(folder.path().join("config.json"), config.to_string()).expect("writes");
    let text = inspect(folder.path()).expect_err("a layer is missing").to_string();
    assert!(text.contains("encoder.layer.2.attention.self.query.weight"), "{text}");
    config["num_hidden_layers"] = 2.into();
    config["intermediate_size"] = 32.into();
    fs::write(folder.path().join("config.json"), config.to_string()).expect("writes");
    let text = inspect(folder.path()).expect_err("the sizes differ").to_string();
    assert!(text.contains("encoder.layer.0.intermediate.dense.weight") && text.contains("[64, 16]"), "{text}");
}

#[test]
fn a_folder_tells_what_it_holds() {
    let info = inspect(&Case::read("roberta-cls").folder).expect("fits");
    assert_eq!((info.family.as_str(), info.hidden_size, info.layers, info.max_tokens), ("roberta", 16, 2, 38));
    assert_eq!((info.vocab_size, info.token_types), (60, 1));
    assert!(info.parameters > 5000 && info.bytes > 4 * info.parameters);
}

#[tokio::test]
async fn all_linear_is_every_linear_layer_spelled_out() {
    for (name, layers, short) in [
        ("bert-gelu-cls", 2 * 6, "attention.self.query"),
        ("deberta-v2-conv-all-cls", 3 * 8, "attention.self.pos_key_proj"),
        ("llama3-last", 2 * 7, "mlp.down_proj"),
        ("flan-t5-eos", 2 * 7 + 3 * 11, "EncDecAttention.o"),
    ] {
        let case = Case::read(name);
        let mut spec = spec(job(1), &case, Custody::Client);
        spec.settings.lora.target_modules = vec!["all-linear".to_owned()];
        spec.settings.lora.rank_pattern.clear();
        spec.settings.lora.alpha_pattern.clear();
        let world = World::with(config(), spec).await;
        assert_eq!(world.info.layout.len(), 2 * layers, "{name}");
        // PEFT takes a list of names, not the word in a list.
        assert!(world.info.target_modules.iter().any(|target| target == short), "{:?}", world.info.target_modules);
        assert!(!world.info.target_modules.iter().any(|target| target == "all-linear"));
    }
}

#[tokio::test]
async fn an_input_without_the_token_at_the_cut_is_refused_by_number() {
    let case = Case::read("flan-t5-eos");
    let world = World::ready(&case, Custody::Client).await;
    let inputs = tokens(vec![vec![5, 6, 1], vec![7, 8]]);
    let (param, reason) = refused(world.forward(ForwardCall { inputs, ..call(&case, 1) }).await);
    assert!(param == "input 1" && reason.contains("end-of-sequence token (id 1)"), "{param}: {reason}");
}
