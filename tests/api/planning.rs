use std::path::Path;

use serde_json::Value;
use serde_json::json;

use crate::client::Client;
use crate::client::Tensor;
use crate::client::Tensors;
use crate::client::pack;
use crate::features::contents;
use crate::features::joined;
use crate::features::succeeded;
use crate::host::Host;
use crate::world::Job;
use crate::world::MODEL;
use crate::world::World;
use crate::world::id;
use crate::world::make_job;
use crate::world::write_model;

const FAMILIES: [&str; 7] =
    ["bert-gelu-cls", "roberta-cls", "deberta-v3-cls", "flan-t5-eos", "llama2-last", "mistral-last", "qwen2-last"];

fn texts(rows: usize) -> String {
    let row =
        |number: usize| json!({"text": vec![format!("w{}", 4 + number % 50); 1 + number % 7].join(" ")}).to_string();
    (0..rows).map(row).collect::<Vec<_>>().join("\n") + "\n"
}

fn rows_and_adapters(first: i64, count: usize, theta: &[Tensor]) -> Tensors {
    let rows: Vec<i64> = (first..first + count as i64).collect();
    let adapters = theta.iter().enumerate().map(|(set, tensor)| (format!("theta.{set}"), tensor.clone()));
    adapters.chain([("rows".to_owned(), Tensor::i64(&rows))]).collect()
}

/// The run that is estimated, and then made.
#[derive(Clone, Copy)]
struct Plan {
    steps: usize,
    batch: usize,
    sets: usize,
    shares: usize,
}

/// Drives the estimated job, as the SDK would, and gives tokens, bytes up and bytes down.
async fn run(world: &World, file: &str, plan: Plan) -> [f64; 3] {
    let Plan { steps, batch, sets, shares } = plan;
    let split = json!({"adapter_sets": sets});
    let job = world.job_with(json!({"training_file": file, "method": {"type": "split", "split": split}})).await;
    let mut theta = Vec::new();
    for set in 0..sets {
        theta.push(job.theta(set).await);
    }
    let (mut tokens, mut up, mut down) = (0.0, 0, 0);
    for step in 0..steps {
        let sent = rows_and_adapters((step * batch % 48) as i64, batch, &theta);
        up += pack(&sent).len();
        let path = job.path(&format!("/forward?seq={}&base=true", 2 * step + 1));
        let reply = world.client.post_tensors(&path, &sent).await.ok();
        down += reply.body.len();
        tokens += reply.scalars()["tokens"].parse::<f64>().expect("a number");
        let h = reply.tensors();
        let mut table = Tensors::new();
        for (set, share) in (0..sets).flat_map(|set| (0..shares).map(move |share| (set, share))) {
            let values = crate::world::values(h["h.0"].floats().len(), share as u64 + 1);
            table.insert(format!("s.{set}.{share}"), Tensor::f32(&h[&format!("h.{set}")].shape, &values));
        }
        up += pack(&table).len();
        let forward = &reply.scalars()["forward_id"];
        let path = job.path(&format!("/backward?seq={}&forward_id={forward}", 2 * step + 2));
        down += world.client.post_tensors(&path, &table).await.ok().body.len();
    }
    [tokens, up as f64, down as f64]
}

#[tokio::test]
async fn an_estimate_is_what_then_happens() {
    let world = World::new().await;
    let file = world.file("rows.jsonl", &texts(48)).await;
    for (sets, shares) in [(1, 3), (2, 2)] {
        let method = json!({"type": "split", "split": {"adapter_sets": sets}});
        let body = json!({"model": MODEL, "training_file": file, "batch_size": 16, "n_epochs": 4, "shares": shares,
            "method": method});
        let estimate = world.client.post("/v1/fine_tuning/estimate", &body).await.ok_json();
        assert_eq!((&estimate["object"], &estimate["steps"]), (&json!("fine_tuning.estimate"), &json!(12)));
        assert_eq!((&estimate["rows"], &estimate["sampled_share"]), (&json!(48), &json!(1.0)));
        assert!(estimate["measured_steps"].as_u64().is_some_and(|steps| steps >= 3) && estimate["device"] == "cpu");
        let number = |name: &str| estimate[name].as_f64().expect("a number");
        let [tokens, up, down] = run(&world, &file, Plan { steps: 12, batch: 16, sets, shares }).await;
        assert_eq!((number("trained_tokens"), number("tokens")), (tokens, tokens / 4.0));
        assert_eq!(number("bytes_up"), up, "{sets} sets, {shares} shares");
        // Each of a step's two answers is priced with the longest seq: at most 8 bytes too high (docs/adr/0004).
        let most = down + 8.0 * 2.0 * 12.0;
        assert!((down..=most).contains(&number("bytes_down")), "{} for {down} bytes down", number("bytes_down"));
        assert!(number("flops") > tokens * 1000.0);
    }
}

