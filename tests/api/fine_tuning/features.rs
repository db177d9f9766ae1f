//! Jobs of method `features`: worked off by the host, results as files.

use safetensors::Dtype;
use serde_json::Value;
use serde_json::json;

use crate::client::Client;
use crate::client::OCTETS;
use crate::client::Tensor;
use crate::client::Tensors;
use crate::client::unpack;
use crate::features::contents;
use crate::features::features_job;
use crate::features::files;
use crate::features::joined;
use crate::features::jsonl;
use crate::features::rows;
use crate::features::succeeded;
use crate::host::until;
use crate::world::MODEL;
use crate::world::World;
use crate::world::batch;

/// What `/v1/activations` gives of the same rows.
async fn activations(client: &Client, count: usize, settings: &Value) -> Tensors {
    let mut body = json!({"model": MODEL, "input": rows(count)});
    body.as_object_mut().expect("an object").extend(settings.as_object().expect("an object").clone());
    let call = client.call(reqwest::Method::POST, "/v1/activations").header("accept", OCTETS);
    call.json(&body).send().await.tensors()
}

/// The values of a tensor.
fn values_of(tensor: &Tensor) -> Vec<f32> {
    match tensor.dtype {
        Dtype::F32 => tensor.floats(),
        Dtype::I8 => tensor.bytes.iter().map(|byte| f32::from(byte.cast_signed())).collect(),
        Dtype::BF16 => {
            let halves = tensor.bytes.as_chunks::<2>().0.iter();
            halves.map(|half| f32::from_bits(u32::from(u16::from_le_bytes(*half)) << 16)).collect()
        }
        _ => tensor.bytes.iter().map(|byte| f32::from(*byte)).collect(),
    }
}

/// How far apart two roundings of nearly this number can be.
fn step(dtype: Dtype, value: f32) -> f32 {
    match dtype {
        Dtype::I8 => 1.0,
        Dtype::BF16 => value.abs() / 64.0,
        _ => 0.0,
    }
}

/// Rows of a larger pass may differ so much: without AVX-512 oneDNN adds up a row in another order when there are more.
const ROUNDING: f32 = 1e-5;

/// The largest difference of two tables of tensors with the same names and shapes, beyond a step of their element type.
fn distance(a: &Tensors, b: &Tensors) -> f32 {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    let mut most = 0_f32;
    for (name, one) in a {
        assert_eq!((&one.shape, one.dtype), (&b[name].shape, b[name].dtype), "{name}");
        let pairs = values_of(one).into_iter().zip(values_of(&b[name]));
        most = pairs.fold(most, |most, (x, y)| most.max((x - y).abs() - step(one.dtype, x)));
    }
    most
}

#[tokio::test]
async fn every_row_has_the_hidden_states_that_activations_gives() {
    let world = World::new().await;
    let file = world.file("rows.jsonl", &jsonl(20)).await;
    for settings in [json!({}), json!({"layers": 2, "tokens": ["cls", "mean", "max", "last"]}), json!({"layers": [1]})]
    {
        let view = succeeded(&features_job(&world.client, &file, &settings).await).await;
        let contents = contents(&world.client, &view).await;
        assert_eq!(contents.len(), 3, "8, 8 and 4 rows");
        let expected = activations(&world.client, 20, &settings_or_all(&settings)).await;
        let found = joined(&contents);
        assert!(distance(&found, &expected) <= ROUNDING, "{settings}: {}", distance(&found, &expected));
    }
}

fn settings_or_all(settings: &Value) -> Value {
    if settings == &json!({}) { json!({"layers": "all"}) } else { settings.clone() }
}

