use reqwest::Method;
use serde_json::json;

use crate::client::OCTETS;
use crate::client::Tensor;
use crate::client::Tensors;
use crate::client::from_json;
use crate::client::one;
use crate::client::to_json;
use crate::world::Job;
use crate::world::World;
use crate::world::batch;
use crate::world::values;

fn theta(seed: u64) -> Tensor {
    Tensor::f32(&[1024], &values(1024, seed))
}

async fn peft(job: &Job, set: usize) -> Tensors {
    let path = job.path(&format!("/adapters/{set}"));
    job.client.call(Method::GET, &path).header("accept", OCTETS).send().await.tensors()
}

#[tokio::test]
async fn the_layout_says_where_each_matrix_stands() {
    let world = World::new().await;
    let job = world.job(json!({"lora": {"rank": 4}})).await;
    let layout = job.client.get(&job.path("/adapters")).await.ok_json();
    assert_eq!(
        (&layout["object"], &layout["adapter_sets"], &layout["parameters"]),
        (&json!("fine_tuning.job.adapters"), &json!(2), &json!(512))
    );
    let mut end = 0;
    for slot in layout["layout"].as_array().expect("a list") {
        assert_eq!(slot["offset"], json!(end), "no holes");
        end += slot["shape"].as_array().expect("a shape").iter().filter_map(|dim| dim.as_u64()).product::<u64>();
    }
    assert_eq!(end, 512);
    let config = &layout["peft_config"];
    assert_eq!((&config["peft_type"], &config["r"], &config["lora_alpha"]), (&json!("LORA"), &json!(4), &json!(16.0)));
    assert_eq!(config["target_modules"], json!(["query", "value"]));
}

#[tokio::test]
async fn the_matrices_have_pefts_names_and_fill_the_flat_vector() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    let (flat, matrices) = (job.theta(0).await.floats(), peft(&job, 0).await);
    let layout = job.client.get(&job.path("/adapters")).await.ok_json();
    let slots = layout["layout"].as_array().expect("a list").clone();
    assert_eq!(matrices.len(), slots.len());
    for slot in &slots {
        let matrix = &matrices[slot["name"].as_str().expect("a name")];
        let (start, count) = (slot["offset"].as_u64().expect("a number") as usize, matrix.floats().len());
        assert_eq!(matrix.floats(), flat[start..start + count], "{slot}");
        assert_eq!(json!(matrix.shape), slot["shape"]);
    }
    assert!(matrices.contains_key("base_model.model.encoder.layer.0.attention.self.query.lora_A.weight"));
}

#[tokio::test]
async fn adapters_travel_from_job_to_job_in_every_form() {
    let world = World::new().await;
    let (source, target) = (world.job(json!({})).await, world.job(json!({})).await);
    let path = |job: &Job, set: usize| job.path(&format!("/adapters/{set}"));
    source.client.put_tensors(&path(&source, 0), &one("theta.0", theta(1))).await.ok();
    assert_eq!(source.theta(0).await, theta(1));
    target.client.put_tensors(&path(&target, 1), &peft(&source, 0).await).await.ok();
    assert_eq!(target.theta(1).await, theta(1), "as PEFT's matrices");
    target.client.put_tensors(&path(&target, 0), &one("theta", theta(2))).await.ok();
    assert_eq!(target.theta(0).await, theta(2), "under a short name");
    let body = json!({"tensors": to_json(&peft(&source, 0).await)});
    target.client.call(Method::PUT, &path(&target, 0)).json(&body).send().await.ok();
    assert_eq!(target.theta(0).await, theta(1), "as JSON");
    let got = target.client.get(&path(&target, 0)).await.ok_json();
    assert_eq!(from_json(&got["tensors"]), peft(&source, 0).await);
    let (ours, theirs) = (source.evaluate(&batch()).await, target.evaluate(&batch()).await);
    assert_eq!(ours["h.0"], theirs["h.0"], "and work alike");
}

#[tokio::test]
async fn each_adapter_that_does_not_fit_is_refused_and_the_old_one_stays() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let before = job.theta(0).await;
    let whole = peft(&job, 0).await;
    let name = whole.keys().next().expect("a matrix").clone();
    let without = whole.iter().filter(|(other, _)| **other != name).map(|(k, v)| (k.clone(), v.clone())).collect();
    let with = |name: &str, tensor: Tensor| whole.clone().into_iter().chain([(name.to_owned(), tensor)]).collect();
    let cases: [Tensors; 7] = [
        one("theta.0", Tensor::f32(&[1023], &values(1023, 1))),
        one("theta.0", Tensor::f32(&[1, 1024], &values(1024, 1))),
        one("theta.0", Tensor::i64(&[0; 1024])),
        one("theta.1", theta(1)),
        without,
        with("base_model.model.extra.lora_A.weight", Tensor::f32(&[1], &[0.0])),
        with(&name, Tensor::f32(&[1], &[0.0])),
    ];
    for tensors in cases {
        let error = job.client.put_tensors(&job.path("/adapters/0"), &tensors).await.refused(422, "tensor_invalid");
        assert!(error["param"].is_string(), "{error}");
    }
    let infinite = one("theta.0", Tensor::f32(&[1024], &[f32::INFINITY; 1024]));
    job.client.put_tensors(&job.path("/adapters/0"), &infinite).await.refused(422, "tensor_invalid");
    assert_eq!((job.theta(0).await, job.ledger().await.len()), (before, 0));
    job.step_ok().await;
}

#[tokio::test]
async fn a_set_that_is_not_there_is_a_404() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    for set in ["2", "-1", "x", "99999999999999999999"] {
        let path = job.path(&format!("/adapters/{set}"));
        job.client.get(&path).await.refused(404, "not_found");
        job.client.put_tensors(&path, &one("theta", theta(1))).await.refused(404, "not_found");
    }
    job.client.get(&job.path("/adapters/0?format=gguf")).await.refused(400, "invalid_query");
}

#[tokio::test]
async fn in_host_custody_a_put_is_durable_at_once() {
    let world = World::new().await;
    let mut job = world.job(json!({"custody": "host"})).await;
    job.step_ok().await;
    job.client.put_tensors(&job.path("/adapters/0"), &one("theta.0", theta(4))).await.ok();
    assert_eq!(job.view().await["split"]["durable_seq"], 2);
    assert_eq!(job.theta(0).await, theta(4));
}
