//! What is refused of a features job, and what it refuses.

use serde_json::Value;
use serde_json::json;

use crate::client::Client;
use crate::client::Tensor;
use crate::client::one;
use crate::features::body;
use crate::features::ended;
use crate::features::features_job;
use crate::features::files;
use crate::features::jsonl;
use crate::features::succeeded;
use crate::host::Host;
use crate::host::until;
use crate::world::MODEL;
use crate::world::World;
use crate::world::add_tiny;
use crate::world::batch;
use crate::world::id;

const JOBS: &str = "/v1/fine_tuning/jobs";

#[tokio::test]
async fn each_wrong_setting_is_named_and_no_job_is_made() {
    let world = World::new().await;
    let file = world.file("rows.jsonl", &jsonl(4)).await;
    let project = |fields: Value| json!({"project": fields});
    let cases = [
        (json!({"layers": [99]}), "invalid_setting", "method.features.layers"),
        (json!({"layers": 99}), "invalid_setting", "method.features.layers"),
        (json!({"layers": [1, 0]}), "invalid_setting", "method.features.layers"),
        (json!({"tokens": []}), "invalid_setting", "method.features.tokens"),
        (json!({"tokens": ["cls", "cls"]}), "invalid_setting", "method.features.tokens"),
        (project(json!({"kind": "pca", "dim": 0})), "invalid_setting", "method.features.project.dim"),
        (project(json!({"kind": "pca", "dim": 17})), "invalid_setting", "method.features.project.dim"),
        (project(json!({"kind": "umap", "dim": 2})), "invalid_json", ""),
        (json!({"layers": "some"}), "invalid_json", ""),
        (json!({"tokens": "first"}), "invalid_json", ""),
        (json!({"dtype": "float8"}), "invalid_json", ""),
        (json!({"precision": "nf4"}), "invalid_setting", "method.features.precision"),
        (json!({"labels": "x"}), "label_present", "method.features.labels"),
        (
            json!({"expires_after": {"anchor": "created_at", "seconds": 1}}),
            "invalid_expires_after",
            "method.features.expires_after.seconds",
        ),
    ];
    for (settings, code, param) in cases {
        let refused = world.client.post(JOBS, &body(&file, &settings)).await;
        let error = refused.refused(400, code);
        assert!(param.is_empty() || error["param"] == param, "{settings}: {error}");
        if code == "invalid_setting" && param.ends_with("layers") && settings["layers"] != json!([1, 0]) {
            assert!(error["message"].as_str().is_some_and(|text| text.contains("levels")), "{error}");
        }
    }
    assert_eq!(world.client.get(JOBS).await.ok_json()["data"], json!([]), "no job is made");
}

#[tokio::test]
async fn a_features_job_is_of_a_file_and_a_bare_backbone() {
    let world = World::new().await;
    let file = world.file("rows.jsonl", &jsonl(4)).await;
    let method = json!({"type": "features"});
    let refused = async |fields: Value, status: u16, code: &str, param: &str| {
        let error = world.client.post(JOBS, &fields).await.refused(status, code);
        assert_eq!(error["param"], param, "{fields}");
    };
    refused(json!({"model": MODEL, "method": method}), 400, "no_training_file", "training_file").await;
    refused(json!({"model": "none", "method": method, "training_file": file}), 404, "not_found", "model").await;
    let stranger = World::new().await.file("a.jsonl", &jsonl(1)).await;
    refused(json!({"model": MODEL, "method": method, "training_file": stranger}), 404, "not_found", "training_file")
        .await;
    let both = json!({"type": "features", "split": {}});
    refused(json!({"model": MODEL, "method": both, "training_file": file}), 400, "unsupported_field", "method.split")
        .await;
    let other = json!({"type": "split", "features": {}});
    refused(json!({"model": MODEL, "method": other}), 400, "unsupported_field", "method.features").await;
    let mut tuned = world.job(json!({"adapter_sets": 1})).await;
    tuned.step_ok().await;
    let model = tuned.verb("complete").await.ok_json()["fine_tuned_model"].clone();
    refused(json!({"model": model, "method": method, "training_file": file}), 400, "unsupported_model", "model").await;
    let result = succeeded(&features_job(&world.client, &file, &json!({"tokens": "cls"})).await).await;
    let result = &files(&result)[0];
    refused(
        json!({"model": MODEL, "method": method, "training_file": result}),
        400,
        "invalid_purpose",
        "training_file",
    )
    .await;
}