/// How near the seconds are on a quiet machine is in benches/README.md; this order holds on a busy one.
#[tokio::test]
async fn a_plan_that_is_a_hundred_times_as_large_takes_longer() {
    let world = World::new().await;
    let estimate = async |rows: u64, tokens: u64| {
        let body = json!({"model": MODEL, "rows": rows, "tokens_per_row": tokens, "batch_size": 8, "n_epochs": 1});
        world.client.post("/v1/fine_tuning/estimate", &body).await.ok_json()
    };
    let small = estimate(80, 3).await;
    let large = estimate(8_000, 39).await;
    for name in ["steps", "trained_tokens", "flops", "bytes_up", "bytes_down", "seconds"] {
        let number = |estimate: &Value| estimate[name].as_f64().expect("a number");
        assert!(number(&small) * 10.0 < number(&large), "{name}: {} and {}", number(&small), number(&large));
    }
}

#[tokio::test]
async fn an_estimate_needs_no_file_and_takes_every_custody_and_cut() {
    let world = World::new().await;
    let sizes = json!({"model": MODEL, "rows": 1_000_000, "tokens_per_row": 9, "batch_size": 8, "n_epochs": 0.5});
    for split in [json!({"custody": "host"}), json!({"pooling": "none", "adapter_sets": 1}), json!({"pooling": "mean"})]
    {
        let mut body = sizes.clone();
        body["method"] = json!({"type": "split", "split": split});
        let estimate = world.client.post("/v1/fine_tuning/estimate", &body).await.ok_json();
        assert_eq!((&estimate["steps"], &estimate["tokens"]), (&json!(62_500), &json!(9_000_000)), "{split}");
        assert_eq!(estimate["trained_tokens"], json!(4_500_000));
        assert!(estimate["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    }
    assert_eq!(world.client.get("/v1/fine_tuning/jobs").await.ok_json()["data"], json!([]), "no job is made");
}

#[tokio::test]
async fn an_estimate_that_makes_no_sense_is_refused_by_its_field() {
    let world = World::new().await;
    let file = world.file("rows.jsonl", &texts(8)).await;
    let other = World::new().await;
    let sizes = json!({"rows": 10, "tokens_per_row": 5});
    let cases = [
        (json!({}), 400, "inputs_missing", "training_file"),
        (json!({"training_file": file, "rows": 10}), 400, "inputs_missing", "training_file"),
        (json!({"rows": 0, "tokens_per_row": 5}), 400, "invalid_setting", "rows"),
        (json!({"rows": 10, "tokens_per_row": 41}), 400, "row_too_long", "tokens_per_row"),
        (json!({"batch_size": 0}), 400, "invalid_setting", "batch_size"),
        (json!({"n_epochs": 0}), 400, "invalid_setting", "n_epochs"),
        (json!({"shares": 9}), 400, "invalid_setting", "shares"),
        (json!({"model": "none"}), 404, "not_found", "model"),
        (json!({"labels": [1]}), 400, "label_present", "labels"),
        (json!({"method": {"type": "supervised"}}), 400, "unsupported_method", "method.type"),
        (
            json!({"method": {"type": "split", "split": {"pooling": "eos"}}}),
            400,
            "invalid_setting",
            "method.split.pooling",
        ),
    ];
    for (fields, status, code, param) in cases {
        let mut body = json!({"model": MODEL});
        let has_inputs =
            ["training_file", "rows"].iter().any(|name| fields.get(*name).is_some()) || fields == json!({});
        for more in [if has_inputs { json!({}) } else { sizes.clone() }, fields.clone()] {
            body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        }
        let error = world.client.post("/v1/fine_tuning/estimate", &body).await.refused(status, code);
        assert_eq!(error["param"], param, "{fields}");
    }
    let foreign = json!({"model": MODEL, "training_file": file});
    let error = other.client.post("/v1/fine_tuning/estimate", &foreign).await.refused(404, "not_found");
    assert_eq!(error["param"], "training_file");
}

/// Makes a job and runs one forward of it; what refused it. Only what depends on a backbone's weights may be found as late as the forward,
/// and it is named as the setting that it is.
async fn try_job(client: &Client, model: &str, split: &Value, ids: &Value) -> Result<(), Value> {
    let body = json!({"model": model, "method": {"type": "split", "split": split}});
    let made = client.post("/v1/fine_tuning/jobs", &body).await;
    if made.status != 200 {
        return Err(made.json());
    }
    let job = made.json()["id"].as_str().expect("an id").to_owned();
    let forward = json!({"seq": 1, "input_ids": ids});
    let ran = client.post(&format!("/v1/fine_tuning/jobs/{job}/forward"), &forward).await;
    client.verb(&format!("/v1/fine_tuning/jobs/{job}/cancel")).await.ok();
    match ran.status {
        200 => Ok(()),
        _ => Err(ran.json()),
    }
}

/// Makes a features job and waits for its end: how many levels it has, or what refused it.
async fn try_features(client: &Client, model: &str, precision: &str, ids: &Value) -> Result<Value, Value> {
    let rows = ids.as_array().expect("a list").iter().map(|ids| json!({"input_ids": ids}).to_string() + "\n");
    let file = id(&client.upload("rows.jsonl", rows.collect::<String>()).await.ok_json());
    let method = json!({"type": "features", "features": {"precision": precision}});
    let body = json!({"model": model, "training_file": file, "method": method});
    let made = client.post("/v1/fine_tuning/jobs", &body).await;
    if made.status != 200 {
        return Err(made.json());
    }
    let view = succeeded(&Job { id: id(&made.json()), client: client.clone(), seq: 1 }).await;
    let content = contents(client, &view).await;
    let states = joined(&content).into_keys().filter(|name| name.starts_with("hidden.")).count();
    assert_eq!(Some(states), view["method"]["features"]["layers"].as_array().map(Vec::len), "a tensor a level");
    Ok(json!(states))
}

/// A features job runs in each precision that is claimed, at as many levels, and is refused in the others.
async fn check_features(client: &Client, model: &Value, ids: &Value) {
    let name = model["id"].as_str().expect("a name");
    for precision in ["float32", "bfloat16", "nf4"] {
        let fits = model["precisions"].as_array().is_some_and(|known| known.contains(&json!(precision)));
        match try_features(client, name, precision, ids).await {
            Ok(levels) if fits => assert_eq!(levels, model["levels"], "{name} {precision}"),
            Err(error) if !fits => assert_eq!(error["error"]["param"], "method.features.precision", "{name}: {error}"),
            other => panic!("{name} {precision}: claimed {fits}, and {other:?}"),
        }
    }
}

#[tokio::test]
async fn whatever_is_claimed_runs_and_whatever_is_not_is_refused() {
    let host = Host::start(&[]).await;
    for family in FAMILIES {
        let folder = host.scratch(family);
        write_model(&folder, family);
        host.add_model(&folder, family).await;
    }
    let client = Client::new(&host.base(), Some(&host.key("mine", &[]).await));
    let claimed = client.get("/v1/fine_tuning/capabilities").await.ok_json();
    assert_eq!(claimed["models"].as_array().map(Vec::len), Some(FAMILIES.len()));
    assert_eq!(claimed["methods"], json!(["split", "features"]));
    let list = |value: &Value| -> Vec<Value> { value.as_array().expect("a list").clone() };
    let (mut ran, mut refused) = (0, 0);
    for model in list(&claimed["models"]) {
        let name = model["id"].as_str().expect("a name");
        let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/data").join(name).join("case.json");
        let case: Value = serde_json::from_slice(&std::fs::read(case).expect("reads")).expect("JSON");
        let ids = json!(list(&case["ids"])[..2]);
        assert_eq!(model["poolings"][0], model["default_pooling"]);
        for pooling in ["cls", "mean", "last", "eos", "none"] {
            for precision in ["float32", "bfloat16", "nf4"] {
                let fits = list(&model["poolings"]).contains(&json!(pooling))
                    && list(&model["precisions"]).contains(&json!(precision));
                for custody in list(&claimed["custody"]) {
                    let split = json!({"pooling": pooling, "precision": precision, "custody": custody});
                    match try_job(&client, name, &split, &ids).await {
                        Ok(()) if fits => ran += 1,
                        Err(error) if !fits => {
                            let param = error["error"]["param"].as_str().expect("a place");
                            assert!(param.starts_with("method.split.p"), "{name} {split}: {error}");
                            let weights = precision == "nf4" && error["error"]["code"] == "tensor_invalid";
                            assert!(weights || error["error"]["code"] == "invalid_setting", "{name} {split}: {error}");
                            refused += 1;
                        }
                        other => panic!("{name} {split}: claimed {fits}, and {other:?}"),
                    }
                }
            }
        }
        check_features(&client, &model, &ids).await;
        for targets in [&model["lora"]["target_modules_default"], &model["lora"]["modules"]] {
            assert!(!list(targets).is_empty());
            let split = json!({"lora": {"target_modules": targets}});
            assert_eq!(try_job(&client, name, &split, &ids).await, Ok(()), "{name}");
        }
        let body = json!({"model": name, "input": ids});
        for call in list(&claimed["inference"]) {
            client.post(&format!("/v1/{}", call.as_str().expect("a word")), &body).await.ok();
        }
    }
    assert!(ran >= 60 && refused >= 60, "{ran} ran, {refused} were refused");
}

#[tokio::test]
async fn the_limits_are_the_hosts_own_by_name() {
    let world = World::new().await;
    let claimed = world.client.get("/v1/fine_tuning/capabilities").await.ok_json();
    let limits = claimed["limits"].as_object().expect("an object");
    assert_eq!((&limits["batch_rows"], &limits["running_per_project"]), (&json!(64), &json!(3)), "as this host is set");
    let toml = include_str!("../../config/default.toml");
    let section = toml.split_once("[limits]").expect("the section").1;
    for line in section.lines().filter(|line| line.contains('=')) {
        let name = line.split('=').next().unwrap_or_default().trim();
        assert!(limits.contains_key(name), "{name}");
    }
    let many = json!({"model": MODEL, "method": {"type": "split", "split": {"adapter_sets": limits["adapter_sets"].as_u64().expect("a number") + 1}}});
    world.client.post("/v1/fine_tuning/jobs", &many).await.refused(400, "invalid_setting");
    let most = limits["adapter_sets"].clone();
    make_job(&world.client, json!({"method": {"type": "split", "split": {"adapter_sets": most}}})).await;
}
