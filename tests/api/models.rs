use reqwest::Method;
use serde_json::json;

use crate::world::MODEL;
use crate::world::SLASHED;
use crate::world::World;
use crate::world::write_model;

const LENT: &str = "lent";

#[tokio::test]
async fn backbones_are_listed_with_their_sizes() {
    let world = World::new().await;
    let list = world.client.get("/v1/models").await.ok_json();
    assert_eq!((&list["object"], &list["has_more"]), (&json!("list"), &json!(false)));
    let tiny = list["data"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|model| model["id"] == MODEL)
        .expect("the backbone")
        .clone();
    assert_eq!(
        (&tiny["object"], &tiny["owned_by"], &tiny["family"]),
        (&json!("model"), &json!("blindtune"), &json!("bert"))
    );
    assert_eq!((&tiny["hidden_size"], &tiny["max_tokens"]), (&json!(16), &json!(40)));
    assert!(tiny["created"].is_i64() && tiny["parameters"].as_i64().is_some_and(|count| count > 1000));
}

#[tokio::test]
async fn a_name_with_a_slash_is_found_raw_and_encoded() {
    let world = World::new().await;
    for name in [SLASHED, "org%2Ftiny"] {
        let model = world.client.get(&format!("/v1/models/{name}")).await.ok_json();
        assert_eq!(model["id"], SLASHED, "{name}");
    }
    world.client.get("/v1/models/org/none").await.refused(404, "not_found");
    world.client.get("/v1/models/org%2Fnone").await.refused(404, "not_found");
}

#[tokio::test]
async fn a_backbone_cannot_be_deleted_by_a_project() {
    let world = World::new().await;
    world.client.delete(&format!("/v1/models/{MODEL}")).await.refused(403, "forbidden");
    world.client.get(&format!("/v1/models/{MODEL}")).await.ok();
    world.client.delete("/v1/models/none").await.refused(404, "not_found");
}

#[tokio::test]
async fn an_operator_withdraws_a_backbone_that_nobody_needs() {
    let world = World::new().await;
    let folder = world.host.scratch("lent");
    write_model(&folder, "bert-gelu-cls");
    world.host.add_model(&folder, LENT).await;
    let remove = async || {
        let output = world.host.cli(&["models", "remove", LENT]).await;
        let said = [&output.stdout[..], &output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let mut open = world.job_with(json!({"model": LENT})).await;
    let (done, said) = remove().await;
    assert!(!done && said.contains("needed by 1 jobs that are not over and 0 fine-tuned models"), "{said}");
    open.step_ok().await;
    let tuned = open.verb("complete").await.ok_json()["fine_tuned_model"].as_str().expect("a name").to_owned();
    let (done, said) = remove().await;
    assert!(!done && said.contains("0 jobs that are not over and 1 fine-tuned models"), "{said}");
    world.client.delete(&format!("/v1/models/{tuned}")).await.ok();
    let (done, said) = remove().await;
    assert!(done && said.contains("offered no longer"), "{said}");
    world.client.get(&format!("/v1/models/{LENT}")).await.refused(404, "not_found");
    world.client.post("/v1/fine_tuning/jobs", &json!({"model": LENT})).await.refused(404, "not_found");
    assert_eq!(open.view().await["model"], LENT, "what is over stays");
    let (done, said) = remove().await;
    assert!(!done && said.contains("No such backbone"), "{said}");
    world.host.add_model(&folder, LENT).await;
    world.client.get(&format!("/v1/models/{LENT}")).await.ok();
}

#[tokio::test]
async fn a_name_that_is_not_utf8_is_refused_in_the_envelope() {
    let world = World::new().await;
    world.client.call(Method::GET, "/v1/models/%FF").send().await.refused(404, "not_found");
}

#[tokio::test]
async fn a_completed_job_becomes_a_model_that_its_project_alone_sees_and_deletes() {
    let world = World::new().await;
    let mut job = world.job_with(json!({"suffix": "mine"})).await;
    job.step_ok().await;
    let done = job.verb("complete").await.ok_json();
    let name = done["fine_tuned_model"].as_str().expect("a name").to_owned();
    assert!(name.starts_with("ft:tiny:") && name.contains(":mine:"), "{name}");
    let model = world.client.get(&format!("/v1/models/{name}")).await.ok_json();
    assert_eq!((&model["id"], &model["hidden_size"]), (&json!(name), &json!(16)));
    let other = World::new().await;
    other.client.get(&format!("/v1/models/{name}")).await.refused(404, "not_found");
    other.client.delete(&format!("/v1/models/{name}")).await.refused(404, "not_found");
    let listed = other.client.get("/v1/models").await.ok().text();
    assert!(!listed.contains(&name), "another project sees it");
    let deleted = world.client.delete(&format!("/v1/models/{name}")).await.ok_json();
    assert_eq!(deleted, json!({"id": name, "object": "model", "deleted": true}));
    world.client.get(&format!("/v1/models/{name}")).await.refused(404, "not_found");
    assert_eq!(job.view().await["fine_tuned_model"], json!(name), "the job remembers what it became");
}
