//! `layers`, `tokens` and `dtype` of `/v1/activations`: hidden states of a backbone.

use futures::future::join_all;
use reqwest::Method;
use safetensors::Dtype;
use serde_json::Value;
use serde_json::json;

use crate::client::Client;
use crate::client::OCTETS;
use crate::client::Reply;
use crate::client::Tensors;
use crate::client::from_json;
use crate::host::Host;
use crate::host::until;
use crate::inference::calls_in_pass;
use crate::inference::tuned;
use crate::world::MODEL;
use crate::world::TEXTS;
use crate::world::WIDTH;
use crate::world::World;
use crate::world::add_tiny;

/// Tokens of [`TEXTS`], text by text.
const LENGTHS: [i64; 3] = [4, 3, 5];

fn body(fields: &Value) -> Value {
    let mut body = json!({"model": MODEL, "input": TEXTS});
    body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    body
}

async fn ask(client: &Client, fields: Value) -> Tensors {
    from_json(&client.post("/v1/activations", &body(&fields)).await.ok_json()["tensors"])
}

async fn ask_binary(client: &Client, fields: Value) -> Reply {
    let call = client.call(Method::POST, "/v1/activations").header("accept", OCTETS);
    call.json(&body(&fields)).send().await
}

fn names(tensors: &Tensors) -> Vec<&str> {
    tensors.keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_backbone_gives_every_tokens_state_at_every_level() {
    let world = World::new().await;
    let states = ask(&world.client, json!({"layers": "all"})).await;
    assert_eq!(names(&states), ["hidden.0", "hidden.1", "hidden.2", "lengths"]);
    assert_eq!(states["lengths"], crate::client::Tensor::i64(&LENGTHS));
    assert_eq!(states["hidden.0"].shape, [12, WIDTH]);
    let unpooled = ask(&world.client, json!({"pooling": "none"})).await;
    assert_eq!(states["hidden.2"], unpooled["h.base"]);
    assert_eq!(states["lengths"], unpooled["lengths"]);
    for fields in [json!({"tokens": "all"}), json!({"layers": "all", "tokens": ["all"], "dtype": "float32"})] {
        assert_eq!(ask(&world.client, fields).await, states);
    }
    let reply = ask_binary(&world.client, json!({"layers": "all"})).await;
    assert_eq!((reply.tensors(), reply.scalars()["prompt_tokens"].as_str()), (states, "12"));
}

#[tokio::test]
async fn levels_are_picked_by_number_or_evenly() {
    let world = World::new().await;
    let states = ask(&world.client, json!({"layers": "all"})).await;
    for (layers, expected) in [
        (json!([0, 2]), vec!["hidden.0", "hidden.2", "lengths"]),
        (json!([1]), vec!["hidden.1", "lengths"]),
        (json!(1), vec!["hidden.2", "lengths"]),
        (json!(2), vec!["hidden.0", "hidden.2", "lengths"]),
        (json!(3), vec!["hidden.0", "hidden.1", "hidden.2", "lengths"]),
    ] {
        let some = ask(&world.client, json!({"layers": layers})).await;
        assert_eq!(names(&some), expected, "{layers}");
        assert!(some.iter().all(|(name, tensor)| states[name] == *tensor), "{layers}");
    }
}

#[tokio::test]
async fn picks_are_those_of_all_tokens() {
    let world = World::new().await;
    let states = ask(&world.client, json!({"layers": [1]})).await["hidden.1"].floats();
    let got = ask(&world.client, json!({"layers": [1], "tokens": ["last", "max", "cls", "mean"]})).await;
    assert_eq!(names(&got), ["hidden.1.cls", "hidden.1.last", "hidden.1.max", "hidden.1.mean"]);
    let mut first = 0;
    for (input, length) in LENGTHS.into_iter().map(|length| length as usize).enumerate() {
        let row = |at: usize| &states[at * WIDTH..(at + 1) * WIDTH];
        let rows = || (first..first + length).map(row);
        let of = |pick: &str| got[&format!("hidden.1.{pick}")].floats()[input * WIDTH..(input + 1) * WIDTH].to_vec();
        assert_eq!((of("cls"), of("last")), (row(first).to_vec(), row(first + length - 1).to_vec()));
        for i in 0..WIDTH {
            assert_eq!(of("max")[i], rows().map(|row| row[i]).fold(f32::NEG_INFINITY, f32::max));
            let mean = rows().map(|row| f64::from(row[i])).sum::<f64>() / length as f64;
            assert!((f64::from(of("mean")[i]) - mean).abs() <= 1e-5, "input {input}, feature {i}");
        }
        first += length;
    }
    let one = ask(&world.client, json!({"tokens": "mean", "layers": [1]})).await;
    assert_eq!((names(&one), &one["hidden.1.mean"]), (vec!["hidden.1.mean"], &got["hidden.1.mean"]));
}

#[tokio::test]
async fn narrow_types_come_in_both_forms_within_their_rounding() {
    let world = World::new().await;
    let exact = ask(&world.client, json!({"layers": 1})).await["hidden.2"].floats();
    for (word, dtype) in [("float16", Dtype::F16), ("bfloat16", Dtype::BF16), ("int8", Dtype::I8)] {
        let fields = json!({"layers": 1, "dtype": word});
        let got = ask(&world.client, fields.clone()).await;
        assert_eq!((got["hidden.2"].dtype, &got["hidden.2"].shape), (dtype, &vec![12, WIDTH]));
        assert_eq!(ask_binary(&world.client, fields).await.tensors(), got, "{word}");
    }
    let got = ask(&world.client, json!({"layers": 1, "dtype": "int8"})).await;
    assert_eq!(names(&got), ["hidden.2", "hidden.2.scale", "lengths"]);
    let (values, scale) = (got["hidden.2"].int8s(), got["hidden.2.scale"].floats());
    for (at, (value, exact)) in values.iter().zip(&exact).enumerate() {
        let step = scale[at % WIDTH];
        assert!((f32::from(*value) * step - exact).abs() <= 0.5001 * step, "element {at}");
    }
    let most = |i: usize| exact.iter().skip(i).step_by(WIDTH).fold(0.0_f32, |most, value| most.max(value.abs()));
    assert!((0..WIDTH).all(|i| (scale[i] * 127.0 / most(i) - 1.0).abs() < 1e-6), "the largest is 127 steps");
}

#[tokio::test]
async fn an_answer_of_several_forwards_has_one_scale() {
    let host = Host::start(&[("BLINDTUNE_LIMITS__BATCH_ROWS", "128")]).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("mine", &[]).await));
    // A forward takes 64 inputs at most.
    let texts: Vec<String> = (0..70).map(|number| format!("w{} w{}", 4 + number % 50, 59 - number % 50)).collect();
    for tokens in ["all", "cls"] {
        let fields = |dtype: &str| json!({"input": texts, "layers": [1], "tokens": tokens, "dtype": dtype});
        let exact = ask(&client, fields("float32")).await;
        let got = ask(&client, fields("int8")).await;
        let name = if tokens == "all" { "hidden.1" } else { "hidden.1.cls" };
        let (exact, scale) = (&exact[name], got[&format!("{name}.scale")].floats());
        assert_eq!((&got[name].shape, scale.len()), (&exact.shape, WIDTH));
        for (at, (value, exact)) in got[name].int8s().iter().zip(exact.floats()).enumerate() {
            let step = scale[at % WIDTH];
            assert!((f32::from(*value) * step - exact).abs() <= 0.5001 * step, "{tokens}: element {at}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_given_is_refused_by_its_field() {
    let world = World::new().await;
    let cases = [
        (json!({"layers": [0, 3]}), "invalid_setting", "layers", "3 is out of range: tiny has levels 0 to 2"),
        (json!({"layers": [-1]}), "invalid_setting", "layers", "-1 is out of range: tiny has levels 0 to 2"),
        (json!({"layers": [1, 1]}), "invalid_setting", "layers", "1 is a duplicate"),
        (json!({"layers": [2, 1]}), "invalid_setting", "layers", "ascending"),
        (json!({"layers": []}), "invalid_setting", "layers", "empty"),
        (json!({"layers": 0}), "invalid_setting", "layers", "from 1 to 3"),
        (json!({"layers": 4}), "invalid_setting", "layers", "from 1 to 3"),
        (json!({"layers": "some"}), "invalid_setting", "layers", "'some'"),
        (json!({"layers": 1.5}), "invalid_json", "layers", ""),
        (json!({"tokens": "first"}), "invalid_setting", "tokens", "'first'"),
        (json!({"tokens": ["cls", "cls"]}), "invalid_setting", "tokens", "cls is a duplicate"),
        (json!({"tokens": ["cls", "all"]}), "invalid_setting", "tokens", "'all'"),
        (json!({"tokens": []}), "invalid_setting", "tokens", "empty"),
        (json!({"layers": 1, "dtype": "float64"}), "invalid_json", "dtype", "float64"),
        (json!({"dtype": "int8"}), "invalid_setting", "dtype", "layers or tokens"),
        (json!({"layers": 1, "pooling": "cls"}), "invalid_setting", "pooling", "leave it out"),
        (json!({"tokens": "cls", "adapters": []}), "invalid_setting", "adapters", "leave it out"),
        (json!({"tokens": "cls", "base": true}), "invalid_setting", "base", "leave it out"),
    ];
    for (fields, code, param, said) in cases {
        let error = world.client.post("/v1/activations", &body(&fields)).await.refused(400, code);
        assert_eq!(error["param"], param, "{fields}");
        let message = error["message"].as_str().expect("a text");
        assert!(message.contains(said), "{fields}: {message}");
    }
    let (model, _) = tuned(&world, json!({"adapter_sets": 1})).await;
    let tuned = body(&json!({"model": model, "layers": "all"}));
    let error = world.client.post("/v1/activations", &tuned).await.refused(400, "unsupported_model");
    assert_eq!(error["param"], "model");
}

#[tokio::test]
async fn an_answer_that_fits_no_body_is_refused_before_it_is_made() {
    let host = Host::start(&[("BLINDTUNE_LIMITS__TENSOR_BODY_BYTES", "4096")]).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("mine", &[]).await));
    // 20 texts of 4 tokens, 16 wide: a level has 5,120 bytes in float32.
    let of = |fields: Value| {
        let mut body = json!({"model": MODEL, "input": vec!["w5 w6"; 20]});
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        body
    };
    let refused = client.post("/v1/activations", &of(json!({"layers": [1]}))).await.refused(413, "too_large");
    let message = refused["message"].as_str().expect("a text");
    for number in ["80 tokens", "1 levels", "5120 bytes", "limits.tensor_body_bytes is 4096"] {
        assert!(message.contains(number), "{message}");
    }
    assert_eq!(refused["param"], "input");
    let usage = client.get("/v1/usage").await.ok_json();
    assert_eq!(usage["total"]["inference_tokens"], 0, "nothing ran");
    for fields in [json!({"layers": [1], "dtype": "int8"}), json!({"layers": "all", "tokens": "cls"})] {
        client.post("/v1/activations", &of(fields)).await.ok();
    }
}

