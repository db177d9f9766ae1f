//! Labels stay with their holder: whatever carries one is refused, and the place is named.

use reqwest::Method;
use reqwest::multipart::Form;
use reqwest::multipart::Part;
use serde_json::Value;
use serde_json::json;

use crate::client::OCTETS;
use crate::client::Tensor;
use crate::client::pack;
use crate::world::World;
use crate::world::batch;
use crate::world::id;
use crate::world::shares_like;

/// JSONL of which one line carries a further field.
fn jsonl(bad_line: usize, field: &str) -> String {
    let row = |line: usize| match line == bad_line {
        true => format!("{{\"text\": \"w5\", \"{field}\": 1}}\n"),
        false => "{\"text\": \"w5\"}\n".to_owned(),
    };
    (1..=30).map(row).collect()
}

#[tokio::test]
async fn a_file_that_carries_a_label_is_refused_with_its_line_and_the_job_goes_on() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let chat = "{\"messages\": [{\"role\": \"user\", \"content\": \"w5\"}, {\"role\": \"assistant\", \"content\": \"yes\"}]}\n";
    let cases = [
        ("a.csv", "text,label\nw5,1\n".to_owned(), "line 1: label"),
        ("a.csv", "\u{feff}\"Label\",text\n1,w5\n".to_owned(), "line 1: Label"),
        ("a.tsv", "text\tgold_label\nw5\t1\n".to_owned(), "line 1: gold_label"),
        ("a.jsonl", jsonl(20, "label"), "line 20: label"),
        ("a.jsonl", jsonl(7, "y"), "line 7: y"),
        ("a.jsonl", jsonl(1, "completion"), "line 1: completion"),
        ("a.jsonl", jsonl(30, "Target"), "line 30: Target"),
        ("a.jsonl", chat.to_owned(), "line 1: messages"),
    ];
    for (name, content, param) in cases {
        let error = world.client.upload(name, content).await.refused(400, "label_present");
        assert_eq!(error["param"], param, "{error}");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("never needs labels")), "{error}");
        let is_chat = param.ends_with("messages") || param.ends_with("completion");
        assert_eq!(error["message"].to_string().contains("`blindtune train --data FILE` reads it"), is_chat, "{error}");
        job.step_ok().await;
    }
    assert_eq!(world.client.get("/v1/files").await.ok_json()["data"], json!([]), "no file was kept");
}

#[tokio::test]
async fn a_call_that_carries_a_label_is_refused_wherever_it_stands() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let (forward, activations) = job.forward_ok(&batch()).await;
    let mut shares = shares_like(&activations, 1);
    shares.insert("labels".to_owned(), Tensor::i64(&[0, 1, 1]));
    job.backward(&forward, &shares).await.refused(400, "label_present");
    let mut inputs = batch();
    inputs.insert("y_true".to_owned(), Tensor::i64(&[0, 1, 1]));
    job.forward(&inputs).await.refused(400, "label_present");
    let jobs = "/v1/fine_tuning/jobs".to_owned();
    let cases: [(String, Value, &str); 6] = [
        (jobs.clone(), json!({"model": "tiny", "label_column": "x"}), "label_column"),
        (jobs, json!({"model": "tiny", "metadata": {"target": "x"}}), "metadata.target"),
        (job.path("/forward"), json!({"seq": 2, "texts": ["w5"], "target": [1]}), "target"),
        (job.path("/backward"), json!({"seq": 2, "forward_id": forward, "shares": {}, "labels": [1]}), "labels"),
        (job.path("/metrics"), json!({"step": 1, "metrics": {"label_0": 1.0}}), "metrics.label_0"),
        (job.path("/metrics"), json!({"step": 1, "metrics": {}, "answers": [1]}), "answers"),
    ];
    for (path, body, param) in cases {
        let error = job.client.post(&path, &body).await.refused(400, "label_present");
        assert_eq!(error["param"], param, "{body}: {error}");
    }
    assert_eq!((job.next_seq().await, job.ledger().await.len()), (2, 1));
    job.backward(&forward, &shares_like(&activations, 1)).await.ok();
}

