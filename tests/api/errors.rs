//! Whatever is wrong with a request, the answer is the envelope: axum's own refusals never reach a client.

use reqwest::Method;
use serde_json::json;

use crate::client::JSON;
use crate::client::OCTETS;
use crate::world::MODEL;
use crate::world::World;
use crate::world::batch;

const JOBS: &str = "/v1/fine_tuning/jobs";

#[tokio::test]
async fn an_unknown_url_is_a_404_in_the_envelope() {
    let world = World::new().await;
    for path in ["/", "/v1", "/v1/nothing", "/v2/models", "/v1/fine_tuning/jobs/x/y/z"] {
        world.client.get(path).await.refused(404, "unknown_url");
    }
}

#[tokio::test]
async fn who_asks_for_text_is_told_what_there_is_instead() {
    let world = World::new().await;
    // Longer than what is read of it: the answer comes all the same.
    let body = json!({"model": "ft:tiny", "messages": [{"role": "user", "content": "w5 ".repeat(1000)}]});
    for path in ["/v1/chat/completions", "/v1/completions"] {
        let error = world.client.post(path, &body).await.refused(404, "unknown_url");
        assert!(error["message"].to_string().contains("This host generates no text"), "{error}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_a_405_that_names_the_right_ones() {
    let world = World::new().await;
    let cases = [
        (Method::PATCH, "/v1/files", ["GET", "POST"].as_slice()),
        (Method::PUT, "/v1/models", &["GET"]),
        (Method::DELETE, JOBS, &["GET", "POST"]),
        (Method::GET, "/v1/fine_tuning/jobs/x/forward", &["POST"]),
        (Method::POST, "/v1/fine_tuning/jobs/x/adapters/0", &["GET", "PUT"]),
        (Method::POST, "/healthz", &["GET"]),
    ];
    for (method, path, allowed) in cases {
        let reply = world.client.call(method, path).send().await;
        reply.refused(405, "method_not_allowed");
        for method in allowed {
            assert!(reply.header("allow").contains(method), "{path}: allow is '{}'", reply.header("allow"));
        }
    }
}

#[tokio::test]
async fn a_wrong_media_type_is_a_415_that_names_the_right_ones() {
    let world = World::new().await;
    let job = world.job(json!({"custody": "host"})).await;
    for (path, method) in [("/forward", Method::POST), ("/backward", Method::POST), ("/adapters/0", Method::PUT)] {
        for media in ["text/plain", "application/x-www-form-urlencoded", ""] {
            let call = world.client.call(method.clone(), &job.path(path)).body(media, b"{}".to_vec());
            let error = call.send().await.refused(415, "unsupported_media_type");
            assert!(error["message"].as_str().is_some_and(|text| text.contains("application/json")), "{error}");
        }
    }
    for path in [JOBS.to_owned(), job.path("/optim_step"), job.path("/metrics")] {
        let call = world.client.call(Method::POST, &path).body(OCTETS, b"{}".to_vec());
        call.send().await.refused(415, "unsupported_media_type");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_413() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    let fat = format!("{{\"model\": \"{}\"}}", "x".repeat(300_000)).into_bytes();
    for path in [JOBS.to_owned(), job.path("/metrics"), job.path("/optim_step")] {
        let call = world.client.call(Method::POST, &path).body(JSON, fat.clone());
        call.send().await.refused(413, "body_too_large");
    }
}

#[tokio::test]
async fn broken_json_is_a_400_that_says_where() {
    let world = World::new().await;
    let cases: [(&str, &str, Option<&str>); 7] = [
        ("", "invalid_json", None),
        ("{", "invalid_json", None),
        ("[]", "invalid_json", None),
        ("{\"model\": \"tiny\"} x", "invalid_json", None),
        ("{\"model\": 7}", "invalid_json", Some("model")),
        ("{\"model\": \"tiny\", \"sead\": 7}", "unknown_field", Some("sead")),
        (
            "{\"model\": \"tiny\", \"method\": {\"type\": \"split\", \"split\": {\"lora\": {\"rank\": -1}}}}",
            "invalid_json",
            Some("method.split.lora.rank"),
        ),
    ];
    for (body, code, param) in cases {
        let call = world.client.call(Method::POST, JOBS).body(JSON, body.as_bytes().to_vec());
        let error = call.send().await.refused(400, code);
        assert_eq!(error["param"].as_str(), param, "{body}: {error}");
    }
    assert_eq!(world.client.get(JOBS).await.ok_json()["data"], json!([]), "no job was made");
}

#[tokio::test]
async fn a_bad_query_is_a_400() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let lists =
        ["/v1/files", JOBS, &job.path("/events"), &job.path("/checkpoints"), &job.path("/ledger")].map(str::to_owned);
    for path in lists {
        world.client.get(&format!("{path}?limit=many")).await.refused(400, "invalid_query");
    }
    let forward = job.path("/forward");
    for query in ["seq=x", "seq=1&train=maybe", "seq=1&unknown=1", "seq=-1"] {
        world.client.post_tensors(&format!("{forward}?{query}"), &batch()).await.refused(400, "invalid_query");
    }
    world.client.post_tensors(&format!("{forward}?seq=1&label=1"), &batch()).await.refused(400, "label_present");
    job.step_ok().await;
}

#[tokio::test]
async fn deterministic_conflicts_tell_stock_clients_not_to_retry() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    job.verb("cancel").await.ok();
    let reply = job.verb("resume").await;
    reply.refused(409, "invalid_job_state");
    assert_eq!(reply.header("x-should-retry"), "false");
}

#[tokio::test]
async fn a_refused_limit_can_be_tried_again_later() {
    let world = World::new().await;
    for _ in 0..12 {
        world.job(json!({})).await;
    }
    let reply = world.client.post(JOBS, &json!({"model": MODEL})).await;
    reply.refused(429, "too_many_jobs");
    assert!(reply.header("retry-after").parse::<u64>().is_ok_and(|secs| secs >= 1));
    assert!(reply.header("retry-after-ms").parse::<u64>().is_ok());
    let jobs = world.client.get(&format!("{JOBS}?limit=100")).await.ok_json();
    assert_eq!(jobs["data"].as_array().map(Vec::len), Some(12));
}

#[tokio::test]
async fn a_text_that_the_database_cannot_hold_is_refused_wherever_it_stands() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    for (body, param) in [
        (json!({"model": "ti\0ny"}), "model"),
        (json!({"model": MODEL, "metadata": {"a": "b\0"}}), "metadata.a"),
        (json!({"model": MODEL, "metadata": {"a\0": "b"}}), "metadata.a\u{fffd}"),
    ] {
        let error = world.client.post(JOBS, &body).await.refused(400, "invalid_text");
        assert_eq!(error["param"], param);
    }
    let metrics = json!({"step": 1, "metrics": {"\0": 1}});
    world.client.post(&job.path("/metrics"), &metrics).await.refused(400, "invalid_text");
    for query in ["metadata[%00]=x", "metadata[a]=%00", "after=%00"] {
        world.client.get(&format!("{JOBS}?{query}")).await.refused(400, "invalid_query");
    }
    world.client.get("/v1/models/%00").await.refused(404, "not_found");
    let form = "--x\r\ncontent-disposition: form-data; name=\"base_model\"\r\n\r\na\0b\r\n--x--\r\n";
    let call = world.client.call(Method::POST, "/v1/adapters").body("multipart/form-data; boundary=x", form.into());
    assert_eq!(call.send().await.refused(400, "invalid_text")["param"], "base_model");
    let huge = "{\"step\": 1, \"metrics\": {\"loss\": 1.7e308}}";
    let call = world.client.call(Method::POST, &job.path("/metrics")).body("application/json", huge.into());
    call.send().await.refused(400, "invalid_metric");
    let most = json!({"step": 1, "metrics": {"loss": -1e300}});
    assert_eq!(world.client.post(&job.path("/metrics"), &most).await.ok_json()["data"]["loss"], -1e300);
}

