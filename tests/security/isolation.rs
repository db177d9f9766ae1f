//! Every operation of the contract: without a key it is refused, and another project's ids read as ids that never were.
//! An operation that is not listed here fails the test.

use std::collections::HashMap;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use sqlx::Connection;
use sqlx::PgConnection;

use crate::client::Client;
use crate::client::JSON;
use crate::client::OCTETS;
use crate::client::Reply;
use crate::client::Tensor;
use crate::client::one;
use crate::client::pack;
use crate::contract::contract;
use crate::host::until;
use crate::world::Job;
use crate::world::MODEL;
use crate::world::World;
use crate::world::batch;
use crate::world::id;
use crate::world::values;

/// What a tenant has.
#[derive(Clone)]
pub struct Ids {
    pub job: String,
    pub file: String,
    pub model: String,
    pub forward: String,
    pub key: String,
    pub checkpoint: String,
    pub upload: String,
    pub part: String,
    pub webhook: String,
    pub delivery: String,
    pub batch: String,
    pub requests: String,
}

impl Ids {
    /// Ids that were never given out.
    pub fn random() -> Self {
        let id = |prefix: &str| format!("{prefix}{}", uuid::Uuid::now_v7().simple());
        Self {
            job: id("ftjob-"),
            file: id("file-"),
            model: format!("ft:{MODEL}:{}", id("")),
            forward: id("fwd-"),
            key: id("key-"),
            checkpoint: id("ftckpt_"),
            upload: id("upload_"),
            part: id("part_"),
            webhook: id("wh_"),
            delivery: id("msg_"),
            batch: id("batch_"),
            requests: id("file-"),
        }
    }

    fn of_job(&self, rest: &str) -> String {
        format!("/v1/fine_tuning/jobs/{}{rest}", self.job)
    }

    fn all(&self) -> [&str; 12] {
        let Self { job, file, model, forward, key, checkpoint, upload, part, webhook, delivery, batch, requests } =
            self;
        [job, file, model, forward, key, checkpoint, upload, part, webhook, delivery, batch, requests]
    }
}

/// How an operation is called: method, path with ids, media type and a body that would be taken.
pub struct Operation {
    pub method: Method,
    pub path: String,
    pub media: &'static str,
    pub body: Vec<u8>,
    /// Whether it takes an id at all; the others list or make things.
    pub by_id: bool,
    /// The scope that it needs.
    pub scope: &'static str,
}

/// A form.
const FORM: &str = "multipart/form-data; boundary=x";
/// With a part of a file in it.
const PART: &[u8] = b"--x\r\ncontent-disposition: form-data; name=\"data\"; filename=\"a\"\r\n\r\nabc\r\n--x--\r\n";