#[tokio::test]
async fn a_features_job_takes_no_steps() {
    let world = World::new().await;
    let file = world.file("rows.jsonl", &jsonl(4)).await;
    let mut job = features_job(&world.client, &file, &json!({"tokens": "cls"})).await;
    let view = succeeded(&job).await;
    let base = job.path("");
    let path = |rest: &str| format!("{base}{rest}");
    let theta = one("theta.0", Tensor::f32(&[1], &[0.0]));
    for reply in [
        world.client.post_tensors(&path("/forward?train=false"), &batch()).await,
        world.client.post(&path("/optim_step"), &json!({"seq": 1, "lr": 0.1})).await,
        world.client.get(&path("/adapters")).await,
        world.client.put_tensors(&path("/adapters/0"), &theta).await,
        world.client.post(&path("/checkpoints"), &json!({})).await,
        world.client.verb(&path("/complete")).await,
    ] {
        let error = reply.refused(409, "features_job");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("takes no steps")), "{error}");
    }
    job.forward(&batch()).await.refused(409, "features_job");
    assert_eq!(job.view().await, view, "nothing of it changed");
    let checkpoints = world.client.get(&path("/checkpoints")).await.ok_json();
    assert_eq!(checkpoints["data"], json!([]));
}

#[tokio::test]
async fn a_job_and_its_results_are_their_projects_own() {
    let (world, other) = (World::new().await, World::new().await);
    let file = world.file("rows.jsonl", &jsonl(4)).await;
    let job = features_job(&world.client, &file, &json!({"tokens": "cls"})).await;
    let result = files(&succeeded(&job).await)[0].clone();
    for path in
        [job.path(""), job.path("/events"), format!("/v1/files/{result}"), format!("/v1/files/{result}/content")]
    {
        other.client.get(&path).await.refused(404, "not_found");
    }
    for verb in ["pause", "resume", "cancel"] {
        other.client.verb(&job.path(&format!("/{verb}"))).await.refused(404, "not_found");
    }
    other.client.delete(&format!("/v1/files/{result}")).await.refused(404, "not_found");
    world.client.get(&format!("/v1/files/{result}/content")).await.ok();
}

#[tokio::test]
async fn the_class_of_protection_is_shown_as_it_is_declared() {
    let world = World::new().await;
    for class in ["blind", "bounded", "hurdle", "open"] {
        let made = world.client.post(JOBS, &json!({"model": MODEL, "protection": class})).await.ok_json();
        assert_eq!(made["protection"], class);
        world.client.verb(&format!("{JOBS}/{}/cancel", id(&made))).await.ok();
    }
    let plain = world.client.post(JOBS, &json!({"model": MODEL})).await.ok_json();
    assert_eq!(plain["protection"], Value::Null);
    world.client.post(JOBS, &json!({"model": MODEL, "protection": "private"})).await.refused(400, "invalid_json");
}

/// A host with tight limits.
async fn tight() -> (Host, Client) {
    let host = Host::start(&[
        ("BLINDTUNE_LIMITS__FEATURE_BYTES_PER_PROJECT", "21000"),
        ("BLINDTUNE_FEATURES__SHARD_ROWS", "2"),
        ("BLINDTUNE_KEYS__CACHE_SECS", "1"),
    ])
    .await;
    add_tiny(&host).await;
    let key = host.key("tight", &[]).await;
    let client = Client::new(&host.base(), Some(&key));
    (host, client)
}

