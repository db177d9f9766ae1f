use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::join_all;
use serde_json::Value;
use serde_json::json;

use crate::client::Client;
use crate::client::OCTETS;
use crate::client::Reply;
use crate::client::Tensors;
use crate::client::from_json;
use crate::client::one;
use crate::host::Host;
use crate::host::until;
use crate::world::MODEL;
use crate::world::TEXTS;
use crate::world::WIDTH;
use crate::world::World;
use crate::world::add_tiny;
use crate::world::batch;
use crate::world::values;

async fn activations(client: &Client, body: Value) -> Tensors {
    let answer = client.post("/v1/activations", &body).await.ok_json();
    assert_eq!((&answer["object"], &answer["model"]), (&json!("activations"), &body["model"]));
    assert_eq!(answer["usage"]["prompt_tokens"], answer["usage"]["total_tokens"]);
    from_json(&answer["tensors"])
}

async fn embed(client: &Client, body: Value) -> Vec<Vec<f32>> {
    vectors(&client.post("/v1/embeddings", &body).await, &body)
}

fn vectors(reply: &Reply, body: &Value) -> Vec<Vec<f32>> {
    let answer = reply.clone().ok_json();
    assert_eq!((&answer["object"], &answer["model"]), (&json!("list"), &body["model"]));
    let read = |(index, object): (usize, &Value)| {
        assert_eq!((&object["object"], &object["index"]), (&json!("embedding"), &json!(index)));
        let numbers = object["embedding"].as_array().expect("numbers").iter();
        numbers.map(|number| number.as_f64().expect("a number") as f32).collect()
    };
    answer["data"].as_array().expect("a list").iter().enumerate().map(read).collect()
}

/// `Server-Timing`: by name the one parameter, `dur` or `desc`.
fn timing(reply: &Reply) -> BTreeMap<String, String> {
    let read = |metric: &str| {
        let (name, parameter) = metric.trim().split_once(';').expect("a parameter");
        let (_, value) = parameter.split_once('=').expect("a value");
        (name.to_owned(), value.trim_matches('"').to_owned())
    };
    reply.header("server-timing").split(',').map(read).collect()
}

/// Calls that shared the pass.
pub fn calls_in_pass(reply: &Reply) -> usize {
    timing(reply)["pass"].parse().expect("a number")
}

/// A fine-tuned model with adapters that do something, and what its job gave for the batch.
pub async fn tuned(world: &World, split: Value) -> (String, Tensors) {
    let sets = split["adapter_sets"].as_u64().unwrap_or(2);
    let job = world.job(split).await;
    for set in 0..sets as usize {
        let mut theta = job.theta(set).await;
        let moved = values(theta.floats().len(), 11 + set as u64);
        theta = crate::client::Tensor::f32(&theta.shape, &moved);
        let path = job.path(&format!("/adapters/{set}"));
        job.client.put_tensors(&path, &one(&format!("theta.{set}"), theta)).await.ok();
    }
    let expected = job.evaluate(&batch()).await;
    let done = job.verb("complete").await.ok_json();
    (done["fine_tuned_model"].as_str().expect("a name").to_owned(), expected)
}

/// The same but for rounding: without AVX-512 oneDNN adds up a row in another order when there are more rows or sets beside it.
fn same(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= 1e-5 * largest, "{found:?} and {expected:?}");
    }
}

#[tokio::test]
async fn a_backbone_gives_what_a_job_gives_for_it() {
    let world = World::new().await;
    let expected = world.job(json!({})).await.evaluate(&batch()).await;
    let got = activations(&world.client, json!({"model": MODEL, "input": TEXTS})).await;
    assert_eq!(got, one("h.base", expected["h.base"].clone()));
    let call = world.client.call(reqwest::Method::POST, "/v1/activations").header("accept", OCTETS);
    let reply = call.json(&json!({"model": MODEL, "input": [[2, 5, 6, 3], [2, 7, 3]]})).send().await;
    same(&reply.tensors()["h.base"].floats(), &expected["h.base"].floats()[..2 * WIDTH]);
    let scalars = reply.scalars();
    assert_eq!((scalars["model"].as_str(), scalars["prompt_tokens"].as_str()), (MODEL, "7"));
    let timing = timing(&reply);
    assert_eq!(timing["pass"], "1");
    assert!(timing["engine"].parse::<f64>().expect("a number") > 0.0);
}

#[tokio::test]
async fn a_fine_tuned_model_gives_what_its_job_gave() {
    let world = World::new().await;
    let split = json!({"adapter_sets": 3, "pooling": "mean", "lora": {"rank": 3, "target_modules": ["key"]}});
    let (model, expected) = tuned(&world, split).await;
    let got = activations(&world.client, json!({"model": model, "input": TEXTS, "base": true})).await;
    assert_eq!(got, expected);
    assert_ne!(got["h.0"], got["h.base"], "the adapters do something");
    let some = json!({"model": model, "input": TEXTS, "adapters": [2]});
    let some = activations(&world.client, some).await;
    assert_eq!(some.keys().collect::<Vec<_>>(), ["h.2"]);
    same(&some["h.2"].floats(), &expected["h.2"].floats());
    let other_cut = json!({"model": model, "input": TEXTS, "adapters": [0], "pooling": "cls"});
    assert_ne!(activations(&world.client, other_cut).await["h.0"], expected["h.0"]);
    let vectors = embed(&world.client, json!({"model": model, "input": TEXTS})).await;
    for (row, vector) in vectors.iter().enumerate() {
        let side_by_side: Vec<f32> = (0..3)
            .flat_map(|set| expected[&format!("h.{set}")].floats()[row * WIDTH..(row + 1) * WIDTH].to_vec())
            .collect();
        same(vector, &side_by_side);
    }
}

