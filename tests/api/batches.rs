//! `/v1/batches`: many requests in one file, worked off by the host.

use serde_json::Value;
use serde_json::json;
use sqlx::Connection;
use sqlx::PgConnection;

use crate::batch::ACTIVATIONS;
use crate::batch::EMBEDDINGS;
use crate::batch::batch_of;
use crate::batch::body;
use crate::batch::completed;
use crate::batch::content;
use crate::batch::custom_ids;
use crate::batch::ended;
use crate::batch::file_of;
use crate::batch::line;
use crate::batch::lines;
use crate::batch::parsed;
use crate::batch::upload;
use crate::batch::uploaded;
use crate::batch::view;
use crate::client::Client;
use crate::client::JSON;
use crate::host::Host;
use crate::host::until;
use crate::world::MODEL;
use crate::world::World;
use crate::world::add_tiny;
use crate::world::id;

const PATH: &str = "/v1/batches";

/// What the live endpoint answers to a line.
async fn live(client: &Client, line: &Value) -> crate::client::Reply {
    client.post(line["url"].as_str().expect("a URL"), &line["body"]).await
}

#[tokio::test]
async fn every_line_gets_the_answer_of_a_live_call() {
    let world = World::new().await;
    let lines = lines(20);
    let batch = batch_of(&world.client, EMBEDDINGS, &lines).await;
    let view = completed(&world.client, &batch).await;
    assert_eq!(view["request_counts"], json!({"total": 20, "completed": 20, "failed": 0}));
    let text = content(&world.client, &view, "output_file_id").await;
    let answers = parsed(&text);
    assert_eq!(custom_ids(&answers), custom_ids(&lines), "each once, in the order of the file");
    for ((line, answer), written) in lines.iter().zip(&answers).zip(text.lines()) {
        let expected = live(&world.client, line).await.ok().text();
        assert!(written.contains(&format!("\"body\":{expected}}}")), "{written}\n{expected}");
        assert_eq!((&answer["response"]["status_code"], &answer["error"]), (&json!(200), &Value::Null));
        assert!(answer["id"].as_str().is_some_and(|id| id.starts_with("batch_req_")), "{answer}");
        assert!(answer["response"]["request_id"].is_string(), "{answer}");
    }
    let tokens: i64 = answers
        .iter()
        .map(|answer| answer["response"]["body"]["usage"]["total_tokens"].as_i64().expect("tokens"))
        .sum();
    assert_eq!(view["usage"]["total_tokens"], json!(tokens));
    assert_eq!((&view["error_file_id"], &view["errors"], &view["model"]), (&Value::Null, &Value::Null, &json!(MODEL)));
}

#[tokio::test]
async fn activations_and_hidden_states_come_as_in_a_live_call() {
    let world = World::new().await;
    let bodies = [
        json!({"model": MODEL, "input": ["w5 w6", "w7"]}),
        json!({"model": MODEL, "input": ["w5 w6", "w7"], "layers": [0, 1], "tokens": "mean"}),
        json!({"model": MODEL, "input": [[2, 5, 3]], "layers": "all", "tokens": "all", "dtype": "float16"}),
    ];
    let lines: Vec<Value> =
        bodies.into_iter().enumerate().map(|(at, body)| line(&format!("{at}"), ACTIVATIONS, body)).collect();
    let view = completed(&world.client, &batch_of(&world.client, ACTIVATIONS, &lines).await).await;
    let answers = parsed(&content(&world.client, &view, "output_file_id").await);
    for (line, answer) in lines.iter().zip(&answers) {
        let call = world.client.call(reqwest::Method::POST, ACTIVATIONS).header("accept", JSON).json(&line["body"]);
        assert_eq!(answer["response"]["body"], call.send().await.ok_json());
    }
    assert_eq!(answers.len(), 3);
}

