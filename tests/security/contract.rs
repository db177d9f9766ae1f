//! What the contract itself promises: no place for a label, and an envelope for every refusal.

use blindtune::domain::labels::is_label_name;
use serde_json::Value;

use crate::client::Client;
use crate::world::World;

pub async fn contract(world: &World) -> Value {
    Client::new(&world.host.base(), None).get("/openapi.json").await.ok_json()
}

/// Every name that a request or an answer can carry.
fn names(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                found.extend(properties.keys().cloned());
            }
            if let (Some(Value::String(name)), true) = (map.get("name"), map.contains_key("in")) {
                found.push(name.clone());
            }
            map.values().for_each(|value| names(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| names(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn no_schema_has_a_place_for_a_label() {
    let world = World::new().await;
    let mut found = Vec::new();
    names(&contract(&world).await, &mut found);
    assert!(found.len() > 100 && found.iter().any(|name| name == "training_file"), "{found:?}");
    let labels: Vec<&String> = found.iter().filter(|name| is_label_name(name)).collect();
    assert!(labels.is_empty(), "{labels:?}");
}

#[tokio::test]
async fn every_refusal_of_the_contract_has_the_envelope() {
    let world = World::new().await;
    let contract = contract(&world).await;
    for (path, operations) in contract["paths"].as_object().expect("an object") {
        for (method, operation) in operations.as_object().expect("an object") {
            for (status, response) in operation["responses"].as_object().expect("an object") {
                let schema = &response["content"]["application/json"]["schema"]["$ref"];
                let is_error = status.starts_with(['4', '5']);
                let has_envelope = schema == "#/components/schemas/ErrorEnvelope";
                assert_eq!(is_error, has_envelope, "{method} {path}: {status}");
            }
        }
    }
}
