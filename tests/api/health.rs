use crate::client::Client;
use crate::world::World;

#[tokio::test]
async fn both_probes_answer_without_a_key() {
    let world = World::new().await;
    let nobody = Client::new(&world.host.base(), None);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(nobody.get(path).await.ok_json()["status"], "ok", "{path}");
    }
}

#[tokio::test]
async fn every_answer_carries_its_marks() {
    let world = World::new().await;
    let reply = world.client.get("/v1/models").await.ok();
    assert!(!reply.header("x-request-id").is_empty());
    assert!(reply.header("openai-processing-ms").parse::<u64>().is_ok());
    assert_eq!((reply.header("x-content-type-options"), reply.header("cache-control")), ("nosniff", "no-store"));
}

#[tokio::test]
async fn a_request_id_that_would_fill_the_log_is_replaced() {
    let world = World::new().await;
    let ask = async |id: &str| {
        world.client.call(reqwest::Method::GET, "/healthz").header("x-request-id", id).send().await.ok()
    };
    let longest = "i".repeat(128);
    assert_eq!(ask(&longest).await.header("x-request-id"), longest);
    let own = "i".repeat(129);
    let reply = ask(&own).await;
    assert_ne!(reply.header("x-request-id"), own);
    assert_eq!(reply.header("x-request-id").len(), 36, "one of the host's");
}

#[tokio::test]
async fn a_request_id_of_the_callers_own_comes_back() {
    let world = World::new().await;
    let call = world.client.call(reqwest::Method::GET, "/v1/files/file-x").header("x-request-id", "mine-1");
    assert_eq!(call.send().await.header("x-request-id"), "mine-1");
}