/// Names of labels as people disguise them, knowingly or not; the wide one has the letters U+FF41 on, and `l\u{430}bel` a Cyrillic a.
const DISGUISED: [&str; 16] = [
    "gold_labels",
    "goldLabels",
    "GOLD-LABELS",
    "y_train",
    "yTrain",
    "ground_truths",
    "groundTruth2",
    "label_0",
    "is_labeled_label",
    "correctAnswer",
    "class_ids",
    "\u{ff4c}\u{ff41}\u{ff42}\u{ff45}\u{ff4c}",
    "l\u{430}bel",
    "l\u{e1}bel",
    "la\u{200b}bel",
    "g0ld",
];

/// Names that only hold such letters or words.
const PLAIN: [&str; 12] = [
    "team",
    "f1_score",
    "eval_loss",
    "num_classes",
    "score_threshold",
    "output_dir",
    "response_length",
    "classroom",
    "targeted_dose",
    "yield",
    "truthful_qa",
    "goldfish",
];

#[tokio::test]
async fn a_name_is_known_however_it_is_written_and_names_that_only_resemble_are_free() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    let jobs = "/v1/fine_tuning/jobs";
    for name in DISGUISED {
        let error = world.client.upload("a.jsonl", jsonl(7, name)).await.refused(400, "label_present");
        assert_eq!(error["param"], format!("line 7: {name}"), "{error}");
        let body = json!({"model": "tiny", "metadata": {name: "x"}});
        let error = world.client.post(jobs, &body).await.refused(400, "label_present");
        assert_eq!(error["param"], format!("metadata.{name}"), "{error}");
        let body = json!({"step": 1, "metrics": {name: 1.0}});
        world.client.post(&job.path("/metrics"), &body).await.refused(400, "label_present");
    }
    for name in PLAIN {
        world.client.post(&job.path("/metrics"), &json!({"step": 1, "metrics": {name: 1.0}})).await.ok();
    }
}

#[tokio::test]
async fn a_query_has_the_names_of_the_contract_and_no_others() {
    let world = World::new().await;
    let file = world.file("a.jsonl", "{\"text\": \"w5\"}\n").await;
    let content = format!("/v1/files/{file}/content");
    for (path, code, param) in [
        ("/v1/files?note=0110", "invalid_query", "note"),
        ("/v1/files?after[x]=1", "invalid_query", "after[x]"),
        ("/v1/files?y_train=1", "label_present", "y_train"),
        (&*format!("{content}?note=1"), "invalid_query", "note"),
        ("/v1/fine_tuning/jobs?metadata[gold_labels]=1", "label_present", "metadata[gold_labels]"),
    ] {
        let error = world.client.get(path).await.refused(400, code);
        assert_eq!(error["param"], param, "{path}: {error}");
    }
    let body = json!({"model": "tiny", "method": {"type": "split"}});
    world.client.post("/v1/fine_tuning/jobs?note=1", &body).await.refused(400, "invalid_query");
    assert_eq!(world.client.get("/v1/fine_tuning/jobs?limit=1&metadata[team]=a").await.ok_json()["data"], json!([]));
}

#[tokio::test]
async fn a_name_stands_once_in_an_object() {
    let world = World::new().await;
    let body = br#"{"model": "tiny", "metadata": {"team": "0110", "t\u0065am": "a"}}"#;
    let call = world.client.call(Method::POST, "/v1/fine_tuning/jobs").body("application/json", body.to_vec());
    let error = call.send().await.refused(400, "invalid_json");
    assert_eq!(error["param"], "metadata.team", "{error}");
    let rows = "{\"text\": \"w5\"}\n{\"text\": \"0\", \"text\": \"w5\"}\n";
    let error = world.client.upload("a.jsonl", rows).await.refused(400, "malformed_row");
    assert_eq!(error["param"], "line 2: text", "{error}");
}

