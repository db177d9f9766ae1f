use serde_json::Value;
use serde_json::json;

use crate::client::Client;
use crate::world::MODEL;
use crate::world::SLASHED;
use crate::world::World;
use crate::world::id;

const JOBS: &str = "/v1/fine_tuning/jobs";

/// The ids of a list, asked for two at a time.
async fn all_ids(client: &Client, query: &str) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{JOBS}?limit=2{query}{after}")).await.ok_json();
        found.extend(page["data"].as_array().expect("a list").iter().map(id));
        if page["has_more"] == false {
            return found;
        }
        after = format!("&after={}", page["last_id"].as_str().expect("a cursor"));
        assert!(found.len() < 50, "the list does not end");
    }
}

#[tokio::test]
async fn a_job_has_the_shape_that_stock_clients_read() {
    let world = World::new().await;
    let file = world.file("a.jsonl", "{\"text\": \"w5\"}\n").await;
    let body = json!({"model": MODEL, "training_file": file, "suffix": "mine", "seed": 42, "metadata": {"team": "a"},
        "hyperparameters": {"n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": 0.5},
        "validation_file": null, "integrations": [],
        "method": {"type": "split", "split": {"custody": "host", "adapter_sets": 3, "lora": {"rank": 4}, "pooling": "mean"}}});
    let job = world.client.post(JOBS, &body).await.ok_json();
    for (field, expected) in [
        ("object", json!("fine_tuning.job")),
        ("model", json!(MODEL)),
        ("training_file", json!(file)),
        ("seed", json!(42)),
        ("metadata", json!({"team": "a"})),
        ("status", json!("running")),
        (
            "status_details",
            json!("It trains by the calls of its client, which has the labels, and ends when that completes it."),
        ),
        ("error", json!(null)),
        ("fine_tuned_model", json!(null)),
        ("finished_at", json!(null)),
        ("validation_file", json!(null)),
        ("result_files", json!([])),
        ("hyperparameters", json!({"n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": 0.5})),
        ("estimated_finish", json!(null)),
        ("integrations", json!(null)),
        ("origin", json!(null)),
        ("trained_tokens", json!(0)),
        ("user_provided_suffix", json!("mine")),
    ] {
        assert_eq!(job.get(field), Some(&expected), "{field}");
    }
    assert!(job["created_at"].is_i64() && job["organization_id"].is_string());
    assert_eq!(job["key_id"], world.client.get("/v1/me").await.ok_json()["key_id"]);
    let split = &job["method"]["split"];
    assert_eq!(
        (&split["custody"], &split["adapter_sets"], &split["pooling"]),
        (&json!("host"), &json!(3), &json!("mean"))
    );
    assert_eq!((&split["lora"]["rank"], &split["lora"]["alpha"]), (&json!(4), &json!(16.0)));
    assert_eq!((&job["split"]["next_seq"], &job["split"]["durable_seq"]), (&json!(1), &json!(0)));
    assert_eq!(world.client.get(&format!("{JOBS}/{}", id(&job))).await.ok_json(), job);
}

#[tokio::test]
async fn a_model_is_all_that_a_job_needs() {
    let world = World::new().await;
    let job = world.client.post(JOBS, &json!({"model": MODEL})).await.ok_json();
    assert_eq!(job["method"]["type"], "split");
    assert_eq!(
        (&job["method"]["split"]["custody"], &job["method"]["split"]["adapter_sets"]),
        (&json!("client"), &json!(2))
    );
}

#[tokio::test]
async fn sizes_are_known_after_the_first_step() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    job.forward_ok(&crate::world::batch()).await;
    let view = job.view().await;
    let split = &view["split"];
    assert_eq!(
        (&split["hidden_size"], &split["max_tokens"], &split["adapter_parameters"]),
        (&json!(16), &json!(40), &json!(1024))
    );
    assert_eq!((&split["next_seq"], &view["trained_tokens"]), (&json!(2), &json!(12)));
}