#[tokio::test]
async fn a_job_that_storage_or_budget_has_no_room_for_is_refused_with_numbers() {
    let (host, client) = tight().await;
    let file = id(&client.upload("rows.jsonl", jsonl(100)).await.ok_json());
    let error = client.post(JOBS, &body(&file, &json!({}))).await.refused(413, "storage_exceeded");
    let text = error["message"].as_str().expect("a sentence");
    assert!(text.contains("100 rows") && text.contains("21000 bytes"), "{text}");
    let fits = features_job(&client, &file, &json!({"layers": 1, "tokens": "cls", "dtype": "float16"})).await;
    let bytes = succeeded(&fits).await["features"]["bytes"].as_u64().expect("a number");
    assert!(bytes > 3200, "headers count as well: {bytes}");
    // What is stored counts: 21,000 bytes would not hold a second job of this size.
    let second = json!({"layers": 1, "tokens": "cls"});
    client.post(JOBS, &body(&file, &second)).await.refused(413, "storage_exceeded");
    let key = host.key("tight", &["--monthly-tokens", "1"]).await;
    let poor = client.with_key(Some(&key));
    let refused = poor.post(JOBS, &body(&file, &json!({"layers": 1, "tokens": "cls", "dtype": "float16"}))).await;
    let error = refused.refused(429, "insufficient_quota");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("1 are left")), "{error}");
    assert_eq!(refused.header("x-should-retry"), "false");
    assert_eq!(client.get(JOBS).await.ok_json()["data"].as_array().map(Vec::len), Some(1), "one job was made");
}

#[tokio::test]
async fn a_file_whose_contents_are_gone_fails_the_job_with_the_reason() {
    let (host, client) = tight().await;
    let file = id(&client.upload("rows.jsonl", jsonl(100)).await.ok_json());
    let job = features_job(&client, &file, &json!({"layers": 1, "tokens": "cls", "dtype": "float16"})).await;
    job.verb("pause").await.ok();
    for entry in std::fs::read_dir(host.state().join("blobs/files")).expect("a folder") {
        std::fs::remove_file(entry.expect("an entry").path()).expect("is removed");
    }
    job.verb("resume").await.ok();
    let view = ended(&job).await;
    assert_eq!((&view["status"], &view["error"]["code"]), (&json!("failed"), &json!("file_deleted")));
    assert_eq!(json!(2 * files(&view).len()), view["features"]["rows_done"], "what is listed is what is done");
}

#[tokio::test]
async fn a_place_for_blobs_that_takes_nothing_fails_the_job_and_lists_nothing() {
    let (host, client) = tight().await;
    let file = id(&client.upload("rows.jsonl", jsonl(10)).await.ok_json());
    let folder = host.state().join("blobs/features");
    std::fs::remove_dir_all(&folder).expect("is removed");
    std::fs::write(&folder, "not a folder").expect("is written");
    let job = features_job(&client, &file, &json!({"layers": 1, "tokens": "cls"})).await;
    let view = ended(&job).await;
    assert_eq!((&view["status"], &view["result_files"]), (&json!("failed"), &json!([])));
    assert!(view["error"]["message"].is_string(), "{view}");
    assert_eq!(client.get("/v1/files?purpose=fine-tune-results").await.ok_json()["data"], json!([]));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named() {
    let world = World::new().await;
    let rows = |count: usize, bad: usize| -> String {
        (0..count)
            .map(|row| json!({"input_ids": [2, if row == bad { 999 } else { 5 }, 3]}).to_string() + "\n")
            .collect()
    };
    let file = world.file("rows.jsonl", &rows(10, 9)).await;
    let refused = world.client.post(JOBS, &body(&file, &json!({"tokens": "cls"}))).await;
    let error = refused.refused(422, "invalid_input");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("Row 9 ")), "{error}");
    // Of more than 2,000 rows a sample is looked at beforehand, and row 20 of 2,100 is not in it.
    let file = world.file("rows.jsonl", &rows(2100, 20)).await;
    let view = ended(&features_job(&world.client, &file, &json!({"tokens": "cls"})).await).await;
    assert_eq!((&view["status"], &view["error"]["code"]), (&json!("failed"), &json!("invalid_input")));
    assert!(view["error"]["message"].as_str().is_some_and(|text| text.contains("Row 20 ")), "{view}");
    assert_eq!((&view["features"]["rows_done"], files(&view).len()), (&json!(16), 2), "rows 0 to 15 are done");
}

