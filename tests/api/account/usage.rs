//! `/v1/usage`.

use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use super::with;
use crate::client::Client;
use crate::client::pack;
use crate::host::Host;
use crate::host::POLL;
use crate::world::MODEL;
use crate::world::World;
use crate::world::add_tiny;
use crate::world::batch;
use crate::world::make_job;
use crate::world::shares_like;

async fn rows(client: &Client, query: &str) -> Vec<Value> {
    client.get(&format!("/v1/usage{query}")).await.ok_json()["data"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn every_token_step_and_byte_is_counted_once() {
    let world = World::new().await;
    let mut job = world.job(json!({"adapter_sets": 2})).await;
    let (forward, activations) = job.forward_ok(&batch()).await;
    let shares = shares_like(&activations, 3);
    let products = job.backward(&forward, &shares).await.ok();
    job.seq -= 1;
    job.backward(&forward, &shares).await.ok(); // a repeat, which is answered from memory
    let other = with(&world, &[]).await;
    let path = job.path("/forward?train=false&adapters=none&base=true");
    let base = other.post_tensors(&path, &batch()).await.tensors();

    let found = rows(&world.client, "?group_by=key,model").await;
    let of_model: Vec<&Value> = found.iter().filter(|row| row["model"] == MODEL).collect();
    assert_eq!(of_model.len(), 2, "{found:?}");
    let (trainer, reader) = match of_model[0]["steps"].as_i64() {
        Some(0) => (of_model[1], of_model[0]),
        _ => (of_model[0], of_model[1]),
    };
    let bytes = |tensors: &crate::client::Tensors| tensors.values().map(|tensor| tensor.bytes.len()).sum::<usize>();
    assert_eq!(
        (&trainer["steps"], &trainer["training_tokens"], &trainer["inference_tokens"]),
        (&json!(2), &json!(2 * 12), &json!(0)),
        "a forward and a backward of one share"
    );
    assert_eq!(trainer["bytes_in"], json!(pack(&batch()).len() + pack(&shares).len()));
    assert_eq!(trainer["bytes_out"], json!(bytes(&activations) + bytes(&products.tensors())));
    assert!(trainer["device_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0 && seconds < 60.0), "{trainer}");
    assert_eq!((&reader["steps"], &reader["inference_tokens"]), (&json!(0), &json!(12)));
    assert_eq!((&reader["bytes_in"], &reader["bytes_out"]), (&json!(pack(&batch()).len()), &json!(bytes(&base))));
    assert_ne!(trainer["key_id"], reader["key_id"]);

    let total = world.client.get("/v1/usage").await.ok_json();
    assert_eq!((total["data"].as_array().map(Vec::len), &total["total"]["steps"]), (Some(1), &json!(2)));
    let stranger = World::new().await;
    assert_eq!(stranger.client.get("/v1/usage").await.ok_json()["total"]["steps"], 0);
}

#[tokio::test]
async fn requests_are_counted_soon_and_days_are_as_asked_for() {
    let world = World::new().await;
    for _ in 0..5 {
        world.client.get("/v1/models").await.ok();
    }
    world.client.get("/v1/files/file-none").await.refused(404, "not_found");
    let begun = Instant::now();
    while world.client.get("/v1/usage").await.ok_json()["total"]["requests"].as_i64().unwrap_or(0) < 6 {
        assert!(begun.elapsed() < Duration::from_secs(60), "requests are counted each second");
        tokio::time::sleep(POLL * 5).await;
    }
    let days = rows(&world.client, "?group_by=day").await;
    assert_eq!(days.len(), 1, "{days:?}");
    let day = days[0]["day"].as_str().expect("a day").to_owned();
    let exact = world.client.get(&format!("/v1/usage?start_date={day}&end_date={day}")).await.ok_json();
    assert!(exact["total"]["requests"].as_i64().is_some_and(|requests| requests >= 6), "{exact}");
    let past = world.client.get("/v1/usage?start_date=2020-01-01&end_date=2020-02-01").await.ok_json();
    assert_eq!((past["data"].clone(), &past["total"]["requests"]), (json!([]), &json!(0)));
    for (query, param) in [
        ("start_date=yesterday", "start_date"),
        ("end_date=2026-13-01", "end_date"),
        ("start_date=2020-02-01&end_date=2020-01-01", "start_date"),
        ("start_date=2020-01-01&end_date=2026-01-01", "start_date"),
        ("group_by=week", "group_by"),
    ] {
        let reply = world.client.get(&format!("/v1/usage?{query}")).await;
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!(param)), "{query}");
    }
}

#[tokio::test]
async fn work_has_the_price_that_the_operator_set_and_none_by_default() {
    let world = World::new().await;
    let free = world.client.get("/v1/usage").await.ok_json();
    assert!(free["currency"].is_null() && free["total"]["cost"].is_null(), "{free}");
    let settings = [("CURRENCY", "EUR"), ("TRAINING_TOKENS", "500.5"), ("INFERENCE_TOKENS", "1000")];
    let settings = settings.map(|(name, value)| (format!("BLINDTUNE_PRICES__{name}"), value));
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let host = Host::start(&settings).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("payer", &[]).await));
    let mut job = make_job(&client, json!({})).await;
    job.forward_ok(&batch()).await;
    job.evaluate(&batch()).await;
    let report = client.get("/v1/usage").await.ok_json();
    let cost = 12.0 * (500.5 + 1000.0) / 1e6;
    assert_eq!((&report["currency"], &report["total"]["cost"]), (&json!("EUR"), &json!(cost)));
    let body = json!({"model": MODEL, "rows": 8, "tokens_per_row": 4, "batch_size": 4, "n_epochs": 1, "shares": 3});
    let estimate = client.post("/v1/fine_tuning/estimate", &body).await.ok_json();
    let billed = estimate["trained_tokens"].as_f64().expect("a number") * 4.0;
    assert_eq!(billed, 8.0 * 4.0 * 4.0, "a forward, and a backward for each share number");
    assert_eq!((&estimate["currency"], &estimate["cost"]), (&json!("EUR"), &json!(billed * 500.5 / 1e6)));
}

