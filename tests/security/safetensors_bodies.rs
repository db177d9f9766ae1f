//! Bodies that are no safetensors, or that are ones to break a reader: refused before anything big is built.

use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::client::OCTETS;
use crate::client::Reply;
use crate::world::Job;
use crate::world::World;

/// A file with this header and this much data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn tensor(shape: &Value, offsets: &Value) -> Value {
    json!({"dtype": "F32", "shape": shape, "data_offsets": offsets})
}

fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let with_length = |length: u64| [length.to_le_bytes().as_slice(), b"{}"].concat();
    let text = |value: Value, data: usize| file(&value.to_string(), data);
    let one = tensor(&json!([1]), &json!([0, 4]));
    let crowd = |most: usize| -> serde_json::Map<String, Value> {
        (0..most).map(|number| (format!("t{number}"), tensor(&json!([0]), &json!([0, 0])))).collect()
    };
    vec![
        ("empty", Vec::new()),
        ("seven bytes", vec![0; 7]),
        ("a header of no length", with_length(0)),
        ("a header as long as numbers go", with_length(u64::MAX)),
        ("a header that is longer than the body", with_length(60_000)),
        ("a header over the limit", file(&format!("{{{}}}", " ".repeat(70_000)), 0)),
        ("no JSON", file("not json", 0)),
        ("a list", file("[]", 0)),
        ("text after the object", file("{} {}", 0)),
        ("not UTF-8", [&2_u64.to_le_bytes()[..], &[0xff, 0xfe]].concat()),
        ("a name twice", file(&format!("{{\"rows\": {one}, \"rows\": {one}}}"), 4)),
        (
            "overlapping",
            text(json!({"a": tensor(&json!([2]), &json!([0, 8])), "b": tensor(&json!([2]), &json!([4, 12]))}), 12),
        ),
        ("a hole", text(json!({"a": one, "b": tensor(&json!([1]), &json!([8, 12]))}), 12)),
        ("bytes left over", text(json!({"a": one}), 8)),
        ("too few bytes", text(json!({"a": one}), 2)),
        ("backwards", text(json!({"a": tensor(&json!([1]), &json!([4, 0]))}), 4)),
        ("negative", text(json!({"a": tensor(&json!([-1]), &json!([0, 4]))}), 4)),
        ("a shape that does not fit", text(json!({"a": tensor(&json!([256]), &json!([0, 4]))}), 4)),
        ("a shape that overflows", text(json!({"a": tensor(&json!([1_u64 << 62, 8]), &json!([0, 0]))}), 0)),
        ("an empty tensor with a huge side", text(json!({"a": tensor(&json!([0, 1_u64 << 62]), &json!([0, 0]))}), 0)),
        ("rank 10,000", text(json!({"a": tensor(&json!(vec![1; 10_000]), &json!([0, 4]))}), 4)),
        ("700 tensors", text(json!(crowd(700)), 0)),
        ("5000 tensors", text(json!(crowd(5000)), 0)),
        ("a type that is not taken", text(json!({"a": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}), 8)),
        ("a long name", text(json!({"a".repeat(300): one}), 4)),
        ("much metadata", text(json!({"__metadata__": {"k": "x".repeat(2000)}, "a": one}), 4)),
        ("metadata that is not text", text(json!({"__metadata__": {"k": 1}, "a": one}), 4)),
        ("deep JSON", file(&format!("{{\"a\": {}1{}}}", "[".repeat(5000), "]".repeat(5000)), 0)),
    ]
}

/// Over a limit of every route.
const TOO_LARGE: [&str; 3] = ["a header as long as numbers go", "much metadata", "5000 tensors"];
/// Over a limit of the steps: adapters may come as many small tensors, so their header may be longer.
const TOO_LARGE_FOR_A_STEP: [&str; 2] = ["a header over the limit", "700 tensors"];

struct Bomb<'a> {
    what: &'a str,
    body: &'a [u8],
    expected: (u16, &'static str),
}

/// Sends a body up to three times; the fastest answer counts, since the machine may be busy with other tests.
async fn refused_quickly(job: &Job, method: Method, rest: &str, bomb: Bomb<'_>) {
    let Bomb { what, body, expected: (status, code) } = bomb;
    let mut fastest = u64::MAX;
    for _ in 0..3 {
        let reply: Reply = job.client.call(method.clone(), &job.path(rest)).body(OCTETS, body.to_vec()).send().await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{what}: {method} {rest}: {}", reply.text());
        reply.refused(status, code);
        fastest = fastest.min(reply.header("openai-processing-ms").parse().expect("a number"));
        if fastest < 100 {
            return;
        }
    }
    panic!("{what}: refused after {fastest} ms");
}

#[tokio::test]
async fn each_bomb_is_refused_at_once_on_every_route_and_the_job_goes_on() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let backward = format!("/backward?seq=1&forward_id=fwd-{}", "0".repeat(32));
    let bombs = bombs();
    for large in TOO_LARGE.iter().chain(&TOO_LARGE_FOR_A_STEP) {
        assert!(bombs.iter().any(|(what, _)| what == large), "{large} is no bomb");
    }
    for (what, body) in &bombs {
        let refusal = |is_large| if is_large { (413, "too_large") } else { (422, "tensor_invalid") };
        let bomb = |is_large| Bomb { what, body, expected: refusal(is_large) };
        let for_all = TOO_LARGE.contains(what);
        let for_a_step = for_all || TOO_LARGE_FOR_A_STEP.contains(what);
        refused_quickly(&job, Method::POST, "/forward?seq=1", bomb(for_a_step)).await;
        refused_quickly(&job, Method::POST, &backward, bomb(for_a_step)).await;
        refused_quickly(&job, Method::PUT, "/adapters/0", bomb(for_all)).await;
        assert_eq!(job.client.get(&job.path("")).await.ok_json()["split"]["next_seq"], job.seq, "{what}");
    }
    assert!(job.ledger().await.is_empty());
    job.step_ok().await;
}