#[tokio::test]
async fn a_features_job_has_the_shape_that_stock_clients_read() {
    let world = World::new().await;
    let file = world.file("rows.jsonl", &jsonl(20)).await;
    let job = features_job(&world.client, &file, &json!({"layers": 2, "tokens": "mean", "dtype": "float16"})).await;
    let view = succeeded(&job).await;
    for (field, expected) in [
        ("object", json!("fine_tuning.job")),
        ("model", json!(MODEL)),
        ("training_file", json!(file)),
        ("error", json!(null)),
        ("fine_tuned_model", json!(null)),
        ("hyperparameters", json!({})),
        ("protection", json!("blind")),
        ("split", json!(null)),
        ("validation_file", json!(null)),
    ] {
        assert_eq!(view.get(field), Some(&expected), "{field}");
    }
    let features = &view["method"]["features"];
    assert_eq!((&view["method"]["type"], &view["method"]["split"]), (&json!("features"), &json!(null)));
    assert_eq!((&features["tokens"], &features["dtype"]), (&json!("mean"), &json!("float16")));
    let levels = features["layers"].as_array().expect("the levels, settled").len();
    let bytes = 20 * levels * crate::world::WIDTH * 2;
    assert_eq!(levels, 2);
    let state = &view["features"];
    assert_eq!((&state["rows"], &state["rows_done"]), (&json!(20), &json!(20)));
    assert_eq!((&state["expected_bytes"], &state["hidden_size"]), (&json!(bytes), &json!(16)));
    assert!(view["trained_tokens"].as_u64().is_some_and(|tokens| tokens == 20 * 2 + 60), "{view}");
    let mut total = 0;
    for (number, id) in files(&view).iter().enumerate() {
        let object = world.client.get(&format!("/v1/files/{id}")).await.ok_json();
        assert_eq!(object["purpose"], "fine-tune-results");
        assert_eq!(object["filename"], json!(format!("features.{number:05}.safetensors")));
        assert_eq!(object["rows"], json!([8, 8, 4][number]));
        let life = object["expires_at"].as_i64().expect("it expires") - object["created_at"].as_i64().expect("a time");
        assert_eq!(life, 7 * 86_400);
        total += object["bytes"].as_u64().expect("a size");
    }
    assert_eq!(state["bytes"], json!(total));
}

#[tokio::test]
async fn a_shard_says_what_it_holds_and_the_same_job_gives_the_same_bytes() {
    let world = World::new().await;
    let long = format!("{}\n", json!({"text": "w5 ".repeat(39)})); // with [CLS] and [SEP] 41 tokens
    let file = world.file("rows.jsonl", &(jsonl(19) + &long)).await;
    let settings = json!({"layers": [0, 1], "tokens": "all", "dtype": "bfloat16"});
    let first = succeeded(&features_job(&world.client, &file, &settings).await).await;
    let again = succeeded(&features_job(&world.client, &file, &settings).await).await;
    let shards = contents(&world.client, &first).await;
    assert!(shards == contents(&world.client, &again).await, "the bytes differ");
    assert_ne!(files(&first), files(&again));
    for (shard, counts) in shards.iter().zip([[0, 8, 0], [8, 8, 0], [16, 4, 1]]) {
        let (tensors, said) = unpack(shard);
        assert_eq!(
            ["first_row", "rows", "truncated"].map(|name| said[name].clone()),
            counts.map(|one| one.to_string())
        );
        assert_eq!((&*said["layers"], &*said["tokens"], &*said["dtype"]), ("[0,1]", "all", "bfloat16"));
        assert_eq!((&*said["model"], &*said["precision"]), (MODEL, "float32"));
        assert_eq!(said["blindtune"], env!("CARGO_PKG_VERSION"));
        assert_eq!(tensors["lengths"].shape, [counts[1]]);
        assert_eq!(tensors["hidden.0"].dtype, Dtype::BF16);
    }
}