#[tokio::test]
async fn embeddings_come_as_stock_clients_expect_them() {
    let world = World::new().await;
    let expected = activations(&world.client, json!({"model": MODEL, "input": TEXTS})).await;
    let rows: Vec<Vec<f32>> = expected["h.base"].floats().chunks(WIDTH).map(<[f32]>::to_vec).collect();
    let forms = [
        (json!(TEXTS), rows.clone()),
        (json!(TEXTS[0]), rows[..1].to_vec()),
        (json!([2, 5, 6, 3]), rows[..1].to_vec()),
        (json!([[2, 5, 6, 3], [2, 7, 3]]), rows[..2].to_vec()),
    ];
    for (input, rows) in forms {
        let found = embed(&world.client, json!({"model": MODEL, "input": input, "user": "me"})).await;
        assert_eq!(found.len(), rows.len(), "{input}");
        found.iter().zip(&rows).for_each(|(found, row)| same(found, row));
    }
    let body = json!({"model": MODEL, "input": TEXTS, "encoding_format": "base64", "dimensions": null});
    let answer = world.client.post("/v1/embeddings", &body).await.ok_json();
    assert_eq!(answer["usage"], json!({"prompt_tokens": 12, "total_tokens": 12}));
    for (object, row) in answer["data"].as_array().expect("a list").iter().zip(&rows) {
        let bytes = STANDARD.decode(object["embedding"].as_str().expect("text")).expect("base64");
        let floats: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect();
        same(&floats, row);
    }
}