#[tokio::test]
async fn a_batch_has_the_shape_that_stock_clients_read() {
    let world = World::new().await;
    let file = uploaded(&world.client, &lines(2)).await;
    let mut asked = body(&file, EMBEDDINGS);
    asked["metadata"] = json!({"team": "a"});
    asked["output_expires_after"] = json!({"anchor": "created_at", "seconds": 7200});
    let made = world.client.post(PATH, &asked).await.ok_json();
    for (field, expected) in [
        ("object", json!("batch")),
        ("endpoint", json!(EMBEDDINGS)),
        ("completion_window", json!("24h")),
        ("status", json!("validating")),
        ("input_file_id", json!(file)),
        ("metadata", json!({"team": "a"})),
        ("request_counts", json!({"total": 2, "completed": 0, "failed": 0})),
        ("output_file_id", Value::Null),
        ("completed_at", Value::Null),
    ] {
        assert_eq!(made.get(field), Some(&expected), "{field}");
    }
    assert_eq!(made["expires_at"].as_i64().expect("a time") - made["created_at"].as_i64().expect("a time"), 86_400);
    let view = completed(&world.client, &id(&made)).await;
    for field in ["in_progress_at", "finalizing_at", "completed_at"] {
        assert!(view[field].is_i64(), "{field}");
    }
    for field in ["failed_at", "expired_at", "cancelling_at", "cancelled_at"] {
        assert!(view[field].is_null(), "{field}");
    }
    let output =
        world.client.get(&format!("/v1/files/{}", view["output_file_id"].as_str().expect("an id"))).await.ok_json();
    assert_eq!((&output["purpose"], &output["rows"]), (&json!("batch_output"), &json!(2)));
    assert_eq!(output["filename"], json!(format!("{}_output.jsonl", id(&made))));
    let life = output["expires_at"].as_i64().expect("it expires") - output["created_at"].as_i64().expect("a time");
    assert_eq!(life, 7200);
}

#[tokio::test]
async fn a_request_that_the_endpoint_refuses_goes_into_the_error_file_in_its_words() {
    let world = World::new().await;
    let long = vec!["w5"; 60].join(" ");
    let bodies = [
        json!({"model": MODEL, "input": "w5"}),
        json!({"model": MODEL, "input": long}),
        json!({"model": MODEL, "input": "w5", "dimensions": 3}),
        json!({"model": MODEL, "input": "w6", "temperature": 1}),
        json!({"model": MODEL, "input": []}),
    ];
    let lines: Vec<Value> =
        bodies.into_iter().enumerate().map(|(at, body)| line(&format!("{at}"), EMBEDDINGS, body)).collect();
    let view = completed(&world.client, &batch_of(&world.client, EMBEDDINGS, &lines).await).await;
    assert_eq!(view["request_counts"], json!({"total": 5, "completed": 1, "failed": 4}));
    assert_eq!(custom_ids(&parsed(&content(&world.client, &view, "output_file_id").await)), ["0"]);
    let refused = parsed(&content(&world.client, &view, "error_file_id").await);
    assert_eq!(custom_ids(&refused), ["1", "2", "3", "4"]);
    for (line, answer) in lines[1..].iter().zip(&refused) {
        let expected = live(&world.client, line).await;
        assert!(expected.status >= 400, "{}", expected.text());
        assert_eq!(answer["response"]["status_code"], json!(expected.status));
        assert_eq!(answer["response"]["body"], expected.json());
    }
}

#[tokio::test]
async fn a_batch_with_lines_that_cannot_be_read_fails_and_says_so_line_by_line() {
    let world = World::new().await;
    let good = |id: &str| line(id, EMBEDDINGS, json!({"model": MODEL, "input": "w5"}));
    let mut get = good("c");
    get["method"] = json!("GET");
    let mut nameless = good("d");
    nameless["custom_id"] = json!(7);
    let lines = [
        good("a"),
        good("a"),
        get,
        nameless,
        line("e", ACTIVATIONS, json!({"model": MODEL, "input": "w5"})),
        line("f", EMBEDDINGS, json!({"model": "nobody", "input": "w5"})),
        line("g", EMBEDDINGS, json!({"input": "w5"})),
        good("h"),
    ];
    let view = ended(&world.client, &batch_of(&world.client, EMBEDDINGS, &lines).await).await;
    assert_eq!((&view["status"], &view["output_file_id"]), (&json!("failed"), &Value::Null));
    assert!(view["failed_at"].is_i64() && view["in_progress_at"].is_null(), "{view}");
    let errors = view["errors"]["data"].as_array().expect("a list").iter();
    let found: Vec<Value> = errors.map(|error| json!([error["line"], error["code"], error["param"]])).collect();
    let expected = [
        json!([2, "duplicate_custom_id", "custom_id"]),
        json!([3, "invalid_method", "method"]),
        json!([4, "field_missing", "custom_id"]),
        json!([5, "invalid_url", "url"]),
        json!([6, "not_found", "body.model"]),
        json!([7, "field_missing", "body.model"]),
    ];
    assert_eq!(found, expected);
    assert_eq!(view["request_counts"], json!({"total": 8, "completed": 0, "failed": 0}), "nothing was answered");
}

