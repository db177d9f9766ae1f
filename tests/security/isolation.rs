//! Every operation of the contract: without a key it is refused, and another project's ids read as ids that never were.
//! An operation that is not listed here fails the test.

use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::client::Client;
use crate::client::JSON;
use crate::client::OCTETS;
use crate::client::Reply;
use crate::client::Tensor;
use crate::client::one;
use crate::client::pack;
use crate::contract::contract;
use crate::world::Job;
use crate::world::MODEL;
use crate::world::World;
use crate::world::batch;
use crate::world::id;
use crate::world::values;

/// What a tenant has.
#[derive(Clone)]
struct Ids {
    job: String,
    file: String,
    model: String,
    forward: String,
    checkpoint: String,
    upload: String,
    part: String,
}

impl Ids {
    /// Ids that were never given out.
    fn random() -> Self {
        let id = |prefix: &str| format!("{prefix}{}", uuid::Uuid::now_v7().simple());
        Self {
            job: id("ftjob-"),
            file: id("file-"),
            model: format!("ft:{MODEL}:{}", id("")),
            forward: id("fwd-"),
            checkpoint: id("ftckpt_"),
            upload: id("upload_"),
            part: id("part_"),
        }
    }

    fn all(&self) -> [&str; 7] {
        [&self.job, &self.file, &self.model, &self.forward, &self.checkpoint, &self.upload, &self.part]
    }
}

/// How an operation is called: method, path with ids, media type and a body that would be taken.
struct Operation {
    method: Method,
    path: String,
    media: &'static str,
    body: Vec<u8>,
    /// Whether it takes an id at all; the others list or make things.
    by_id: bool,
}

/// A form.
const FORM: &str = "multipart/form-data; boundary=x";
/// With a part of a file in it.
const PART: &[u8] = b"--x\r\ncontent-disposition: form-data; name=\"data\"; filename=\"a\"\r\n\r\nabc\r\n--x--\r\n";

/// The one table of operations. `None`: not covered.
fn operation(name: &str, ids: &Ids) -> Option<Operation> {
    let job = |rest: &str| format!("/v1/fine_tuning/jobs/{}{rest}", ids.job);
    let file = |rest: &str| format!("/v1/files/{}{rest}", ids.file);
    let model = format!("/v1/models/{}", ids.model);
    let share = pack(&one("s.0.0", Tensor::f32(&[3, 16], &values(48, 1))));
    let theta = pack(&one("theta.0", Tensor::f32(&[1024], &values(1024, 1))));
    let text = |value: Value| value.to_string().into_bytes();
    let backward = job(&format!("/backward?seq=1&forward_id={}", ids.forward));
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    let checkpoint = |rest: &str| job(&format!("/checkpoints/{}{rest}", ids.checkpoint));
    let upload = |rest: &str| format!("/v1/uploads/{}{rest}", ids.upload);
    let adapters = format!("/v1/adapters/{}", ids.model);
    let (method, path, media, body, by_id) = match name {
        "list_files" => (get, "/v1/files".to_owned(), JSON, Vec::new(), false),
        "create_file" => (post, "/v1/files".to_owned(), FORM, Vec::new(), false),
        "get_file" => (get, file(""), JSON, Vec::new(), true),
        "delete_file" => (delete, file(""), JSON, Vec::new(), true),
        "get_file_content" => (get, file("/content"), JSON, Vec::new(), true),
        "list_models" => (get, "/v1/models".to_owned(), JSON, Vec::new(), false),
        "get_model" => (get, model, JSON, Vec::new(), true),
        "delete_model" => (delete, model, JSON, Vec::new(), true),
        "list_jobs" => (get, "/v1/fine_tuning/jobs".to_owned(), JSON, Vec::new(), false),
        "create_job" => {
            let body = text(json!({"model": MODEL, "training_file": ids.file}));
            (post, "/v1/fine_tuning/jobs".to_owned(), JSON, body, true)
        }
        "get_job" => (get, job(""), JSON, Vec::new(), true),
        "cancel_job" => (post, job("/cancel"), JSON, Vec::new(), true),
        "pause_job" => (post, job("/pause"), JSON, Vec::new(), true),
        "resume_job" => (post, job("/resume"), JSON, Vec::new(), true),
        "complete_job" => (post, job("/complete"), JSON, Vec::new(), true),
        "list_events" => (get, job("/events"), JSON, Vec::new(), true),
        "list_checkpoints" => (get, job("/checkpoints"), JSON, Vec::new(), true),
        "create_checkpoint" => (post, job("/checkpoints"), JSON, Vec::new(), true),
        "report_metrics" => (post, job("/metrics"), JSON, text(json!({"step": 1, "metrics": {"loss": 1.0}})), true),
        "list_ledger" => (get, job("/ledger"), JSON, Vec::new(), true),
        "forward" => (post, job("/forward?seq=2"), OCTETS, pack(&batch()), true),
        "backward" => (post, backward, OCTETS, share, true),
        "optim_step" => (post, job("/optim_step"), JSON, text(json!({"seq": 1, "lr": 0.1})), true),
        "get_adapters" => (get, job("/adapters"), JSON, Vec::new(), true),
        "get_adapter" => (get, job("/adapters/0"), JSON, Vec::new(), true),
        "put_adapter" => (put, job("/adapters/0"), OCTETS, theta, true),
        "get_checkpoint" => (get, checkpoint(""), JSON, Vec::new(), true),
        "update_checkpoint" => (Method::PATCH, checkpoint(""), JSON, text(json!({"expires_after": null})), true),
        "delete_checkpoint" => (delete, checkpoint(""), JSON, Vec::new(), true),
        "get_checkpoint_content" => (get, checkpoint("/content"), JSON, Vec::new(), true),
        "get_model_adapters" => (get, adapters, JSON, Vec::new(), true),
        "create_model_adapters" => (post, "/v1/adapters".to_owned(), FORM, Vec::new(), false),
        "create_upload" => (post, "/v1/uploads".to_owned(), JSON, Vec::new(), false),
        "create_upload_part" => (post, upload("/parts"), FORM, PART.to_vec(), true),
        "complete_upload" => (post, upload("/complete"), JSON, text(json!({"part_ids": [ids.part]})), true),
        "cancel_upload" => (post, upload("/cancel"), JSON, Vec::new(), true),
        _ => return None,
    };
    Some(Operation { method, path, media, body, by_id })
}

