use crate::client::Client;
use crate::world::World;

#[tokio::test]
async fn the_served_contract_is_the_committed_one() {
    let world = World::new().await;
    let served = Client::new(&world.host.base(), None).get("/openapi.json").await.ok_json();
    let committed = include_str!("../../openapi.yaml");
    let paths = served["paths"].as_object().expect("an object");
    assert!(paths.len() >= 20, "{} paths", paths.len());
    for (path, operations) in paths {
        assert!(committed.contains(&format!("\n  {path}:\n")), "{path} is not in openapi.yaml");
        for operation in operations.as_object().expect("an object").values() {
            let id = operation["operationId"].as_str().expect("an id");
            assert!(committed.contains(&format!("operationId: {id}\n")), "{id} is not in openapi.yaml");
        }
    }
}

#[tokio::test]
async fn the_reference_is_a_page_for_people() {
    let world = World::new().await;
    let page = Client::new(&world.host.base(), None).get("/docs/").await.ok();
    assert!(page.header("content-type").starts_with("text/html"), "{}", page.header("content-type"));
}
