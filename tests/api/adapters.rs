//! PEFT folders, out and in.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderMap;
use reqwest::header::HeaderName;
use reqwest::multipart::Form;
use reqwest::multipart::Part;
use serde_json::Value;
use serde_json::json;
use sha2::Digest;
use sha2::Sha256;

use crate::client::Reply;
use crate::client::Tensor;
use crate::client::Tensors;
use crate::client::one;
use crate::client::pack;
use crate::client::unpack;
use crate::world::Job;
use crate::world::World;
use crate::world::batch;
use crate::world::id;
use crate::world::make_job;
use crate::world::values;

const ADAPTERS: &str = "/v1/adapters";

/// The files of a zip.
fn unzip(reply: Reply) -> BTreeMap<String, Vec<u8>> {
    let reply = reply.ok();
    assert_eq!(reply.header("content-type"), "application/zip");
    let mut archive = zip::ZipArchive::new(Cursor::new(reply.body)).expect("a zip");
    let names: Vec<String> = archive.file_names().map(str::to_owned).collect();
    let read = |name: String| {
        let mut bytes = Vec::new();
        archive.by_name(&name).expect("a file").read_to_end(&mut bytes).expect("reads");
        (name, bytes)
    };
    names.into_iter().map(read).collect()
}

async fn trained(world: &World) -> Job {
    let job = world.job(json!({"lora": {"rank": 4}})).await;
    for set in 0..2 {
        let theta = Tensor::f32(&[512], &values(512, 70 + set));
        job.client.put_tensors(&job.path(&format!("/adapters/{set}")), &one("theta", theta)).await.ok();
    }
    job
}

fn form(base: &str, sets: &[(Value, Vec<u8>)]) -> Form {
    let mut form = Form::new().text("base_model", base.to_owned());
    for (config, weights) in sets {
        let config = Part::text(config.to_string()).file_name("adapter_config.json");
        let weights = Part::bytes(weights.clone()).file_name("adapter_model.safetensors");
        form = form.part("config", config).part("weights", weights);
    }
    form
}

/// A folder that a job on the tiny backbone gives.
async fn folder(world: &World) -> (Value, Vec<u8>) {
    let job = trained(world).await;
    let saved = id(&job.client.verb(&job.path("/checkpoints")).await.ok_json());
    let mut files = unzip(job.client.get(&job.path(&format!("/checkpoints/{saved}/content?set=1"))).await);
    job.verb("cancel").await.ok();
    let config = serde_json::from_slice(&files["adapter_config.json"]).expect("JSON");
    (config, files.remove("adapter_model.safetensors").expect("weights"))
}

#[tokio::test]
async fn a_checkpoint_comes_as_peft_folders() {
    let world = World::new().await;
    let job = trained(&world).await;
    let saved = id(&job.client.verb(&job.path("/checkpoints")).await.ok_json());
    let path = job.path(&format!("/checkpoints/{saved}/content"));
    let files = unzip(job.client.get(&path).await);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "set_0/adapter_config.json",
            "set_0/adapter_model.safetensors",
            "set_1/adapter_config.json",
            "set_1/adapter_model.safetensors",
        ]
    );
    let config: Value = serde_json::from_slice(&files["set_0/adapter_config.json"]).expect("JSON");
    assert_eq!(
        (&config["peft_type"], &config["r"], &config["base_model_name_or_path"]),
        (&json!("LORA"), &json!(4), &json!("tiny"))
    );
    let (matrices, metadata) = unpack(&files["set_1/adapter_model.safetensors"]);
    assert_eq!(metadata["format"], "pt");
    let flat = job.theta(1).await.floats();
    let name = "base_model.model.encoder.layer.0.attention.self.query.lora_A.weight";
    let matrix = matrices[name].floats();
    assert_eq!(matrix, flat[..matrix.len()], "the first matrix of the flat vector");
    let one = unzip(job.client.get(&format!("{path}?set=1")).await);
    assert_eq!(one["adapter_model.safetensors"], files["set_1/adapter_model.safetensors"]);
    job.client.get(&format!("{path}?set=2")).await.refused(404, "not_found");
    job.client.get(&format!("{path}?set=x")).await.refused(400, "invalid_query");
}