#[tokio::test]
async fn numbers_that_not_every_reader_has_exactly_are_refused_by_their_field() {
    let world = World::new().await;
    let job = world.job(json!({"custody": "host"})).await;
    let most = (1u64 << 53) - 1;
    let seed = |seed: u64| json!({"model": MODEL, "seed": seed});
    assert_eq!(world.client.post(JOBS, &seed(most)).await.ok_json()["seed"], most);
    assert_eq!(world.client.post(JOBS, &seed(most + 1)).await.refused(400, "invalid_seed")["param"], "seed");
    let metrics = json!({"step": most + 1, "metrics": {"loss": 1}});
    assert_eq!(world.client.post(&job.path("/metrics"), &metrics).await.status, 400);
    for (field, value) in [("lr", json!(1e301)), ("eps", json!(1e301)), ("max_grad_norm", json!(1e301))] {
        let mut body = json!({"seq": 1, "lr": 0.1});
        body[field] = value;
        world.client.post(&job.path("/optim_step"), &body).await.refused(400, "invalid_setting");
    }
    let alpha = json!({"model": MODEL, "method": {"type": "split", "split": {"lora": {"alpha": 1e301}}}});
    let error = world.client.post(JOBS, &alpha).await.refused(400, "invalid_setting");
    assert_eq!(error["param"], "method.split.lora.alpha");
    assert_eq!(job.next_seq().await, 1);
}