#[tokio::test]
async fn a_file_of_requests_with_a_label_or_a_line_that_is_no_object_is_refused() {
    let world = World::new().await;
    let good = file_of(&lines(1));
    for (text, code, param) in [
        (
            r#"{"custom_id": "b", "body": {"model": "m", "metadata": {"gold_label": 1}}}"#,
            "label_present",
            "line 2: body.metadata.gold_label",
        ),
        (r#"{"custom_id": "b", "target": 1}"#, "label_present", "line 2: target"),
        (r#"{"custom_id": "b", "body": {"input": [{"y": 1}]}}"#, "label_present", "line 2: body.input[0].y"),
        ("[1]", "malformed_row", "line 2"),
        ("not JSON", "malformed_row", "line 2"),
        (r#"{"custom_id": "b""#, "malformed_row", "line 2"),
    ] {
        let error = upload(&world.client, format!("{good}{text}\n")).await.refused(400, code);
        assert_eq!(error["param"], json!(param), "{text}");
    }
    assert_eq!(world.client.get("/v1/files").await.ok_json()["data"], json!([]), "nothing was stored");
}

#[tokio::test]
async fn what_a_batch_cannot_be_is_refused_by_name() {
    let world = World::new().await;
    let file = uploaded(&world.client, &lines(1)).await;
    let inputs = world.file("a.jsonl", "{\"text\": \"w5\"}\n").await;
    let never = format!("file-{}", uuid::Uuid::now_v7().simple());
    let with = |name: &str, value: Value| {
        let mut body = body(&file, EMBEDDINGS);
        body[name] = value;
        body
    };
    for (name, value, status, code, param) in [
        ("endpoint", json!("/v1/chat/completions"), 400, "unsupported_endpoint", "endpoint"),
        ("completion_window", json!("48h"), 400, "invalid_completion_window", "completion_window"),
        ("input_file_id", json!(inputs), 400, "invalid_purpose", "input_file_id"),
        ("input_file_id", json!(never), 404, "not_found", "input_file_id"),
        ("input_file_id", json!("x"), 404, "not_found", "input_file_id"),
        ("metadata", json!({"label": "1"}), 400, "label_present", "metadata.label"),
        ("label", json!("1"), 400, "label_present", "label"),
        (
            "output_expires_after",
            json!({"anchor": "created_at", "seconds": 1}),
            400,
            "invalid_expires_after",
            "output_expires_after.seconds",
        ),
    ] {
        let error = world.client.post(PATH, &with(name, value)).await.refused(status, code);
        assert_eq!(error["param"], json!(param), "{error}");
    }
    let error = world.client.post(PATH, &with("endpoint", json!("/v1/x"))).await.refused(400, "unsupported_endpoint");
    assert!(
        error["message"].as_str().is_some_and(|text| text.contains("/v1/embeddings or /v1/activations")),
        "{error}"
    );
    assert_eq!(world.client.get(PATH).await.ok_json()["data"], json!([]));
    let claimed = world.client.get("/v1/fine_tuning/capabilities").await.ok_json();
    assert_eq!(claimed["features"]["batches"], true, "{claimed}");
    let error = world.client.post("/v1/fine_tuning/jobs", &json!({"model": MODEL, "training_file": file})).await;
    assert_eq!(error.status, 400, "a job reads no requests: {}", error.text());
}

#[tokio::test]
async fn a_repeated_creation_makes_one_batch_and_pages_hold_each_once() {
    let world = World::new().await;
    let file = uploaded(&world.client, &lines(1)).await;
    let create = async |key: &str| {
        let call = world.client.call(reqwest::Method::POST, PATH).header("idempotency-key", key);
        id(&call.json(&body(&file, EMBEDDINGS)).send().await.ok_json())
    };
    let (first, again, second) = (create("one").await, create("one").await, create("two").await);
    assert_eq!(first, again);
    let page = world.client.get(&format!("{PATH}?limit=1")).await.ok_json();
    assert_eq!((&page["data"][0]["id"], &page["has_more"]), (&json!(second), &json!(true)));
    let rest = world.client.get(&format!("{PATH}?limit=1&after={second}")).await.ok_json();
    assert_eq!((&rest["data"][0]["id"], &rest["has_more"]), (&json!(first), &json!(false)));
    let never = format!("batch_{}", uuid::Uuid::now_v7().simple());
    world.client.get(&format!("{PATH}?after={never}")).await.refused(400, "invalid_cursor");
    world.client.get(&format!("{PATH}/{never}")).await.refused(404, "not_found");
    for batch in [first, second] {
        completed(&world.client, &batch).await;
    }
}

/// A host of its own that answers one line in a turn, so that a batch can be met on its way.
async fn slow_host(more: &[(&str, &str)]) -> (Host, Client) {
    let settings = [&[("BLINDTUNE_BATCHES__PIECE_LINES", "1"), ("BLINDTUNE_JOBS__LEASE_SECS", "3")], more].concat();
    let host = Host::start(&settings).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("p", &[]).await));
    (host, client)
}

async fn answered(client: &Client, batch: &str, least: u64) {
    until("answers", async || {
        view(client, batch).await["request_counts"]["completed"].as_u64().is_some_and(|done| done >= least)
    })
    .await;
}

fn count(view: &Value, name: &str) -> usize {
    view["request_counts"][name].as_u64().expect("a count") as usize
}

#[tokio::test]
async fn a_cancelled_batch_keeps_what_was_answered() {
    let (_host, client) = slow_host(&[]).await;
    let lines = lines(2000);
    let batch = batch_of(&client, EMBEDDINGS, &lines).await;
    answered(&client, &batch, 3).await;
    let path = format!("{PATH}/{batch}/cancel");
    let cancelled = client.verb(&path).await.ok_json();
    assert_eq!(cancelled["status"], "cancelling", "{cancelled}");
    assert!(cancelled["cancelling_at"].is_i64());
    let view = ended(&client, &batch).await;
    assert_eq!((&view["status"], &view["error_file_id"]), (&json!("cancelled"), &Value::Null));
    assert!(view["cancelled_at"].is_i64() && view["completed_at"].is_null(), "{view}");
    let done = count(&view, "completed");
    assert!((3..2000).contains(&done), "{done}");
    let answers = parsed(&content(&client, &view, "output_file_id").await);
    assert_eq!(custom_ids(&answers), custom_ids(&lines)[..done]);
    assert_eq!(client.verb(&path).await.ok_json()["status"], "cancelled", "again is no error");
    let short = batch_of(&client, EMBEDDINGS, &lines[..1]).await;
    completed(&client, &short).await;
    client.verb(&format!("{PATH}/{short}/cancel")).await.refused(409, "invalid_batch_state");
}

async fn sql(host: &Host, statement: &str) {
    let mut connection = PgConnection::connect(host.database()).await.expect("connects");
    assert_eq!(
        sqlx::raw_sql(statement).execute(&mut connection).await.expect("runs").rows_affected(),
        1,
        "{statement}"
    );
    connection.close().await.expect("closes");
}

#[tokio::test]
async fn a_batch_whose_window_passes_expires_with_what_was_answered() {
    let (host, client) = slow_host(&[]).await;
    let lines = lines(300);
    let batch = batch_of(&client, EMBEDDINGS, &lines).await;
    answered(&client, &batch, 2).await;
    sql(&host, "update batches set expires_at = now() where finished_at is null").await;
    let view = ended(&client, &batch).await;
    assert_eq!(view["status"], "expired", "{view}");
    assert!(view["expired_at"].is_i64() && view["completed_at"].is_null(), "{view}");
    let (done, failed) = (count(&view, "completed"), count(&view, "failed"));
    assert!(done >= 2 && failed > 0 && done + failed == 300, "{view}");
    let answers = parsed(&content(&client, &view, "output_file_id").await);
    assert_eq!(custom_ids(&answers), custom_ids(&lines)[..done]);
    let late = parsed(&content(&client, &view, "error_file_id").await);
    assert_eq!(custom_ids(&late), custom_ids(&lines)[done..]);
    for line in late {
        assert_eq!((&line["response"], &line["error"]["code"]), (&Value::Null, &json!("batch_expired")));
    }
}

#[tokio::test]
async fn a_spent_budget_refuses_the_rest_of_a_batch_and_the_next_one() {
    let (host, _) = slow_host(&[]).await;
    let client = Client::new(&host.base(), Some(&host.key("poor", &["--monthly-tokens", "30"]).await));
    let batch = batch_of(&client, EMBEDDINGS, &lines(20)).await;
    let view = completed(&client, &batch).await;
    let (done, failed) = (count(&view, "completed"), count(&view, "failed"));
    assert!(done > 0 && failed > 0 && done + failed == 20, "{view}");
    assert!(view["usage"]["total_tokens"].as_u64().is_some_and(|tokens| (30..60).contains(&tokens)), "{view}");
    for line in parsed(&content(&client, &view, "error_file_id").await) {
        assert_eq!(line["response"]["status_code"], 429);
        assert_eq!(line["response"]["body"]["error"]["code"], "insufficient_quota");
    }
    let file = uploaded(&client, &lines(1)).await;
    let error = client.post(PATH, &body(&file, EMBEDDINGS)).await.refused(429, "insufficient_quota");
    assert_eq!(error["param"], "monthly_tokens");
}

#[tokio::test]
async fn answers_count_as_stored_and_a_full_project_gets_no_more() {
    let (_host, client) = slow_host(&[("BLINDTUNE_LIMITS__FEATURE_BYTES_PER_PROJECT", "4000")]).await;
    let view = completed(&client, &batch_of(&client, EMBEDDINGS, &lines(40)).await).await;
    let (done, failed) = (count(&view, "completed"), count(&view, "failed"));
    assert!(done > 0 && failed > 0 && done + failed == 40, "{view}");
    let refused = parsed(&content(&client, &view, "error_file_id").await);
    assert!(refused.iter().all(|line| line["response"]["body"]["error"]["code"] == "storage_exceeded"), "{refused:?}");
    let file = uploaded(&client, &lines(1)).await;
    client.post(PATH, &body(&file, EMBEDDINGS)).await.refused(413, "storage_exceeded");
    for field in ["output_file_id", "error_file_id"] {
        client.delete(&format!("/v1/files/{}", view[field].as_str().expect("an id"))).await.ok();
    }
    client.post(PATH, &body(&file, EMBEDDINGS)).await.ok();
}

#[tokio::test]
async fn lines_of_a_model_that_was_deleted_meanwhile_are_refused_and_the_file_stays_till_the_end() {
    let (_host, client) = slow_host(&[]).await;
    let job = crate::world::split_job(&client, json!({})).await;
    let model = job.verb("complete").await.ok_json()["fine_tuned_model"].as_str().expect("a name").to_owned();
    let lines: Vec<Value> =
        (0..500).map(|at| line(&format!("{at}"), EMBEDDINGS, json!({"model": model, "input": "w5 w6"}))).collect();
    let file = uploaded(&client, &lines).await;
    let batch = id(&client.post(PATH, &body(&file, EMBEDDINGS)).await.ok_json());
    answered(&client, &batch, 1).await;
    client.delete(&format!("/v1/files/{file}")).await.refused(409, "file_in_use");
    client.delete(&format!("/v1/models/{model}")).await.ok();
    let view = completed(&client, &batch).await;
    assert!(count(&view, "completed") >= 1 && count(&view, "failed") >= 1, "{view}");
    for line in parsed(&content(&client, &view, "error_file_id").await) {
        assert_eq!(
            (&line["response"]["status_code"], &line["response"]["body"]["error"]["code"]),
            (&json!(404), &json!("not_found"))
        );
    }
    client.delete(&format!("/v1/files/{file}")).await.ok();
}

#[tokio::test]
async fn another_projects_batch_and_file_read_as_ones_that_never_were() {
    let (mine, theirs) = (World::new().await, World::new().await);
    let file = uploaded(&mine.client, &lines(1)).await;
    let batch = batch_of(&mine.client, EMBEDDINGS, &lines(1)).await;
    theirs.client.get(&format!("{PATH}/{batch}")).await.refused(404, "not_found");
    theirs.client.verb(&format!("{PATH}/{batch}/cancel")).await.refused(404, "not_found");
    theirs.client.post(PATH, &body(&file, EMBEDDINGS)).await.refused(404, "not_found");
    theirs.client.get(&format!("{PATH}?after={batch}")).await.refused(400, "invalid_cursor");
    assert_eq!(theirs.client.get(PATH).await.ok_json()["data"], json!([]));
    completed(&mine.client, &batch).await;
    let blind = mine.client.with_key(Some(&mine.host.key(&mine.project, &["--scopes", "steps:write"]).await));
    let error = blind.post(PATH, &body(&file, EMBEDDINGS)).await.refused(403, "missing_scope");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("files:read")), "{error}");
}