/// The same body with such metadata.
fn with_metadata(body: &[u8], metadata: &Value) -> Vec<u8> {
    let (length, rest) = body.split_first_chunk::<8>().expect("a length");
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let mut header: Value = serde_json::from_slice(header).expect("a header");
    header["__metadata__"] = metadata.clone();
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

#[tokio::test]
async fn metadata_of_tensors_says_their_format_and_nothing_else() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    let body = pack(&batch());
    let forward = async |metadata: Value| {
        let call = world.client.call(Method::POST, &job.path("/forward?train=false"));
        call.body(OCTETS, with_metadata(&body, &metadata)).send().await
    };
    for (metadata, code, param) in [
        (json!({"gold": "0110"}), "label_present", "__metadata__.gold"),
        (json!({"note": "0110"}), "unknown_field", "__metadata__.note"),
        (json!({"format": "0110"}), "unknown_field", "__metadata__.format"),
    ] {
        let error = forward(metadata).await.refused(400, code);
        assert_eq!(error["param"], param, "{error}");
    }
    forward(json!({"format": "pt"})).await.ok();
}

fn form(content: &str, more: &[(&'static str, &'static str)]) -> Form {
    let named = Part::bytes(content.as_bytes().to_vec()).file_name("a.jsonl");
    let form = Form::new().text("purpose", "fine-tune").part("file", named);
    more.iter().fold(form, |form, (name, value)| form.text(*name, *value))
}

fn pairs(rows: usize, pair: impl Fn(usize) -> String) -> String {
    (0..rows).map(|row| format!("{{\"text\": \"w{row} w5\", \"text_pair\": \"{}\"}}\n", pair(row))).collect()
}

#[tokio::test]
async fn second_texts_that_read_like_labels_are_refused_until_the_caller_says_that_they_are_inputs() {
    let world = World::new().await;
    let cases = [
        ("line 1: text_pair", pairs(60, |row| ["pos", "neg"][row % 2].to_owned())),
        ("line 1: text_pair", pairs(60, |row| format!("{}.{}", row % 7, row))),
        ("line 31: text_pair", jsonl(0, "").replace("w5", "w6") + &pairs(30, |_| "w7".to_owned())),
        ("line 2: text", "{\"text\": \"w5\"}\n{\"text\": \" __label__pos w5\"}\n".to_owned()),
        ("line 1: text", "{\"text\": \"w5 __Label__pos\"}\n".to_owned()),
    ];
    for (param, content) in &cases {
        let error = world.client.form(form(content, &[])).await.refused(400, "label_present");
        assert_eq!(error["param"], *param, "{error}");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("inputs_only")), "{error}");
        world.client.form(form(content, &[("inputs_only", "false")])).await.refused(400, "label_present");
    }
    assert_eq!(world.client.get("/v1/files").await.ok_json()["data"], json!([]), "no file was kept");
    for (_, content) in &cases {
        world.client.form(form(content, &[("inputs_only", "true")])).await.ok();
    }
    let error = world.client.form(form(&cases[0].1, &[("inputs_only", "yes")])).await.refused(400, "invalid_form");
    assert_eq!(error["param"], "inputs_only");
    for content in [
        pairs(60, |_| "is it good?".to_owned()),
        pairs(60, |row| format!("w{row}")),
        pairs(60, |row| format!("a question that is long enough, {}", row % 2)),
        pairs(40, |row| ["pos", "neg"][row % 2].to_owned()),
    ] {
        world.client.form(form(&content, &[])).await.ok();
    }
}

#[tokio::test]
async fn an_upload_in_parts_is_checked_for_such_values_when_it_is_completed() {
    let world = World::new().await;
    let content = pairs(60, |row| (row % 2).to_string());
    let new = json!({"bytes": content.len(), "filename": "a.jsonl", "mime_type": "", "purpose": "fine-tune"});
    let upload = format!("/v1/uploads/{}", id(&world.client.post("/v1/uploads", &new).await.ok_json()));
    let data = Part::bytes(content.into_bytes()).file_name("chunk");
    let part = id(&world.client.form_to(&format!("{upload}/parts"), Form::new().part("data", data)).await.ok_json());
    let complete = async |more: Value| {
        let mut body = json!({"part_ids": [part]});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        world.client.post(&format!("{upload}/complete"), &body).await
    };
    let error = complete(json!({})).await.refused(400, "label_present");
    assert_eq!(error["param"], "line 1: text_pair", "{error}");
    assert_eq!(complete(json!({"inputs_only": true})).await.ok_json()["file"]["rows"], 60);
}