/// A row of the table: method, path, media type and body, whether it takes an id, scope.
type Row = (Method, String, (&'static str, Vec<u8>), bool, &'static str);

fn none() -> (&'static str, Vec<u8>) {
    (JSON, Vec::new())
}

fn text(value: Value) -> (&'static str, Vec<u8>) {
    (JSON, value.to_string().into_bytes())
}

fn fixed(path: &str) -> String {
    format!("/v1/{path}")
}

/// The one table of operations. `None`: not covered.
pub fn operation(name: &str, ids: &Ids) -> Option<Operation> {
    let row = of_files(name, ids).or_else(|| of_models(name, ids)).or_else(|| of_jobs(name, ids));
    let row =
        row.or_else(|| of_steps(name, ids)).or_else(|| of_checkpoints(name, ids)).or_else(|| of_account(name, ids));
    let row = row.or_else(|| of_operator(name));
    let (method, path, (media, body), by_id, scope) = row?;
    Some(Operation { method, path, media, body, by_id, scope })
}

fn of_files(name: &str, ids: &Ids) -> Option<Row> {
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    let file = |rest: &str| format!("/v1/files/{}{rest}", ids.file);
    let upload = |rest: &str| format!("/v1/uploads/{}{rest}", ids.upload);
    Some(match name {
        "list_files" => (get, fixed("files"), none(), false, "files:read"),
        "create_file" => (post, fixed("files"), (FORM, Vec::new()), false, "files:write"),
        "get_file" => (get, file(""), none(), true, "files:read"),
        "delete_file" => (delete, file(""), none(), true, "files:write"),
        "get_file_content" => (get, file("/content"), none(), true, "files:read"),
        "create_upload" => (post, fixed("uploads"), none(), false, "files:write"),
        "create_upload_part" => (post, upload("/parts"), (FORM, PART.to_vec()), true, "files:write"),
        "complete_upload" => (post, upload("/complete"), text(json!({"part_ids": [ids.part]})), true, "files:write"),
        "cancel_upload" => (post, upload("/cancel"), none(), true, "files:write"),
        _ => return None,
    })
}

fn of_models(name: &str, ids: &Ids) -> Option<Row> {
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    let model = || format!("/v1/models/{}", ids.model);
    let adapters = || format!("/v1/adapters/{}", ids.model);
    let ask = || text(json!({"model": ids.model, "input": "w5"}));
    let batch = |rest: &str| format!("/v1/batches/{}{rest}", ids.batch);
    let requests = json!({"input_file_id": ids.requests, "endpoint": "/v1/embeddings", "completion_window": "24h"});
    Some(match name {
        "list_batches" => (get, fixed("batches"), none(), false, "jobs:read"),
        "create_batch" => (post, fixed("batches"), text(requests), true, "steps:write"),
        "get_batch" => (get, batch(""), none(), true, "jobs:read"),
        "cancel_batch" => (post, batch("/cancel"), none(), true, "steps:write"),
        "list_models" => (get, fixed("models"), none(), false, "models:read"),
        "get_model" => (get, model(), none(), true, "models:read"),
        "delete_model" => (delete, model(), none(), true, "models:write"),
        "get_model_adapters" => (get, adapters(), none(), true, "models:read"),
        "create_model_adapters" => (post, fixed("adapters"), (FORM, Vec::new()), false, "models:write"),
        "create_activations" => (post, fixed("activations"), ask(), true, "steps:write"),
        "create_embeddings" => (post, fixed("embeddings"), ask(), true, "steps:write"),
        _ => return None,
    })
}

fn of_jobs(name: &str, ids: &Ids) -> Option<Row> {
    let (get, post) = (Method::GET, Method::POST);
    let of_file = || text(json!({"model": MODEL, "training_file": ids.file}));
    Some(match name {
        "list_jobs" => (get, fixed("fine_tuning/jobs"), none(), false, "jobs:read"),
        "count_jobs" => (get, fixed("fine_tuning/jobs/counts"), none(), false, "jobs:read"),
        "create_job" => (post, fixed("fine_tuning/jobs"), of_file(), true, "jobs:write"),
        "get_job" => (get, ids.of_job(""), none(), true, "jobs:read"),
        "delete_job" => (Method::DELETE, ids.of_job(""), none(), true, "jobs:write"),
        "cancel_job" => (post, ids.of_job("/cancel"), none(), true, "jobs:write"),
        "pause_job" => (post, ids.of_job("/pause"), none(), true, "jobs:write"),
        "resume_job" => (post, ids.of_job("/resume"), none(), true, "jobs:write"),
        "complete_job" => (post, ids.of_job("/complete"), none(), true, "jobs:write"),
        "list_events" => (get, ids.of_job("/events"), none(), true, "jobs:read"),
        "list_all_events" => (get, fixed("events"), none(), false, "jobs:read"),
        "get_ledger_summary" => (get, ids.of_job("/ledger/summary"), none(), true, "jobs:read"),
        "list_ledger" => (get, ids.of_job("/ledger"), none(), true, "jobs:read"),
        "estimate" => (post, fixed("fine_tuning/estimate"), of_file(), true, "steps:write"),
        "capabilities" => (get, fixed("fine_tuning/capabilities"), none(), false, "jobs:read"),
        _ => return None,
    })
}

fn of_steps(name: &str, ids: &Ids) -> Option<Row> {
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let share = || (OCTETS, pack(&one("s.0.0", Tensor::f32(&[3, 16], &values(48, 1)))));
    let theta = || (OCTETS, pack(&one("theta.0", Tensor::f32(&[1024], &values(1024, 1)))));
    let metrics = || text(json!({"step": 1, "metrics": {"loss": 1.0}}));
    let backward = || ids.of_job(&format!("/backward?seq=1&forward_id={}", ids.forward));
    let optim_step = || text(json!({"seq": 1, "lr": 0.1}));
    Some(match name {
        "forward" => (post, ids.of_job("/forward?seq=2"), (OCTETS, pack(&batch())), true, "steps:write"),
        "backward" => (post, backward(), share(), true, "steps:write"),
        "optim_step" => (post, ids.of_job("/optim_step"), optim_step(), true, "steps:write"),
        "list_metrics" => (get, ids.of_job("/metrics"), none(), true, "jobs:read"),
        "report_metrics" => (post, ids.of_job("/metrics"), metrics(), true, "steps:write"),
        "get_adapters" => (get, ids.of_job("/adapters"), none(), true, "jobs:read"),
        "get_adapter" => (get, ids.of_job("/adapters/0"), none(), true, "jobs:read"),
        "put_adapter" => (put, ids.of_job("/adapters/0"), theta(), true, "steps:write"),
        _ => return None,
    })
}

fn of_checkpoints(name: &str, ids: &Ids) -> Option<Row> {
    let checkpoint = |rest: &str| ids.of_job(&format!("/checkpoints/{}{rest}", ids.checkpoint));
    let life = || text(json!({"expires_after": null}));
    Some(match name {
        "list_checkpoints" => (Method::GET, ids.of_job("/checkpoints"), none(), true, "jobs:read"),
        "create_checkpoint" => (Method::POST, ids.of_job("/checkpoints"), none(), true, "steps:write"),
        "get_checkpoint" => (Method::GET, checkpoint(""), none(), true, "jobs:read"),
        "update_checkpoint" => (Method::PATCH, checkpoint(""), life(), true, "jobs:write"),
        "delete_checkpoint" => (Method::DELETE, checkpoint(""), none(), true, "jobs:write"),
        "get_checkpoint_content" => (Method::GET, checkpoint("/content"), none(), true, "jobs:read"),
        _ => return None,
    })
}

fn of_account(name: &str, ids: &Ids) -> Option<Row> {
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    let key = || format!("/v1/api_keys/{}", ids.key);
    let webhook = |rest: &str| format!("/v1/webhooks/{}{rest}", ids.webhook);
    let replay = || webhook(&format!("/deliveries/{}/replay", ids.delivery));
    let hook = || text(json!({"url": "https://1.1.1.1/hook"}));
    Some(match name {
        "get_me" => (get, fixed("me"), none(), false, ANY_KEY),
        "list_api_keys" => (get, fixed("api_keys"), none(), false, "admin"),
        "create_api_key" => (post, fixed("api_keys"), text(json!({"name": "k"})), false, "admin"),
        "get_api_key" => (get, key(), none(), true, "admin"),
        "update_api_key" => (Method::PATCH, key(), text(json!({"name": "k"})), true, "admin"),
        "revoke_api_key" => (delete, key(), none(), true, "admin"),
        "rotate_api_key" => (post, format!("{}/rotate", key()), text(json!({})), true, "admin"),
        "get_usage" => (get, fixed("usage"), none(), false, "jobs:read"),
        "list_audit_log" => (get, fixed("audit_log"), none(), false, "admin"),
        "list_webhooks" => (get, fixed("webhooks"), none(), false, "jobs:read"),
        "create_webhook" => (post, fixed("webhooks"), hook(), false, "jobs:write"),
        "get_webhook" => (get, webhook(""), none(), true, "jobs:read"),
        "update_webhook" => (Method::PATCH, webhook(""), text(json!({"enabled": false})), true, "jobs:write"),
        "delete_webhook" => (delete, webhook(""), none(), true, "jobs:write"),
        "rotate_webhook_secret" => (post, webhook("/rotate_secret"), none(), true, "jobs:write"),
        "test_webhook" => (post, webhook("/test"), none(), true, "jobs:write"),
        "list_deliveries" => (get, webhook("/deliveries"), none(), true, "jobs:read"),
        "replay_delivery" => (post, replay(), none(), true, "jobs:write"),
        _ => return None,
    })
}

/// Of the operator. No project is a tenant's own: not even an admin's key is let in.
fn of_operator(name: &str) -> Option<Row> {
    let (get, post) = (Method::GET, Method::POST);
    let id = format!("proj-{}", uuid::Uuid::now_v7().simple());
    let project = |rest: &str| format!("/v1/projects/{id}{rest}");
    Some(match name {
        "get_host" => (get, fixed("host"), none(), false, "operator"),
        "offer_model" => (Method::PUT, fixed("host/models/small"), text(json!({"folder": "small"})), false, "operator"),
        "withdraw_model" => (Method::DELETE, fixed("host/models/small"), none(), false, "operator"),
        "list_nodes" => (get, fixed("nodes"), none(), false, "operator"),
        "update_node" => (
            Method::PATCH,
            fixed(&format!("nodes/node-{}", uuid::Uuid::now_v7().simple())),
            text(json!({"draining": true})),
            false,
            "operator",
        ),
        "list_projects" => (get, fixed("projects"), none(), false, "operator"),
        "create_project" => (post, fixed("projects"), text(json!({"name": id})), false, "operator"),
        "get_project" => (get, project(""), none(), false, "operator"),
        "limit_project" => (Method::PUT, project("/limits"), text(json!({})), false, "operator"),
        "create_project_key" => (post, project("/api_keys"), text(json!({"name": "k"})), false, "operator"),
        _ => return None,
    })
}

/// In place of a scope: any valid key will do.
const ANY_KEY: &str = "any";

/// Needs no key.
const OPEN: [&str; 2] = ["healthz", "readyz"];

/// The names of all operations, as the contract has them.
pub async fn operations(world: &World) -> Vec<String> {
    let contract = contract(world).await;
    let paths = contract["paths"].as_object().expect("an object").values();
    let operations = paths.flat_map(|path| path.as_object().expect("an object").values());
    let names = operations.map(|operation| operation["operationId"].as_str().expect("a name").to_owned());
    let names: Vec<String> = names.filter(|name| !OPEN.contains(&name.as_str())).collect();
    assert!(names.len() >= 57, "{names:?}");
    names
}

async fn call(client: &Client, name: &str, ids: &Ids) -> Reply {
    let operation = operation(name, ids).unwrap_or_else(|| panic!("{name} is in the contract and not in this test"));
    let Operation { method, path, media, body, .. } = operation;
    client.call(method, &path).body(media, body).send().await
}

/// Every scope of a tenant's.
const ALL: &str = "jobs:read,jobs:write,files:read,files:write,models:read,models:write,steps:write,admin";

/// A tenant with one of everything and a key that may do everything; the job runs.
pub async fn tenant() -> (World, Job, Ids) {
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
    let admin = world.client.with_key(Some(&world.host.key(&world.project, &["--scopes", ALL]).await));
    let key = id(&admin.post("/v1/api_keys", &json!({"name": "mine"})).await.ok_json());
    let hook = json!({"url": "https://1.1.1.1/hook", "events": ["fine_tuning.job.failed"]});
    let webhook = id(&admin.post("/v1/webhooks", &hook).await.ok_json());
    let delivery = id(&admin.verb(&format!("/v1/webhooks/{webhook}/test")).await.ok_json());
    let (batch, requests) = batch_of_one(&admin).await;
    let job_id = job.id.clone();
    let ids =
        Ids { job: job_id, file, model, forward, key, checkpoint, upload, part, webhook, delivery, batch, requests };
    let world = World { client: admin, ..world };
    (world, job, ids)
}

/// A batch that is over, and the file of its requests.
async fn batch_of_one(client: &Client) -> (String, String) {
    let line =
        json!({"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": MODEL, "input": "w5"}});
    let part = reqwest::multipart::Part::text(line.to_string()).file_name("requests.jsonl");
    let form = reqwest::multipart::Form::new().text("purpose", "batch").part("file", part);
    let requests = id(&client.form(form).await.ok_json());
    let body = json!({"input_file_id": requests, "endpoint": "/v1/embeddings", "completion_window": "24h"});
    let batch = id(&client.post("/v1/batches", &body).await.ok_json());
    let path = format!("/v1/batches/{batch}");
    until("the batch is over", async || client.get(&path).await.ok_json()["completed_at"].is_i64()).await;
    (batch, requests)
}

