//! What a forward takes: texts, rows, token ids; and what it refuses.

use serde_json::Value;
use serde_json::json;

use crate::client::Tensor;
use crate::client::Tensors;
use crate::client::from_json;
use crate::client::one;
use crate::world::Job;
use crate::world::TEXTS;
use crate::world::World;
use crate::world::batch;
use crate::world::inputs;

async fn evaluate_json(job: &Job, mut body: Value) -> Tensors {
    body["train"] = json!(false);
    body["base"] = json!(true);
    from_json(&job.client.post(&job.path("/forward"), &body).await.ok_json()["activations"])
}

#[tokio::test]
async fn texts_rows_and_token_ids_in_both_forms_give_the_same_numbers() {
    let world = World::new().await;
    let rows: String =
        ["none", TEXTS[0], TEXTS[1], TEXTS[2]].iter().map(|text| format!("{{\"text\": \"{text}\"}}\n")).collect();
    let file = world.file("rows.jsonl", &rows).await;
    let job = world.job_with(json!({"training_file": file})).await;
    let expected = job.evaluate(&batch()).await;
    assert_eq!(expected.keys().collect::<Vec<_>>(), ["h.0", "h.1", "h.base"]);
    assert_eq!(expected["h.0"].shape, [3, 16]);
    let ids = json!([[2, 5, 6, 3], [2, 7, 3], [2, 8, 9, 10, 3]]);
    for body in [json!({"texts": TEXTS}), json!({"rows": [1, 2, 3]}), json!({"input_ids": ids})] {
        assert_eq!(evaluate_json(&job, body.clone()).await, expected, "{body}");
    }
    assert_eq!(job.evaluate(&one("rows", Tensor::i64(&[1, 2, 3]))).await, expected);
}

#[tokio::test]
async fn texts_that_lose_their_end_are_counted_in_the_answer() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let (long, most) = ("w5 ".repeat(39), "w5 ".repeat(38)); // with [CLS] and [SEP] 41 and 40 tokens
    for (texts, truncated) in [(json!([&long, "w5", &long]), 2), (json!([&most, "w5"]), 0)] {
        let answer = job.client.post(&job.path("/forward"), &json!({"texts": texts, "train": false})).await.ok_json();
        assert_eq!(answer["truncated"], truncated, "{texts}");
    }
    let file = world.file("rows.jsonl", &format!("{{\"text\": \"{long}\"}}\n{{\"text\": \"w5\"}}\n")).await;
    let mut of_file = world.job_with(json!({"training_file": file})).await;
    let rows = one("rows", Tensor::i64(&[0, 1, 0]));
    for (job, sent, truncated) in [(&mut of_file, rows, "2"), (&mut job, batch(), "0")] {
        let scalars = job.forward(&sent).await.ok().scalars();
        assert_eq!(scalars["truncated"], truncated);
    }
}

#[tokio::test]
async fn pairs_of_texts_are_token_types() {
    let world = World::new().await;
    let csv = world.file("pairs.csv", "text,text_pair\nw5 w6,w7\n").await;
    let job = world.job_with(json!({"training_file": csv})).await;
    let ids = json!({"input_ids": [[2, 5, 6, 3, 7, 3]], "token_type_ids": [[0, 0, 0, 0, 1, 1]]});
    let expected = evaluate_json(&job, ids).await;
    assert_eq!(evaluate_json(&job, json!({"texts": [["w5 w6", "w7"]]})).await, expected);
    assert_eq!(evaluate_json(&job, json!({"rows": [0]})).await, expected);
    let mut binary = inputs(&[&[2, 5, 6, 3, 7, 3]]);
    binary.insert("token_type_ids".to_owned(), Tensor::i64(&[0, 0, 0, 0, 1, 1]));
    assert_eq!(job.evaluate(&binary).await, expected);
    assert_ne!(evaluate_json(&job, json!({"input_ids": [[2, 5, 6, 3, 7, 3]]})).await, expected);
}