#[tokio::test]
async fn a_models_adapters_go_out_and_come_in_again() {
    let world = World::new().await;
    let job = trained(&world).await;
    let expected = job.evaluate(&batch()).await;
    let name = job.verb("complete").await.ok_json()["fine_tuned_model"].as_str().expect("a name").to_owned();
    let files = unzip(world.client.get(&format!("{ADAPTERS}/{name}")).await);
    let set = |set: usize| {
        let config = serde_json::from_slice(&files[&format!("set_{set}/adapter_config.json")]).expect("JSON");
        (config, files[&format!("set_{set}/adapter_model.safetensors")].clone())
    };
    let form = form("tiny", &[set(0), set(1)]).text("suffix", "back").text("pooling", "cls");
    let model = world.client.form_to(ADAPTERS, form).await.ok_json();
    assert!(id(&model).starts_with("ft:tiny:") && id(&model).contains(":back:"), "{model}");
    for (field, value) in [("base_model", json!("tiny")), ("adapter_sets", json!(2)), ("pooling", json!("cls"))] {
        assert_eq!(model[field], value, "{field}");
    }
    assert_eq!(world.client.get(&format!("/v1/models/{}", id(&model))).await.ok_json(), model);
    let next = make_job(&world.client, json!({"model": id(&model)})).await;
    assert_eq!(next.evaluate(&batch()).await, expected);
    let other = World::new().await;
    other.client.get(&format!("{ADAPTERS}/{}", id(&model))).await.refused(404, "not_found");
    world.client.get(&format!("{ADAPTERS}/tiny")).await.refused(400, "no_adapters");
    world.client.get(&format!("{ADAPTERS}/none")).await.refused(404, "not_found");
}

#[tokio::test]
async fn weights_are_compared_with_the_checksum_of_their_part() {
    let world = World::new().await;
    let (config, weights) = folder(&world).await;
    let send = async |digest: String| {
        let headers =
            HeaderMap::from_iter([(HeaderName::from_static("content-digest"), digest.parse().expect("text"))]);
        let config = Part::text(config.to_string()).file_name("adapter_config.json");
        let weights = Part::bytes(weights.clone()).file_name("adapter_model.safetensors").headers(headers);
        let form = Form::new().text("base_model", "tiny").part("config", config).part("weights", weights);
        world.client.form_to(ADAPTERS, form).await
    };
    let digest = |bytes: &[u8]| format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(bytes)));
    send(digest(&weights)).await.ok();
    let models = world.client.get("/v1/models").await.ok_json();
    let differs = send(digest(b"other")).await.refused(400, "checksum_mismatch");
    assert_eq!(differs["param"], "weights");
    let message = differs["message"].as_str().expect("a message");
    assert!(
        message.starts_with("content-digest: ") && message.contains(&hex::encode(Sha256::digest(b"other"))),
        "{message}"
    );
    send("sha-256=YQ==".to_owned()).await.refused(400, "invalid_checksum");
    assert_eq!(world.client.get("/v1/models").await.ok_json(), models, "a refused folder became a model");
}

#[tokio::test]
async fn a_configuration_that_this_host_would_not_compute_is_refused_by_name() {
    let world = World::new().await;
    let (config, weights) = folder(&world).await;
    let cases = [
        ("use_dora", json!(true)),
        ("bias", json!("lora_only")),
        ("modules_to_save", json!(["classifier"])),
        ("peft_type", json!("IA3")),
        ("target_modules", json!(["no_such_layer"])),
        ("target_modules", json!(".*query")),
        ("rank_pattern", json!({"no_such_layer": 2})),
        ("r", json!(0)),
        ("layers_to_transform", json!([0])),
    ];
    for (field, value) in cases {
        let mut config = config.clone();
        config[field] = value.clone();
        let reply = world.client.form_to(ADAPTERS, form("tiny", &[(config, weights.clone())])).await;
        let error = reply.refused(400, "invalid_adapter_config");
        let word = if field == "r" { "rank" } else { field };
        assert!(
            error["param"] == "config" && error["message"].as_str().is_some_and(|text| text.contains(word)),
            "{error}"
        );
    }
    let models = world.client.get("/v1/models").await.ok().text();
    assert!(!models.contains("ft:"), "none was made: {models}");
}