#[tokio::test]
async fn progress_is_told_by_events_and_counted_for_the_key() {
    let world = World::new().await;
    let file = world.file("rows.jsonl", &jsonl(20)).await;
    let job = features_job(&world.client, &file, &json!({"tokens": "cls"})).await;
    let view = succeeded(&job).await;
    let events = world.client.get(&job.path("/events?limit=100")).await.ok_json();
    let events = events["data"].as_array().expect("a list");
    let shards: Vec<&Value> = events.iter().rev().filter(|event| event["data"]["file"].is_string()).collect();
    let said: Vec<&str> = shards.iter().filter_map(|event| event["message"].as_str()).collect();
    assert_eq!(
        said,
        ["Features of rows 0 to 7 written", "Features of rows 8 to 15 written", "Features of rows 16 to 19 written"]
    );
    assert_eq!(shards[1]["data"], json!({"file": files(&view)[1], "first_row": 8, "rows": 8}));
    assert_eq!(events[0]["message"], "Fine-tuning job is succeeded");
    let usage = world.client.get("/v1/usage").await.ok_json();
    assert_eq!(usage["total"]["inference_tokens"], view["trained_tokens"], "{usage}");
    assert!(usage["total"]["device_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{usage}");
}

#[tokio::test]
async fn a_result_is_read_in_ranges_and_deleted_like_any_file() {
    let world = World::new().await;
    let file = world.file("rows.jsonl", &jsonl(8)).await;
    let view = succeeded(&features_job(&world.client, &file, &json!({})).await).await;
    let [result] = &files(&view)[..] else { panic!("{view}") };
    let path = format!("/v1/files/{result}/content");
    let whole = world.client.get(&path).await.ok();
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let part = async |range: &str| world.client.call(reqwest::Method::GET, &path).header("range", range).send().await;
    let (total, mut read) = (whole.body.len(), Vec::new());
    for first in (0..total).step_by(1000) {
        let reply = part(&format!("bytes={first}-{}", first + 999)).await;
        let last = (first + 999).min(total - 1);
        assert_eq!((reply.status, reply.header("content-range")), (206, &*format!("bytes {first}-{last}/{total}")));
        read.extend(reply.body);
    }
    assert!(read == whole.body, "the parts make the whole");
    let beyond = part(&format!("bytes={total}-")).await;
    beyond.refused(416, "range_not_satisfiable");
    assert_eq!(beyond.header("content-range"), format!("bytes */{total}"));
    world.client.delete(&format!("/v1/files/{result}")).await.ok();
    world.client.get(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn files_live_as_long_as_the_job_says() {
    let world = World::new().await;
    let file = world.file("rows.jsonl", &jsonl(4)).await;
    let settings = json!({"tokens": "cls", "expires_after": {"anchor": "created_at", "seconds": 3600}});
    let view = succeeded(&features_job(&world.client, &file, &settings).await).await;
    let object = world.client.get(&format!("/v1/files/{}", files(&view)[0])).await.ok_json();
    assert_eq!(object["expires_at"].as_i64(), object["created_at"].as_i64().map(|at| at + 3600));
}

#[tokio::test]
async fn a_job_pauses_resumes_and_is_cancelled_between_shards() {
    let world = World::new().await;
    let file = world.file("rows.jsonl", &jsonl(4000)).await;
    let job = features_job(&world.client, &file, &json!({"tokens": "cls"})).await;
    let done = async || job.view().await["features"]["rows_done"].as_u64().expect("a number");
    until("a shard", async || done().await > 0).await;
    job.verb("pause").await.ok();
    let paused = job.view().await;
    assert_eq!(
        (&paused["status"], &paused["status_details"]),
        (&json!("paused"), &json!("It goes on when it is resumed."))
    );
    world.client.delete(&format!("/v1/files/{file}")).await.refused(409, "file_in_use");
    tokio::time::sleep(std::time::Duration::from_millis(700)).await; // longer than the worker's look: nothing may happen in it
    assert_eq!(job.view().await, paused, "a paused job is not worked on");
    job.verb("resume").await.ok();
    let before = paused["features"]["rows_done"].as_u64().expect("a number");
    until("another shard", async || done().await > before).await;
    let cancelled = job.verb("cancel").await.ok_json();
    assert_eq!((&cancelled["status"], &cancelled["status_details"]), (&json!("cancelled"), &json!(null)));
    let contents = contents(&world.client, &cancelled).await;
    let rows: usize =
        contents.iter().map(|content| unpack(content).1["rows"].parse::<usize>().expect("a number")).sum();
    assert_eq!(json!(rows), cancelled["features"]["rows_done"], "what is listed is what is done");
    world.client.delete(&format!("/v1/files/{file}")).await.ok();
}

#[tokio::test]
async fn jobs_take_turns_and_steps_get_theirs() {
    let world = World::new().await;
    let file = world.file("rows.jsonl", &jsonl(4000)).await;
    let first = features_job(&world.client, &file, &json!({"tokens": "cls"})).await;
    let done = async |job: &crate::world::Job| job.view().await["features"]["rows_done"].as_u64().expect("a number");
    until("the first has begun", async || done(&first).await > 0).await;
    let second = features_job(&world.client, &file, &json!({"tokens": "mean"})).await;
    until("the second has had three turns", async || done(&second).await >= 24).await;
    assert_eq!(first.status().await, "running", "the second did not wait for the first to end");
    let mut split = world.job(json!({"adapter_sets": 1})).await;
    for _ in 0..10 {
        split.step_ok().await;
    }
    assert_eq!((first.status().await, second.status().await), ("running".to_owned(), "running".to_owned()));
    split.evaluate(&batch()).await;
    first.verb("cancel").await.ok();
    second.verb("cancel").await.ok();
}

#[tokio::test]
async fn an_estimate_says_what_the_features_will_take() {
    let world = World::new().await;
    let file = world.file("rows.jsonl", &jsonl(20)).await;
    let settings = json!({"layers": "all", "tokens": "all", "dtype": "float32"});
    let method = json!({"type": "features", "features": settings});
    let body = json!({"model": MODEL, "training_file": file, "method": method});
    let estimate = world.client.post("/v1/fine_tuning/estimate", &body).await.ok_json();
    let view = succeeded(&features_job(&world.client, &file, &settings).await).await;
    assert_eq!(estimate["result_bytes"], view["features"]["expected_bytes"]);
    let tensors = joined(&contents(&world.client, &view).await);
    let bytes: usize = tensors.values().map(|tensor| tensor.bytes.len()).sum();
    assert_eq!(estimate["result_bytes"], json!(bytes), "headers are left out");
    assert_eq!((&estimate["tokens"], &estimate["rows"]), (&view["trained_tokens"], &json!(20)));
    assert!(estimate["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{estimate}");
    let sizes = json!({"model": MODEL, "rows": 1000, "tokens_per_row": 9, "method": {"type": "features"}});
    let larger = world.client.post("/v1/fine_tuning/estimate", &sizes).await.ok_json();
    assert_eq!(larger["trained_tokens"], json!(9000));
}

/// The rows `[n, d]` of a float32 tensor.
fn matrix(tensors: &Tensors, name: &str) -> Vec<Vec<f64>> {
    let tensor = tensors.get(name).unwrap_or_else(|| panic!("no {name}"));
    let width = tensor.shape[1];
    tensor.floats().chunks_exact(width).map(|row| row.iter().map(|value| f64::from(*value)).collect()).collect()
}

/// `(row - mean) components`, as the transform's file says.
fn projected(rows: &[Vec<f64>], transform: &Tensors, suffix: &str) -> Vec<Vec<f64>> {
    let mean = transform[&format!("mean.{suffix}")].floats();
    let components = matrix(transform, &format!("components.{suffix}"));
    let dim = components[0].len();
    let along = |row: &Vec<f64>, to: usize| -> f64 {
        row.iter().zip(&mean).zip(&components).map(|((value, mean), from)| (value - f64::from(*mean)) * from[to]).sum()
    };
    rows.iter().map(|row| (0..dim).map(|to| along(row, to)).collect()).collect()
}

#[tokio::test]
async fn a_projection_is_what_its_file_says() {
    let world = World::new().await;
    let file = world.file("rows.jsonl", &jsonl(20)).await;
    let whole = activations(&world.client, 20, &json!({"layers": [0, 2], "tokens": ["mean"]})).await;
    for kind in ["pca", "orthogonal"] {
        let settings = json!({"layers": [0, 2], "tokens": "mean", "project": {"kind": kind, "dim": 5, "seed": 3}});
        let view = succeeded(&features_job(&world.client, &file, &settings).await).await;
        let contents = contents(&world.client, &view).await;
        assert_eq!(contents.len(), 4, "the transform, and three shards");
        let (transform, said) = unpack(&contents[0]);
        assert!(!said.contains_key("rows") && said["project"].contains(kind), "{said:?}");
        let features = joined(&contents[1..]);
        for suffix in ["0.mean", "2.mean"] {
            let name = format!("hidden.{suffix}");
            let expected = projected(&matrix(&whole, &name), &transform, suffix);
            for (found, expected) in matrix(&features, &name).iter().flatten().zip(expected.iter().flatten()) {
                assert!((found - expected).abs() < 1e-5, "{kind} {name}: {found} and {expected}");
            }
        }
    }
}

/// Variance of a column.
fn variance(rows: &[Vec<f64>], column: usize) -> f64 {
    let values: Vec<f64> = rows.iter().map(|row| row[column]).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / values.len() as f64
}

#[tokio::test]
async fn principal_components_keep_the_most_variance_in_order() {
    let world = World::new().await;
    let file = world.file("rows.jsonl", &jsonl(40)).await;
    let all = json!({"layers": [1], "tokens": "cls", "project": {"kind": "pca", "dim": 16}});
    let view = succeeded(&features_job(&world.client, &file, &all).await).await;
    let rows = matrix(&joined(&contents(&world.client, &view).await[1..]), "hidden.1.cls");
    let variances: Vec<f64> = (0..16).map(|column| variance(&rows, column)).collect();
    assert!(variances.windows(2).all(|pair| pair[0] >= pair[1] - 1e-9), "{variances:?}");
    let plain = activations(&world.client, 40, &json!({"layers": [1], "tokens": "cls"})).await;
    let total: f64 = (0..16).map(|column| variance(&matrix(&plain, "hidden.1.cls"), column)).sum();
    assert!((variances.iter().sum::<f64>() - total).abs() < 1e-5 * total, "a rotation keeps the variance");
    for column in 0..16 {
        assert!(rows.iter().map(|row| row[column]).sum::<f64>().abs() < 1e-3, "centred");
    }
}

#[tokio::test]
async fn other_texts_get_the_features_of_a_job_by_its_name() {
    let world = World::new().await;
    let file = world.file("rows.jsonl", &jsonl(20)).await;
    let project = json!({"kind": "pca", "dim": 5});
    for settings in [
        json!({"layers": 2}),
        json!({"layers": [1], "tokens": ["cls", "max"], "dtype": "bfloat16", "precision": "bfloat16"}),
        json!({"layers": "all", "tokens": "all", "project": project}),
        json!({"layers": [0, 2], "tokens": "mean", "dtype": "int8", "project": project}),
        json!({"layers": [2], "tokens": "all", "dtype": "int8"}),
    ] {
        let job = features_job(&world.client, &file, &settings).await;
        let view = succeeded(&job).await;
        let contents = contents(&world.client, &view).await;
        let shards = if files(&view).len() == 4 { &contents[1..] } else { &contents[..] };
        let mut expected = joined(&shards[..1]);
        for (name, tensor) in shards[1..].iter().flat_map(|shard| unpack(shard).0) {
            let whole = expected.get_mut(&name).expect("the same names");
            if !name.ends_with(".scale") {
                whole.shape[0] += tensor.shape[0];
                whole.bytes.extend(tensor.bytes);
            } else {
                assert_eq!(whole, &tensor, "one scale for the whole job");
            }
        }
        let found = activations(&world.client, 20, &json!({"like": job.id})).await;
        let apart = distance(&found, &expected);
        assert!(apart <= ROUNDING, "{settings}: {apart}");
    }
}

#[tokio::test]
async fn like_is_of_a_features_job_of_the_project_and_the_model() {
    let (world, other) = (World::new().await, World::new().await);
    let file = world.file("rows.jsonl", &jsonl(4)).await;
    let settings = json!({"layers": [0], "tokens": "cls", "dtype": "int8"});
    let job = features_job(&world.client, &file, &settings).await;
    let view = succeeded(&job).await;
    let split = world.job(json!({})).await;
    let ask = async |client: &Client, fields: Value| {
        let mut body = json!({"model": MODEL, "input": ["w5"]});
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        client.post("/v1/activations", &body).await
    };
    ask(&world.client, json!({"like": job.id})).await.ok();
    assert_eq!(ask(&other.client, json!({"like": job.id})).await.refused(404, "not_found")["param"], "like");
    for (fields, status, code, param) in [
        (json!({"like": split.id}), 400, "invalid_setting", "like"),
        (json!({"like": "ftjob-x"}), 404, "not_found", "like"),
        (json!({"like": job.id, "layers": [0]}), 400, "invalid_setting", "layers"),
        (json!({"like": job.id, "pooling": "mean"}), 400, "invalid_setting", "pooling"),
        (json!({"like": job.id, "model": "org/tiny"}), 400, "settings_differ", "model"),
    ] {
        assert_eq!(ask(&world.client, fields).await.refused(status, code)["param"], param);
    }
    world.client.delete(&format!("/v1/files/{}", files(&view)[0])).await.ok();
    ask(&world.client, json!({"like": job.id})).await.refused(409, "file_deleted");
}