#[tokio::test]
async fn rows_of_token_ids_are_read_too() {
    let world = World::new().await;
    let file = world.file("ids.jsonl", "{\"input_ids\": [2, 5, 6, 3]}\n{\"input_ids\": [2, 7, 3]}\n").await;
    let job = world.job_with(json!({"training_file": file})).await;
    let expected = job.evaluate(&inputs(&[&[2, 7, 3], &[2, 5, 6, 3]])).await;
    assert_eq!(job.evaluate(&one("rows", Tensor::i64(&[1, 0]))).await, expected);
}

#[tokio::test]
async fn each_input_that_cannot_be_used_is_refused_by_name_and_no_step_is_taken() {
    let world = World::new().await;
    let file = world.file("rows.jsonl", "{\"text\": \"w5\"}\n").await;
    let mut job = world.job_with(json!({"training_file": file})).await;
    let mut both = batch();
    both.insert("rows".to_owned(), Tensor::i64(&[0]));
    let mut labelled = batch();
    labelled.insert("labels".to_owned(), Tensor::i64(&[1, 0, 1]));
    let mut extra = batch();
    extra.insert("attention_mask".to_owned(), Tensor::i64(&[1]));
    let mut short = batch();
    short.insert("lengths".to_owned(), Tensor::i64(&[4, 3]));
    let floats = one("rows", Tensor::f32(&[1], &[0.0]));
    let long = inputs(&[&[5; 41]]);
    let wide: Vec<&[i64]> = vec![&[5]; 65];
    let cases = [
        (Tensors::new(), 400, "inputs_missing"),
        (both, 400, "inputs_missing"),
        (labelled, 400, "label_present"),
        (extra, 400, "unknown_tensor"),
        (short, 422, "tensor_invalid"),
        (floats, 422, "tensor_invalid"),
        (one("rows", Tensor::i64(&[1])), 422, "row_out_of_range"),
        (one("rows", Tensor::i64(&[-1])), 422, "row_out_of_range"),
        (one("input_ids", Tensor::i64(&[2, 3])), 400, "inputs_missing"),
        (long, 422, "tensor_invalid"),
        (inputs(&wide), 413, "too_large"),
    ];
    for (tensors, status, code) in cases {
        job.forward(&tensors).await.refused(status, code);
    }
    assert_eq!((job.next_seq().await, job.ledger().await.len()), (1, 0));
    job.step_ok().await;
}

#[tokio::test]
async fn each_json_body_that_cannot_be_used_is_refused_by_name() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    let tensor = json!({"dtype": "F32", "shape": [2], "data": "AACAPw=="});
    let cases = [
        (json!({"seq": 1}), 400, "inputs_missing", "rows"),
        (json!({"texts": ["w5"]}), 400, "seq_missing", "seq"),
        (json!({"seq": 1, "train": false, "texts": ["w5"]}), 400, "seq_unexpected", "seq"),
        (json!({"seq": 1, "texts": [["a", "b", "c"]]}), 400, "invalid_text", "texts[0]"),
        (json!({"seq": 1, "rows": [0]}), 400, "no_training_file", "rows"),
        (json!({"seq": 1, "texts": ["w5"], "labels": [1]}), 400, "label_present", "labels"),
        (json!({"seq": 1, "texts": ["w5"], "adapters": [2]}), 400, "invalid_adapters", "adapters"),
        (json!({"seq": 1, "texts": ["w5"], "adapters": "some"}), 400, "invalid_adapters", "adapters"),
        (json!({"seq": 1, "texts": ["w5"], "theta": {"0": tensor}}), 422, "tensor_invalid", "theta.0"),
    ];
    for (body, status, code, param) in cases {
        let error = job.client.post(&job.path("/forward"), &body).await.refused(status, code);
        assert_eq!(error["param"], param, "{body}: {error}");
    }
    let path = job.path("/forward?seq=1");
    job.client.post(&path, &json!({"seq": 1, "texts": ["w5"]})).await.refused(400, "invalid_query");
    assert_eq!((job.next_seq().await, job.ledger().await.len()), (1, 0));
}