/// Everything that a tenant can see of its own.
async fn picture(world: &World, job: &Job) -> String {
    let mut picture = Vec::new();
    for path in [
        "/v1/files",
        "/v1/models",
        "/v1/batches",
        "/v1/fine_tuning/jobs",
        &job.path("/events"),
        &job.path("/checkpoints"),
        &job.path("/ledger"),
    ] {
        picture.push(world.client.get(path).await.ok().text());
    }
    format!("{picture:?} {:?}", job.theta(0).await)
}

/// A key that expired, by its row: the clock of the test stands still.
async fn expired(world: &World) -> String {
    let (id, key) = world.host.key_with_id(&world.project, &[]).await;
    let mut connection = PgConnection::connect(world.host.database()).await.expect("connects");
    let hex = id.strip_prefix("key-").expect("an id");
    let expire = format!(
        "update api_keys set created_at = now() - interval '2 h', expires_at = now() - interval '1 h' where id = '{hex}'"
    );
    assert_eq!(sqlx::raw_sql(&expire).execute(&mut connection).await.expect("updates").rows_affected(), 1);
    key
}

#[tokio::test]
async fn without_a_valid_key_every_operation_is_refused_alike() {
    let (owner, job, ids) = tenant().await;
    let before = picture(&owner, &job).await;
    let (id, revoked) = owner.host.key_with_id(&owner.project, &["--scopes", ALL]).await;
    owner.client.delete(&format!("/v1/api_keys/{id}")).await.ok();
    let nobody = Client::new(&owner.host.base(), None);
    let unknown = nobody.get("/v1/models").await;
    let forged = format!("{}x", owner.client.key());
    // Only who holds a key that was made here is told what became of it.
    let keys = [(None, false), (Some(expired(&owner).await), true), (Some(revoked), true), (Some(forged), false)];
    for (key, is_told) in keys {
        let client = nobody.with_key(key.as_deref());
        let expected = client.get("/v1/models").await;
        assert_eq!(expected.body != unknown.body, is_told, "{}", expected.text());
        for name in operations(&owner).await {
            let reply = call(&client, &name, &ids).await;
            reply.refused(401, "invalid_api_key");
            assert_eq!(reply.body, expected.body, "{name}");
        }
    }
    assert_eq!(picture(&owner, &job).await, before, "nothing changed");
}