#[tokio::test]
async fn every_token_has_its_row_where_the_cut_is_none() {
    let world = World::new().await;
    let body = json!({"model": MODEL, "input": TEXTS, "pooling": "none"});
    let got = activations(&world.client, body).await;
    assert_eq!((&got["h.base"].shape, &got["lengths"].shape), (&vec![12, WIDTH], &vec![3]));
    let (model, _) = tuned(&world, json!({"pooling": "none"})).await;
    let error = world.client.post("/v1/embeddings", &json!({"model": model, "input": "w5"})).await;
    assert_eq!(error.refused(400, "no_embedding")["param"], "model");
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_by_its_place() {
    let world = World::new().await;
    let long = "w5 ".repeat(60);
    let many = vec!["w5"; 65];
    let cases = [
        (json!({"input": ""}), 400, "invalid_input", "input[0]"),
        (json!({"input": []}), 400, "invalid_input", "input"),
        (json!({"input": ["w5", ""]}), 400, "invalid_input", "input[1]"),
        (json!({"input": [[]]}), 400, "invalid_input", "input[0]"),
        (json!({"input": ["w5", 7]}), 400, "invalid_input", "input[1]"),
        (json!({"input": many}), 400, "too_many_inputs", "input"),
        (json!({"input": ["w5", long]}), 422, "invalid_input", "input[1]"),
        (json!({"input": [[2, 7, 3], [2, 60, 3]]}), 422, "invalid_input", "input[1]"),
        (json!({"input": [[2, -1, 3]]}), 422, "invalid_input", "input[0]"),
        (json!({"input": {"text": "w5"}}), 400, "invalid_json", "input"),
        (json!({"input": "w5", "label": 1}), 400, "label_present", "label"),
        (json!({"input": "w5", "more": 1}), 400, "unknown_field", "more"),
        (json!({"input": "w5", "model": "none"}), 404, "not_found", "model"),
    ];
    for path in ["/v1/embeddings", "/v1/activations"] {
        for (fields, status, code, param) in &cases {
            let mut body = json!({"model": MODEL});
            body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
            let error = world.client.post(path, &body).await.refused(*status, code);
            assert_eq!(error["param"], *param, "{path}: {fields}");
        }
    }
    for (name, value, code) in [
        ("encoding_format", json!("hex"), "invalid_encoding_format"),
        ("dimensions", json!(8), "unsupported_dimensions"),
    ] {
        let body = json!({"model": MODEL, "input": "w5", name: value});
        assert_eq!(world.client.post("/v1/embeddings", &body).await.refused(400, code)["param"], name);
    }
    for (fields, code, param) in [
        (json!({"adapters": [0]}), "invalid_adapters", "adapters"),
        (json!({"base": false}), "invalid_adapters", "base"),
        (json!({"pooling": "eos"}), "invalid_setting", "pooling"),
        (json!({"input": [["w5"]]}), "invalid_input", "input[0]"),
    ] {
        let mut body = json!({"model": MODEL, "input": "w5"});
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        assert_eq!(world.client.post("/v1/activations", &body).await.refused(400, code)["param"], param);
    }
}

#[tokio::test]
async fn a_model_is_its_projects_alone_and_ends_with_its_deletion() {
    let world = World::new().await;
    let (model, _) = tuned(&world, json!({"adapter_sets": 1})).await;
    let body = json!({"model": model, "input": "w5"});
    world.client.post("/v1/embeddings", &body).await.ok();
    let other = World::new().await;
    let foreign = other.client.post("/v1/embeddings", &body).await.refused(404, "not_found");
    let never = json!({"model": "ft:none", "input": "w5"});
    let never = other.client.post("/v1/embeddings", &never).await.refused(404, "not_found");
    let text = |error: &Value| error["message"].as_str().expect("a text").to_owned();
    assert_eq!(text(&foreign).replace(&model, "ft:none"), text(&never));
    world.client.delete(&format!("/v1/models/{model}")).await.ok();
    for path in ["/v1/embeddings", "/v1/activations"] {
        assert_eq!(world.client.post(path, &body).await.refused(404, "not_found")["param"], "model");
    }
}

#[tokio::test]
async fn a_model_whose_settings_were_not_kept_says_so() {
    let world = World::new().await;
    let (model, _) = tuned(&world, json!({})).await;
    let pool = sqlx::PgPool::connect(world.host.database()).await.expect("connects");
    let done = sqlx::query("update models set settings = null where name = $1").bind(&model).execute(&pool).await;
    assert_eq!(done.expect("updates").rows_affected(), 1);
    let error = world.client.post("/v1/activations", &json!({"model": model, "input": "w5"})).await;
    assert_eq!(error.refused(409, "settings_unknown")["param"], "model");
}

#[tokio::test]
async fn callers_at_once_share_passes_and_each_gets_its_own_numbers() {
    let host = Host::start(&[
        ("BLINDTUNE_ENGINE__STACK_TOKENS", "1024"),
        ("BLINDTUNE_ENGINE__STACK_WAIT_MS", "1000"),
        ("BLINDTUNE_ENGINE__QUEUE", "2"),
        ("BLINDTUNE_LIMITS__INFERENCE_IN_FLIGHT_PER_PROJECT", "24"),
    ])
    .await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("mine", &[]).await));
    let body = |number: usize| json!({"model": MODEL, "input": format!("w{} w{}", 4 + number, 40 - number)});
    let ask = async |number: usize| client.post("/v1/embeddings", &body(number)).await;
    let mut alone = Vec::new();
    for number in 0..16 {
        let reply = ask(number).await;
        assert_eq!(calls_in_pass(&reply), 1, "who came alone ran alone");
        alone.push(vectors(&reply, &body(number)).remove(0));
    }
    // On a busy machine 16 callers may come one by one: they come again until some of them meet.
    until("some of 16 callers share a pass", async || {
        let together = join_all((0..16).map(&ask)).await;
        for ((number, reply), expected) in together.iter().enumerate().zip(&alone) {
            let got = vectors(reply, &body(number)).remove(0);
            let largest = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1e-5 * largest));
        }
        together.iter().any(|reply| calls_in_pass(reply) >= 4)
    })
    .await;
    let over = join_all((0..48).map(|number| ask(number % 16))).await;
    let refused: Vec<_> = over.into_iter().filter(|reply| reply.status != 200).collect();
    for reply in &refused {
        reply.refused(429, "too_many_inference_calls");
        assert!(!reply.header("retry-after-ms").is_empty());
    }
    assert!(!refused.is_empty(), "48 calls at once, and 24 are allowed");
}

#[tokio::test]
async fn few_sessions_serve_many_models_and_idle_ones_close() {
    let host = Host::start(&[
        ("BLINDTUNE_ENGINE__INFERENCE_SESSIONS", "2"),
        ("BLINDTUNE_ENGINE__INFERENCE_IDLE_SECS", "0"),
        ("BLINDTUNE_JOBS__LEASE_SECS", "3"),
    ])
    .await;
    let folder = add_tiny(&host).await;
    for number in 0..4 {
        host.add_model(&folder, &format!("m{number}")).await;
    }
    let client = Client::new(&host.base(), Some(&host.key("mine", &[]).await));
    let body = |number: usize| json!({"model": format!("m{}", number % 4), "input": "w5 w6"});
    let ask = async |number: usize| client.post("/v1/embeddings", &body(number)).await;
    let opened = |reply: &Reply| timing(reply).contains_key("load");
    let first = ask(0).await;
    assert!(opened(&first));
    let rest = join_all((1..24).map(&ask)).await;
    for (number, reply) in rest.iter().enumerate() {
        assert_eq!(vectors(reply, &body(1 + number)), vectors(&first, &body(0)), "the same backbone under four names");
    }
    assert!(rest.iter().filter(|reply| opened(reply)).count() >= 3, "each has had a session");
    ask(23).await;
    // It is open, and with two places nobody else's call closes it: only a host that ends idle sessions opens it again.
    until("an idle session is closed, and is opened again", async || opened(&ask(23).await)).await;
}
