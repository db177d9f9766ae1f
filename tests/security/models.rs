//! Backbones come from the operator, as safetensors, under plain names.

use std::fs;

use serde_json::json;

use crate::host::text;
use crate::world::World;
use crate::world::write_model;

#[tokio::test]
async fn a_folder_with_pickles_only_is_refused_with_the_way_to_convert_it() {
    let world = World::new().await;
    for pickle in ["pytorch_model.bin", "model.pt", "weights.pkl"] {
        let folder = world.host.scratch(&format!("pickle-{pickle}"));
        write_model(&folder, "bert-gelu-cls");
        fs::rename(folder.join("model.safetensors"), folder.join(pickle)).expect("renames");
        let output = world.host.cli(&["models", "add", &folder.to_string_lossy(), "--name", "pickled"]).await;
        let error = text(&output.stderr);
        assert!(!output.status.success() && error.contains(pickle), "{error}");
        assert!(error.contains("save_pretrained") && error.contains("safe_serialization=True"), "{error}");
    }
    world.client.get("/v1/models/pickled").await.refused(404, "not_found");
}

#[tokio::test]
async fn a_folder_that_is_damaged_is_refused_and_its_fault_is_named() {
    let world = World::new().await;
    type Spoil = fn(&std::path::Path) -> std::io::Result<()>;
    let cases: [(&str, Spoil, &str); 5] = [
        ("no-config", |folder| fs::remove_file(folder.join("config.json")), "config.json"),
        ("bad-config", |folder| fs::write(folder.join("config.json"), "{"), "config.json"),
        ("other-family", |folder| fs::write(folder.join("config.json"), "{\"model_type\": \"gpt2\"}"), "gpt2"),
        (
            "cut-weights",
            |folder| {
                let weights = fs::read(folder.join("model.safetensors"))?;
                fs::write(folder.join("model.safetensors"), &weights[..weights.len() / 2])
            },
            "model.safetensors",
        ),
        (
            "path-in-index",
            |folder| {
                fs::rename(folder.join("model.safetensors"), folder.join("x.safetensors"))?;
                let index = json!({"weight_map": {"a": "../pickle-model.pt/x.safetensors"}});
                fs::write(folder.join("model.safetensors.index.json"), index.to_string())
            },
            "../pickle-model.pt",
        ),
    ];
    for (name, spoil, fault) in cases {
        let folder = world.host.scratch(name);
        write_model(&folder, "bert-gelu-cls");
        spoil(&folder).expect("spoils");
        let output = world.host.cli(&["models", "add", &folder.to_string_lossy(), "--name", name]).await;
        let error = text(&output.stderr);
        assert!(!output.status.success() && error.contains(fault), "{name}: {error}");
        world.client.get(&format!("/v1/models/{name}")).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_name_that_is_a_path_is_refused_by_the_command_line() {
    let world = World::new().await;
    let folder = world.host.scratch("named");
    write_model(&folder, "bert-gelu-cls");
    for name in ["../x", "a/../b", "/etc/x", "a b", "ft:x", ""] {
        let output = world.host.cli(&["models", "add", &folder.to_string_lossy(), "--name", name]).await;
        assert!(!output.status.success(), "{name}");
    }
}

#[tokio::test]
async fn ids_that_are_paths_reach_no_file() {
    let world = World::new().await;
    let up = "..%2F..%2F..%2Fetc%2Fpasswd";
    for path in [
        format!("/v1/files/{up}"),
        format!("/v1/files/{up}/content"),
        format!("/v1/models/{up}"),
        format!("/v1/fine_tuning/jobs/{up}"),
        format!("/v1/fine_tuning/jobs/{up}/events"),
        "/v1/files/%00".to_owned(),
        "/v1/files/file-%FF".to_owned(),
        format!("/v1/fine_tuning/jobs/{}", "x".repeat(60_000)),
        format!("/v1/models/http://169.254.169.254/{}", "x".repeat(300)),
    ] {
        let reply = world.client.get(&path).await;
        reply.refused(404, "not_found");
        assert!(!reply.text().contains("root:"), "{path}");
    }
}