#[tokio::test]
async fn every_operation_needs_its_scope_and_no_other_will_do() {
    let (owner, job, ids) = tenant().await;
    let before = picture(&owner, &job).await;
    let mut keys = Scoped::default();
    for name in operations(&owner).await {
        let Operation { scope, .. } = operation(&name, &ids).unwrap_or_else(|| panic!("{name} is not in this test"));
        if scope == ANY_KEY {
            let any = keys.key(&owner, "models:read").await;
            call(&owner.client.with_key(Some(&any)), &name, &ids).await.ok();
            continue;
        }
        let covers = |held: &str| held == scope || (held == "admin" && scope != "operator");
        let others: Vec<&str> = ALL.split(',').filter(|held| !covers(held)).collect();
        let key = keys.key(&owner, &others.join(",")).await;
        let error = call(&owner.client.with_key(Some(&key)), &name, &ids).await.refused(403, "missing_scope");
        assert!(error["message"].as_str().is_some_and(|text| text.contains(scope)), "{name}: {error}");
    }
    assert_eq!(picture(&owner, &job).await, before, "nothing changed");
}

/// Keys by their scopes, so that a program need not be started for each operation.
#[derive(Default)]
struct Scoped(HashMap<String, String>);

impl Scoped {
    async fn key(&mut self, world: &World, scopes: &str) -> String {
        if let Some(key) = self.0.get(scopes) {
            return key.clone();
        }
        let key = world.host.key(&world.project, &["--scopes", scopes]).await;
        self.0.insert(scopes.to_owned(), key.clone());
        key
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