/// Needs no key.
const OPEN: [&str; 2] = ["healthz", "readyz"];

/// The names of all operations, as the contract has them.
async fn operations(world: &World) -> Vec<String> {
    let contract = contract(world).await;
    let paths = contract["paths"].as_object().expect("an object").values();
    let operations = paths.flat_map(|path| path.as_object().expect("an object").values());
    let names = operations.map(|operation| operation["operationId"].as_str().expect("a name").to_owned());
    let names: Vec<String> = names.filter(|name| !OPEN.contains(&name.as_str())).collect();
    assert!(names.len() >= 26, "{names:?}");
    names
}

async fn call(client: &Client, name: &str, ids: &Ids) -> Reply {
    let operation = operation(name, ids).unwrap_or_else(|| panic!("{name} is in the contract and not in this test"));
    let Operation { method, path, media, body, .. } = operation;
    client.call(method, &path).body(media, body).send().await
}

/// A tenant with one of everything; the first job runs.
async fn tenant() -> (World, Job, Ids) {
    let world = World::new().await;
    let file = world.file("a.jsonl", "{\"text\": \"w5\"}\n").await;
    let done = world.job(json!({})).await.verb("complete").await.ok_json();
    let mut job = world.job_with(json!({"training_file": file})).await;
    let forward = job.forward_ok(&batch()).await.0;
    let model = done["fine_tuned_model"].as_str().expect("a name").to_owned();
    let announced = json!({"bytes": 3, "filename": "a.jsonl", "mime_type": "x", "purpose": "fine-tune"});
    let upload = id(&world.client.post("/v1/uploads", &announced).await.ok_json());
    let path = format!("/v1/uploads/{upload}/parts");
    let part = id(&world.client.call(Method::POST, &path).body(FORM, PART.to_vec()).send().await.ok_json());
    let checkpoint = id(&world.client.verb(&job.path("/checkpoints")).await.ok_json());
    let ids = Ids { job: job.id.clone(), file, model, forward, checkpoint, upload, part };
    (world, job, ids)
}

/// Everything that a tenant can see of its own.
async fn picture(world: &World, job: &Job) -> String {
    let mut picture = Vec::new();
    for path in [
        "/v1/files",
        "/v1/models",
        "/v1/fine_tuning/jobs",
        &job.path("/events"),
        &job.path("/checkpoints"),
        &job.path("/ledger"),
    ] {
        picture.push(world.client.get(path).await.ok().text());
    }
    format!("{picture:?} {:?}", job.theta(0).await)
}

#[tokio::test]
async fn without_a_key_every_operation_is_refused_alike() {
    let world = World::new().await;
    let nobody = Client::new(&world.host.base(), None);
    let expected = nobody.get("/v1/models").await;
    for name in operations(&world).await {
        let reply = call(&nobody, &name, &Ids::random()).await;
        reply.refused(401, "invalid_api_key");
        assert_eq!(reply.body, expected.body, "{name}");
    }
}

#[tokio::test]
async fn another_projects_ids_read_as_ids_that_never_were() {
    let (owner, job, ids) = tenant().await;
    let (stranger, _, _) = tenant().await;
    let before = picture(&owner, &job).await;
    for name in operations(&owner).await {
        let never = Ids::random();
        let Some(Operation { by_id: true, .. }) = operation(&name, &ids) else { continue };
        let theirs = call(&stranger.client, &name, &ids).await;
        let random = call(&stranger.client, &name, &never).await;
        assert_eq!((theirs.status, random.status), (404, 404), "{name}: {} {}", theirs.text(), random.text());
        let mut text = theirs.text();
        for (ours, random) in ids.all().into_iter().zip(never.all()) {
            text = text.replace(ours, random);
        }
        assert_eq!(text, random.text(), "{name}");
    }
    assert_eq!(picture(&owner, &job).await, before, "nothing of the owner's changed");
}

#[tokio::test]
async fn lists_hold_nothing_of_another_project() {
    let (_, _, ids) = tenant().await;
    let stranger = World::new().await;
    for name in operations(&stranger).await {
        if let Some(Operation { by_id: false, .. }) = operation(&name, &ids) {
            let text = call(&stranger.client, &name, &ids).await.text();
            assert!(ids.all().iter().all(|id| !text.contains(id)), "{name}: {text}");
        }
    }
}

#[tokio::test]
async fn another_projects_forward_is_unknown_even_with_a_job_of_ones_own() {
    let (_, _, ids) = tenant().await;
    let (stranger, mut job, _) = tenant().await;
    let share = one("s.0.0", Tensor::f32(&[3, 16], &values(48, 1)));
    job.backward(&ids.forward, &share).await.refused(404, "not_found");
    let file = json!({"model": MODEL, "training_file": ids.file});
    let error = stranger.client.post("/v1/fine_tuning/jobs", &file).await.refused(404, "not_found");
    assert_eq!(error["param"], "training_file");
}