#[tokio::test]
async fn each_wrong_field_is_named_and_no_job_is_made() {
    let world = World::new().await;
    let split = |fields: Value| json!({"model": MODEL, "method": {"type": "split", "split": fields}});
    let with = |name: &str, value: Value| json!({"model": MODEL, name: value});
    let cases = [
        (json!({}), 400, "invalid_json", Value::Null),
        (json!({"model": "none"}), 404, "not_found", json!("model")),
        (json!({"model": "../../etc"}), 404, "not_found", json!("model")),
        (with("training_file", json!("file-x")), 404, "not_found", json!("training_file")),
        (with("training_file", json!(format!("file-{}", "0".repeat(32)))), 404, "not_found", json!("training_file")),
        (with("method", json!({"type": "supervised"})), 400, "unsupported_method", json!("method.type")),
        (
            with("method", json!({"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}})),
            400,
            "unsupported_method",
            json!("method.supervised"),
        ),
        (with("suffix", json!("a:b")), 400, "invalid_suffix", json!("suffix")),
        (with("suffix", json!("x".repeat(65))), 400, "invalid_suffix", json!("suffix")),
        (with("labels", json!([0, 1])), 400, "label_present", json!("labels")),
        (with("metadata", json!({"label": "1"})), 400, "label_present", json!("metadata.label")),
        (with("metadata", json!({"k": "x".repeat(513)})), 400, "invalid_metadata", json!("metadata.k")),
        (with("validation_file", json!("file-x")), 400, "unsupported_field", json!("validation_file")),
        (with("integrations", json!([{"type": "wandb"}])), 400, "unsupported_field", json!("integrations")),
        (with("hyperparameters", json!({"n_epochs": "many"})), 400, "invalid_json", json!("hyperparameters.n_epochs")),
        (
            with("hyperparameters", json!({"batch_size": 0})),
            400,
            "invalid_hyperparameter",
            json!("hyperparameters.batch_size"),
        ),
        (with("hyperparameters", json!({"lr": 1})), 400, "unknown_field", json!("hyperparameters.lr")),
        (with("status", json!("succeeded")), 400, "unknown_field", json!("status")),
        (split(json!({"adapter_sets": 0})), 400, "invalid_setting", json!("method.split.adapter_sets")),
        (split(json!({"adapter_sets": 9})), 400, "invalid_setting", json!("method.split.adapter_sets")),
        (split(json!({"lora": {"rank": 0}})), 400, "invalid_setting", json!("method.split.lora.rank")),
        (split(json!({"lora": {"dropout": 1.0}})), 400, "invalid_setting", json!("method.split.lora.dropout")),
        (split(json!({"pooling": "eos"})), 400, "invalid_setting", json!("method.split.pooling")),
        (split(json!({"pooling": "max"})), 400, "invalid_json", json!("method.split.pooling")),
        (split(json!({"custody": "server"})), 400, "invalid_json", json!("method.split.custody")),
        (split(json!({"lora": {"target": ["query"]}})), 400, "label_present", json!("method.split.lora.target")),
    ];
    for (body, status, code, param) in cases {
        let error = world.client.post(JOBS, &body).await.refused(status, code);
        assert_eq!(error["param"], param, "{body}: {error}");
    }
    let many: Value = (0..17).map(|key| (format!("k{key}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    world.client.post(JOBS, &with("metadata", many)).await.refused(400, "invalid_metadata");
    assert_eq!(world.client.get(JOBS).await.ok_json()["data"], json!([]));
}

#[tokio::test]
async fn a_module_that_the_backbone_lacks_is_refused_at_the_first_step_and_named() {
    let world = World::new().await;
    let mut job = world.job(json!({"lora": {"target_modules": ["no_such_layer"]}})).await;
    let reply = job.forward(&crate::world::batch()).await;
    let error = reply.refused(422, "tensor_invalid");
    assert_eq!(error["param"], "method.split.lora.target_modules");
    let message = error["message"].as_str().expect("a message");
    let said = "method.split.lora.target_modules: 'no_such_layer' matches no module";
    assert!(message.starts_with(said), "{message}");
    assert_eq!(job.next_seq().await, 1);
}

#[tokio::test]
async fn a_list_is_newest_first_and_paged_to_its_end() {
    let world = World::new().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(world.job(json!({})).await.id);
    }
    made.reverse();
    assert_eq!(all_ids(&world.client, "").await, made);
    let empty = World::new().await.client.get(JOBS).await.ok_json();
    assert_eq!(empty, json!({"object": "list", "data": [], "has_more": false, "first_id": null, "last_id": null}));
}

#[tokio::test]
async fn a_cursor_that_is_not_in_the_list_is_refused() {
    let world = World::new().await;
    let other = World::new().await.job(json!({})).await;
    world.client.get(&format!("{JOBS}?after=x")).await.refused(400, "invalid_query");
    world.client.get(&format!("{JOBS}?limit=0")).await.refused(400, "invalid_query");
    for cursor in [other.id, format!("ftjob-{}", "0".repeat(32))] {
        world.client.get(&format!("{JOBS}?after={cursor}")).await.refused(400, "invalid_cursor");
    }
}

#[tokio::test]
async fn a_list_is_filtered_by_state_model_and_time_and_ordered() {
    let world = World::new().await;
    let mut first = world.job_with(json!({})).await;
    let second = world.job_with(json!({"model": SLASHED})).await;
    assert_eq!(first.view().await["last_call_at"], json!(null));
    first.step_ok().await;
    second.verb("pause").await.ok();
    let now = first.view().await["last_call_at"].as_i64().expect("a time");
    assert!(now >= first.view().await["created_at"].as_i64().expect("a time"));
    let (one, two) = (first.id.clone(), second.id.clone());
    let cases = [
        ("&status=paused".to_owned(), vec![two.clone()]),
        ("&status=running".to_owned(), vec![one.clone()]),
        ("&status=failed".to_owned(), vec![]),
        (format!("&model={}", SLASHED.replace('/', "%2F")), vec![two.clone()]),
        (format!("&model={MODEL}&status=paused"), vec![]),
        (format!("&created_before={}", now + 60), vec![two.clone(), one.clone()]),
        (format!("&created_from={}", now + 60), vec![]),
        ("&order=asc".to_owned(), vec![one.clone(), two.clone()]),
    ];
    for (query, expected) in cases {
        assert_eq!(all_ids(&world.client, &query).await, expected, "{query}");
    }
    let wrong = [
        ("status=asleep", "status"),
        ("created_from=99999999999999", "created_from"),
        ("created_before=-1", "created_before"),
        ("created_before=-9223372036854775808", "created_before"),
    ];
    for (query, param) in wrong {
        let error = world.client.get(&format!("{JOBS}?{query}")).await.refused(400, "invalid_query");
        assert_eq!(error["param"], param, "{query}");
    }
    for query in ["order=up", "created_before=soon"] {
        world.client.get(&format!("{JOBS}?{query}")).await.refused(400, "invalid_query");
    }
}

#[tokio::test]
async fn metadata_filters_as_stock_clients_send_them() {
    let world = World::new().await;
    let with = |metadata: Value| world.job_with(json!({"metadata": metadata}));
    let first = with(json!({"team": "a b", "run": "1"})).await.id;
    let second = with(json!({"team": "a b", "run": "2"})).await.id;
    let third = with(json!(null)).await.id;
    let cases = [
        ("&metadata%5Bteam%5D=a%20b", vec![second.clone(), first.clone()]),
        ("&metadata[team]=a+b&metadata[run]=1", vec![first.clone()]),
        ("&metadata%5Bteam%5D=a", vec![]),
        ("&metadata%5Bnone%5D=1", vec![]),
        ("&metadata=null", vec![third.clone()]),
    ];
    for (query, expected) in cases {
        assert_eq!(all_ids(&world.client, query).await, expected, "{query}");
    }
    world.client.get(&format!("{JOBS}?metadata=x")).await.refused(400, "invalid_query");
    world.client.get(&format!("{JOBS}?label=1")).await.refused(400, "label_present");
}
