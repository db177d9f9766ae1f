//! Jobs that resume from a fine-tuned model or a checkpoint.

use serde_json::Value;
use serde_json::json;

use crate::client::Client;
use crate::client::Tensor;
use crate::client::Tensors;
use crate::client::one;
use crate::host::Host;
use crate::world::Job;
use crate::world::World;
use crate::world::add_tiny;
use crate::world::batch;
use crate::world::make_job;
use crate::world::shares_like;
use crate::world::values;

const JOBS: &str = "/v1/fine_tuning/jobs";
/// P of [`SPLIT`].
const PARAMETERS: usize = 512;

fn split() -> Value {
    json!({"adapter_sets": 2, "lora": {"rank": 4}, "pooling": "mean"})
}

/// A job whose adapters are like no others, and what it computes.
async fn trained(client: &Client, suffix: &str) -> (Job, Tensors) {
    let job = make_job(client, json!({"suffix": suffix, "method": {"type": "split", "split": split()}})).await;
    for set in 0..2 {
        let theta = Tensor::f32(&[PARAMETERS], &values(PARAMETERS, 40 + set));
        job.client.put_tensors(&job.path(&format!("/adapters/{set}")), &one("theta", theta)).await.ok();
    }
    let activations = job.evaluate(&batch()).await;
    (job, activations)
}

async fn checkpoint(job: &Job) -> Value {
    job.client.verb(&job.path("/checkpoints")).await.ok_json()
}

async fn completed(job: &Job) -> String {
    let done = job.verb("complete").await.ok_json();
    done["fine_tuned_model"].as_str().expect("a name").to_owned()
}

/// A job that starts from `name`, with what its caller names of the split.
async fn going_on(client: &Client, name: &str, split: Value) -> Job {
    make_job(client, json!({"model": name, "seed": 99, "method": {"type": "split", "split": split}})).await
}

#[tokio::test]
async fn a_job_goes_on_from_a_model_with_its_adapters_and_settings() {
    let world = World::new().await;
    let (job, expected) = trained(&world.client, "first").await;
    let name = completed(&job).await;
    let mut next = going_on(&world.client, &name, json!({})).await;
    let view = next.view().await;
    assert_eq!((&view["origin"], &view["model"]), (&json!(name), &json!(name)));
    let settings = &view["method"]["split"];
    assert_eq!(
        (&settings["lora"]["rank"], &settings["pooling"], &settings["adapter_sets"]),
        (&json!(4), &json!("mean"), &json!(2))
    );
    assert_eq!(next.evaluate(&batch()).await, expected);
    let (forward, activations) = next.forward_ok(&batch()).await;
    assert_eq!(activations["h.0"], expected["h.0"], "a step without theta");
    next.backward(&forward, &shares_like(&activations, 1)).await.ok();
    let again = completed(&next).await;
    assert!(again.starts_with("ft:tiny:") && again.matches("ft:").count() == 1, "{again}");
    assert_eq!(world.client.get(&format!("/v1/models/{again}")).await.ok_json()["base_model"], "tiny");
}

#[tokio::test]
async fn a_job_goes_on_from_a_checkpoint() {
    let world = World::new().await;
    let (job, expected) = trained(&world.client, "first").await;
    let saved = checkpoint(&job).await;
    let name = saved["fine_tuned_model_checkpoint"].as_str().expect("a name").to_owned();
    let next = going_on(&world.client, &name, json!({"lora": {"rank": 4}, "adapter_sets": 2})).await;
    checkpoint(&job).await; // so that the first one may go
    let path = job.path(&format!("/checkpoints/{}", crate::world::id(&saved)));
    world.client.delete(&path).await.ok();
    assert_eq!(next.evaluate(&batch()).await, expected, "the job has the adapters, the checkpoint is gone");
    assert_eq!(next.view().await["origin"], json!(name));
    let gone = world.client.post(JOBS, &json!({"model": name})).await.refused(404, "not_found");
    assert_eq!(gone["param"], "model");
}

#[tokio::test]
async fn a_model_that_is_deleted_meanwhile_breaks_no_job() {
    let world = World::new().await;
    let (job, expected) = trained(&world.client, "first").await;
    let name = completed(&job).await;
    let next = going_on(&world.client, &name, json!({})).await;
    world.client.delete(&format!("/v1/models/{name}")).await.ok();
    assert_eq!(next.evaluate(&batch()).await, expected);
    world.client.post(JOBS, &json!({"model": name})).await.refused(404, "not_found");
}

#[tokio::test]
async fn what_shapes_the_adapters_must_be_the_origins() {
    let world = World::new().await;
    let (job, _) = trained(&world.client, "first").await;
    let name = completed(&job).await;
    for (split, param) in [
        (json!({"adapter_sets": 1}), "method.split.adapter_sets"),
        (json!({"pooling": "cls"}), "method.split.pooling"),
        (json!({"lora": {"rank": 8}}), "method.split.lora.rank"),
        (json!({"lora": {"target_modules": ["query"]}}), "method.split.lora.target_modules"),
    ] {
        let body = json!({"model": name, "method": {"type": "split", "split": split}});
        let error = world.client.post(JOBS, &body).await.refused(400, "settings_differ");
        assert_eq!(error["param"], param);
    }
}

#[tokio::test]
async fn a_name_of_another_project_reads_as_one_that_never_was() {
    let world = World::new().await;
    let (job, _) = trained(&world.client, "first").await;
    let saved = checkpoint(&job).await["fine_tuned_model_checkpoint"].as_str().expect("a name").to_owned();
    let model = completed(&job).await;
    let other = World::new().await;
    for name in [saved.as_str(), &model, "ft:tiny:none", "ft:tiny:ckpt-step-0:none"] {
        let error = other.client.post(JOBS, &json!({"model": name})).await.refused(404, "not_found");
        assert_eq!((&error["param"], &error["message"]), (&json!("model"), &json!(format!("No such model: {name}"))));
    }
}

#[tokio::test]
async fn after_a_crash_before_the_first_checkpoint_a_job_begins_at_its_origin_again() {
    let mut host = Host::start_to_restart(&[]).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("p", &[]).await));
    let (job, expected) = trained(&client, "first").await;
    let name = completed(&job).await;
    let mut at_home = going_on(&client, &name, json!({})).await;
    let mut at_host = going_on(&client, &name, json!({"custody": "host"})).await;
    for job in [&mut at_home, &mut at_host] {
        let (forward, activations) = job.forward_ok(&batch()).await;
        assert_eq!(activations["h.1"], expected["h.1"]);
        job.backward(&forward, &shares_like(&activations, 1)).await.ok();
    }
    at_host.optim_step(0.01).await.ok();
    assert_ne!(at_host.evaluate(&batch()).await["h.0"], expected["h.0"]);
    host.crash().await;
    assert_eq!(at_home.evaluate(&batch()).await, expected);
    assert_eq!(at_host.evaluate(&batch()).await, expected);
    assert_eq!(at_host.next_seq().await, 1);
}