#[tokio::test]
async fn weights_that_do_not_fit_or_could_run_code_are_refused() {
    let world = World::new().await;
    let (config, weights) = folder(&world).await;
    let (whole, _) = unpack(&weights);
    let name = whole.keys().next().expect("a matrix").clone();
    let without: Tensors =
        whole.iter().filter(|(other, _)| **other != name).map(|(k, v)| (k.clone(), v.clone())).collect();
    let with = |name: &str, tensor: Tensor| -> Tensors {
        whole.clone().into_iter().chain([(name.to_owned(), tensor)]).collect()
    };
    let size = whole[&name].floats().len();
    let nan = Tensor::f32(&whole[&name].shape, &vec![f32::NAN; size]);
    let extra = with("base_model.model.classifier.weight", Tensor::f32(&[1], &[0.0]));
    for tensors in [without, extra, with(&name, Tensor::f32(&[1], &[0.0])), with(&name, nan)] {
        let reply = world.client.form_to(ADAPTERS, form("tiny", &[(config.clone(), pack(&tensors))])).await;
        reply.refused(422, "tensor_invalid");
    }
    for pickle in [b"PK\x03\x04 archive".to_vec(), b"\x80\x02}q\x00.".to_vec()] {
        let reply = world.client.form_to(ADAPTERS, form("tiny", &[(config.clone(), pickle)])).await;
        reply.refused(400, "pickle_refused");
    }
    let named = Form::new().text("base_model", "tiny").part("config", Part::text(config.to_string()));
    let named = named.part("weights", Part::bytes(weights).file_name("adapter_model.bin"));
    assert_eq!(world.client.form_to(ADAPTERS, named).await.refused(400, "pickle_refused")["param"], "weights");
}

#[tokio::test]
async fn a_form_that_is_not_whole_makes_no_model() {
    let world = World::new().await;
    let (config, weights) = folder(&world).await;
    let set = || (config.clone(), weights.clone());
    let lone = Form::new().text("base_model", "tiny").part("config", Part::text(config.to_string()));
    let mut other = config.clone();
    other["lora_alpha"] = json!(3);
    let twice = Part::text(config.to_string().replacen('{', "{\"r\": 1, ", 1));
    let twice = Form::new().text("base_model", "tiny").part("config", twice);
    let twice = twice.part("weights", Part::bytes(weights.clone()).file_name("adapter_model.safetensors"));
    let nine: Vec<_> = (0..9).map(|_| set()).collect();
    let cases = [
        (Form::new(), 400, "invalid_form"),
        (Form::new().text("base_model", "tiny"), 400, "field_missing"),
        (lone, 400, "field_missing"),
        (form("none", &[set()]), 404, "not_found"),
        (form("tiny", &[set()]).text("suffix", "a:b"), 400, "invalid_suffix"),
        (form("tiny", &[set()]).text("pooling", "eos"), 400, "invalid_adapter_config"),
        (form("tiny", &[set()]).text("pooling", "max"), 400, "invalid_setting"),
        (form("tiny", &[set()]).text("labels", "1"), 400, "label_present"),
        (form("tiny", &[set()]).text("colour", "red"), 400, "unknown_field"),
        (form("tiny", &[set(), (other, weights.clone())]), 400, "invalid_adapter_config"),
        (form("tiny", &nine), 400, "too_many_sets"),
        (twice, 400, "invalid_adapter_config"),
    ];
    for (place, (form, status, code)) in cases.into_iter().enumerate() {
        let reply = world.client.form_to(ADAPTERS, form).await;
        // reqwest sends a form without fields as one that ends at once.
        let empty = place == 0 && reply.status == 400;
        assert!(empty || (reply.status, reply.code().as_str()) == (status, code), "{place}: {}", reply.text());
    }
    assert!(!world.client.get("/v1/models").await.ok().text().contains("ft:"), "none was made");
}

#[tokio::test]
async fn adapters_whose_activations_are_not_finite_become_no_model() {
    let world = World::new().await;
    let (config, weights) = folder(&world).await;
    let (matrices, _) = unpack(&weights);
    let huge = |tensor: &Tensor| Tensor::f32(&tensor.shape, &vec![1e38; tensor.shape.iter().product()]);
    let huge: Tensors = matrices.iter().map(|(name, tensor)| (name.clone(), huge(tensor))).collect();
    let error = world.client.form_to(ADAPTERS, form("tiny", &[(config.clone(), pack(&huge))])).await;
    let error = error.refused(422, "tensor_invalid");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("No model is made")), "{error}");
    world.client.form_to(ADAPTERS, form("tiny", &[(config, weights)])).await.ok();
}