#[tokio::test]
async fn a_host_gives_no_more_levels_and_no_wider_ones_than_its_limits_say() {
    let host = Host::start(&[("BLINDTUNE_LIMITS__FEATURE_LEVELS", "2"), ("BLINDTUNE_LIMITS__FEATURE_DIM", "8")]).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("bounded", &[]).await));
    let limits = client.get("/v1/fine_tuning/capabilities").await.ok_json()["limits"].clone();
    assert_eq!((&limits["feature_levels"], &limits["feature_dim"]), (&json!(2), &json!(8)));
    let file = id(&client.upload("rows.jsonl", jsonl(10)).await.ok_json());
    let project = json!({"kind": "orthogonal", "dim": 8});
    let refusals = [
        (json!({"layers": [1], "project": project}), "layers", "limits.feature_levels"),
        (json!({"layers": 3, "project": project}), "layers", "limits.feature_levels"),
        (json!({}), "project", "at most 8 features"),
        (json!({"project": {"kind": "pca", "dim": 9}}), "project", "at most 8 features"),
    ];
    for (settings, field, part) in refusals {
        let error = client.post(JOBS, &body(&file, &settings)).await.refused(400, "invalid_setting");
        assert_eq!(error["param"], format!("method.features.{field}"), "{settings}");
        assert!(error["message"].as_str().is_some_and(|text| text.contains(part)), "{error}");
    }
    let ask = async |fields: Value| {
        let mut body = json!({"model": MODEL, "input": ["w5 w6"]});
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        client.post("/v1/activations", &body).await
    };
    for fields in [json!({"layers": "all"}), json!({"layers": [1], "tokens": "cls"})] {
        let error = ask(fields).await.refused(400, "invalid_setting");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("like")), "{error}");
    }
    let job = features_job(&client, &file, &json!({"project": project})).await;
    let view = succeeded(&job).await;
    assert_eq!(view["method"]["features"]["layers"].as_array().map(Vec::len), Some(2), "all are those that are given");
    let found = ask(json!({"like": job.id})).await.ok_json();
    let shapes: Vec<_> = found["tensors"].as_object().expect("tensors").iter().collect();
    assert_eq!(shapes.iter().filter(|(name, _)| name.starts_with("hidden.")).count(), 2, "{found}");
    assert!(shapes.iter().all(|(name, one)| !name.starts_with("hidden.") || one["shape"][1] == 8), "{found}");
}

#[tokio::test]
async fn a_budget_that_is_spent_meanwhile_pauses_the_job_and_loses_nothing() {
    let (host, client) = tight().await;
    let poor = client.with_key(Some(&host.key("tight", &["--monthly-tokens", "800"]).await));
    let file = id(&poor.upload("rows.jsonl", jsonl(100)).await.ok_json());
    let job = features_job(&poor, &file, &json!({"layers": 1, "tokens": "cls", "dtype": "float16"})).await;
    job.verb("pause").await.ok();
    for _ in 0..5 {
        poor.post("/v1/embeddings", &json!({"model": MODEL, "input": vec!["w5 w6 w7"; 20]})).await.ok();
    }
    job.verb("resume").await.ok();
    until("it pauses", async || job.status().await == "paused").await;
    let view = job.view().await;
    let done = view["features"]["rows_done"].as_u64().expect("a number");
    assert!(done > 0 && done < 100, "{view}");
    assert_eq!(files(&view).len() as u64, done / 2, "what is listed is what is done");
    let events = poor.get(&job.path("/events")).await.ok_json();
    let said = |event: &Value| event["message"].as_str().is_some_and(|text| text.contains("monthly_tokens"));
    assert!(events["data"].as_array().expect("events").iter().any(said), "{events}");
    job.verb("cancel").await.ok();
}

#[tokio::test]
async fn the_same_request_again_makes_one_job() {
    let world = World::new().await;
    let file = world.file("rows.jsonl", &jsonl(10)).await;
    let ask = async |settings: Value| {
        let call = world.client.call(reqwest::Method::POST, JOBS).header("Idempotency-Key", "features-once");
        call.json(&body(&file, &settings)).send().await
    };
    let first = ask(json!({"tokens": "cls"})).await.ok_json();
    let again = ask(json!({"tokens": "cls"})).await;
    assert_eq!((id(&again.clone().ok_json()), again.header("idempotency-replayed")), (id(&first), "true"));
    ask(json!({"tokens": "mean"})).await.refused(422, "idempotency_conflict");
    let listed = world.client.get(JOBS).await.ok_json();
    let same = |job: &&Value| job["training_file"] == json!(file);
    assert_eq!(listed["data"].as_array().expect("a list").iter().filter(same).count(), 1);
}
