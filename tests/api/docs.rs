use crate::client::Client;
use crate::host::Host;
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

#[tokio::test]
async fn a_site_of_the_operators_stands_in_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("assets")).expect("a folder");
    std::fs::write(folder.path().join("index.html"), "<h1>How it works</h1>").expect("writes");
    std::fs::write(folder.path().join("assets/a.css"), "h1 {}").expect("writes");
    let host = Host::start(&[("BLINDTUNE_SERVER__DOCS", &folder.path().to_string_lossy())]).await;
    let client = Client::new(&host.base(), None);
    let page = client.get("/docs/").await.ok();
    assert!(page.text().contains("How it works"), "{}", page.text());
    let unled = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let slash = unled.get(format!("{}/docs", host.base())).send().await.expect("answers");
    assert_eq!((slash.status().as_u16(), slash.headers()["location"].to_str().ok()), (308, Some("/docs/")));
    assert!(client.get("/docs/assets/a.css").await.ok().header("content-type").starts_with("text/css"));
    assert_eq!(client.get("/docs/../Cargo.toml").await.status, 404);
    assert_eq!(client.get("/docs/%2e%2e/%2e%2e/etc/passwd").await.status, 404);
    assert!(client.get("/try/").await.ok().header("content-type").starts_with("text/html"), "calls can be tried");
    client.get("/openapi.json").await.ok();
}