#[tokio::test]
async fn callers_at_once_share_passes_and_each_gets_its_own_states() {
    let host = Host::start(&[("BLINDTUNE_ENGINE__STACK_TOKENS", "1024"), ("BLINDTUNE_ENGINE__STACK_WAIT_MS", "1000")]);
    let host = host.await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("mine", &[]).await));
    let send = async |number: usize| {
        let input = format!("w{} w{}", 4 + number, 40 - number);
        let body = json!({"model": MODEL, "input": input, "layers": [0, 2], "tokens": ["cls", "mean"]});
        client.post("/v1/activations", &body).await.ok()
    };
    let mut alone = Vec::new();
    for number in 0..8 {
        let reply = send(number).await;
        assert_eq!(calls_in_pass(&reply), 1);
        alone.push(from_json(&reply.json()["tensors"]));
    }
    until("some of 8 callers share a pass", async || {
        let together = join_all((0..8).map(&send)).await;
        for (reply, expected) in together.iter().zip(&alone) {
            let got = from_json(&reply.json()["tensors"]);
            assert_eq!(names(&got), names(expected));
            for (name, tensor) in &got {
                let pairs = tensor.floats().into_iter().zip(expected[name].floats());
                assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() <= 1e-5 * b.abs().max(1.0)), "{name}");
            }
        }
        together.iter().any(|reply| calls_in_pass(reply) >= 4)
    })
    .await;
}

#[tokio::test]
async fn capabilities_say_what_can_be_asked() {
    let world = World::new().await;
    let found = world.client.get("/v1/fine_tuning/capabilities").await.ok_json();
    for feature in ["activations.layers", "activations.tokens", "activations.dtype"] {
        assert_eq!(found["features"][feature], true, "{feature}");
    }
    let models = found["models"].as_array().expect("a list");
    let tiny = models.iter().find(|model| model["id"] == MODEL).expect("is there");
    assert_eq!(tiny["levels"], 3);
}

#[tokio::test]
async fn what_goes_out_is_counted_as_it_goes() {
    let host = Host::start(&[]).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("mine", &[]).await));
    let counted = async || client.get("/v1/usage").await.ok_json()["total"]["bytes_out"].as_u64().expect("a number");
    let mut before = counted().await;
    let scale = 4 * WIDTH as u64;
    for (dtype, bytes) in [("float32", 4 * 12 * 16), ("float16", 2 * 12 * 16), ("int8", 12 * 16 + scale)] {
        ask(&client, json!({"layers": 1, "dtype": dtype})).await;
        let after = counted().await;
        assert_eq!(after - before, bytes + 3 * 8, "{dtype}, and three lengths");
        before = after;
    }
}