#[tokio::test]
async fn what_a_job_used_is_shown_by_job_and_in_the_job() {
    let world = World::new().await;
    let (mut one, mut two) = (world.job(json!({})).await, world.job(json!({})).await);
    one.forward_ok(&batch()).await;
    let (forward, activations) = two.forward_ok(&batch()).await;
    two.backward(&forward, &shares_like(&activations, 3)).await.ok();
    two.evaluate(&batch()).await;
    let body = json!({"model": MODEL, "input": [[5, 6]]});
    world.client.post("/v1/embeddings", &body).await.ok(); // no job's
    let found = rows(&world.client, "?group_by=job").await;
    let ids: Vec<_> = found.iter().map(|row| row["job_id"].clone()).collect();
    assert_eq!(ids, [json!(two.id), json!(one.id)], "the newest first");
    let amounts = |row: &Value| {
        ["steps", "training_tokens", "inference_tokens"].map(|name| row[name].as_i64().expect("a number"))
    };
    assert_eq!([amounts(&found[0]), amounts(&found[1])], [[2, 24, 12], [1, 12, 0]]);
    for (row, job) in found.iter().zip([&two, &one]) {
        let view = job.view().await;
        for name in ["bytes_in", "bytes_out", "device_seconds"] {
            assert!(row[name].as_f64() > Some(0.0) && row[name] == view[name], "{name}: {row} {view}");
        }
        assert_eq!((&row["key_id"], &row["model"], &row["day"]), (&Value::Null, &Value::Null, &Value::Null));
    }
    let total = world.client.get("/v1/usage?group_by=day,job").await.ok_json();
    assert!(total["data"].as_array().expect("a list").iter().all(|row| row["day"].is_string()), "{total}");
    assert_eq!((&total["total"]["inference_tokens"], &total["truncated"]), (&json!(12 + 2), &json!(false)));
    for query in ["job,model", "key,job", "job,day,key"] {
        let error = world.client.get(&format!("/v1/usage?group_by={query}")).await.refused(400, "invalid_query");
        assert_eq!(error["param"], "group_by");
    }
    one.verb("cancel").await.ok();
    world.client.delete(&one.path("")).await.ok();
    assert_eq!(rows(&world.client, "?group_by=job").await.len(), 2, "usage outlives its job");
}
