//! `/v1/host/models`: backbones that an operator's key offers and withdraws.

use std::os::unix::fs::symlink;

use serde_json::Value;
use serde_json::json;

use crate::client::Client;
use crate::host::Host;
use crate::world::add_tiny;
use crate::world::make_job;
use crate::world::write_model;

/// A host that offers folders over the API, one of which is a backbone, and keys of an operator and of a customer.
async fn host() -> (Host, Client, Client) {
    let folder = tempfile::tempdir().expect("a folder").keep();
    let backbone = folder.join("small");
    std::fs::create_dir(&backbone).expect("a folder");
    write_model(&backbone, "bert-gelu-cls");
    std::fs::create_dir(folder.join("empty")).expect("a folder");
    symlink(std::env::temp_dir(), folder.join("outside")).expect("a link");
    let folder = folder.to_string_lossy().into_owned();
    let host = Host::start(&[("BLINDTUNE_STATE__MODELS_DIR", &folder)]).await;
    let operator = Client::new(&host.base(), Some(&host.key("operators", &["--scopes", "operator"]).await));
    let customer = Client::new(&host.base(), Some(&host.key("clinic", &[]).await));
    (host, operator, customer)
}

fn names(list: &Value) -> Vec<&str> {
    list["data"].as_array().expect("a list").iter().filter_map(|model| model["id"].as_str()).collect()
}

#[tokio::test]
async fn an_operator_offers_a_folder_and_withdraws_what_nobody_needs() {
    let (_host, operator, customer) = host().await;
    let body = json!({"folder": "small"});
    let offered = operator.put_json("/v1/host/models/org/mini", &body).await.ok_json();
    assert_eq!(
        (&offered["id"], &offered["hidden_size"], &offered["base_model"]),
        (&json!("org/mini"), &json!(16), &Value::Null)
    );
    operator.put_json("/v1/host/models/org/mini", &body).await.ok();
    assert_eq!(names(&customer.get("/v1/models").await.ok_json()), ["org/mini"]);
    let job = make_job(&customer, json!({"model": "org/mini"})).await;
    let error = operator.delete("/v1/host/models/org/mini").await.refused(409, "model_in_use");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("1 jobs")), "{error}");
    job.verb("cancel").await.ok();
    let gone = operator.delete("/v1/host/models/org/mini").await.ok_json();
    assert_eq!(gone, json!({"id": "org/mini", "object": "model", "deleted": true}));
    assert!(names(&customer.get("/v1/models").await.ok_json()).is_empty());
    operator.delete("/v1/host/models/org/mini").await.refused(404, "not_found");
}

#[tokio::test]
async fn no_folder_but_those_in_the_hosts_own_is_offered() {
    let (_host, operator, customer) = host().await;
    for folder in
        ["", ".", "..", "../..", "/", "/tmp", "outside", "small/../..", "nothing", "small/config.json", "small\u{0}"]
    {
        let reply = operator.put_json("/v1/host/models/mini", &json!({"folder": folder})).await;
        let error = &reply.json()["error"];
        assert_eq!((reply.status, &error["param"]), (400, &json!("folder")), "{folder:?}: {}", reply.text());
    }
    let error =
        operator.put_json("/v1/host/models/mini", &json!({"folder": "smal"})).await.refused(400, "folder_missing");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("empty, outside, small")), "{error}");
    let empty = operator.put_json("/v1/host/models/mini", &json!({"folder": "empty"})).await;
    assert!((400..500).contains(&empty.status), "{}", empty.text());
    operator.put_json("/v1/host/models/..%2Fmini", &json!({"folder": "small"})).await.refused(400, "invalid_name");
    customer.put_json("/v1/host/models/mini", &json!({"folder": "small"})).await.refused(403, "missing_scope");
    customer.delete("/v1/host/models/mini").await.refused(403, "missing_scope");
    assert!(names(&customer.get("/v1/models").await.ok_json()).is_empty());
}

#[tokio::test]
async fn a_host_without_such_a_folder_says_what_to_do() {
    let host = Host::start(&[]).await;
    add_tiny(&host).await;
    let operator = Client::new(&host.base(), Some(&host.key("operators", &["--scopes", "operator"]).await));
    let error = operator
        .put_json("/v1/host/models/mini", &json!({"folder": "small"}))
        .await
        .refused(403, "folders_not_offered");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("state.models_dir")), "{error}");
}
