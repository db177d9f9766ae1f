//! The console's files. What the page does with the API is in tests/console, in a browser.

use crate::client::Client;
use crate::host::Host;
use crate::world::World;

/// The quoted paths under `/console/` in a page.
fn files_of(page: &str) -> Vec<&str> {
    page.split('"').filter(|text| text.starts_with("/console/")).collect()
}

#[tokio::test]
async fn the_page_and_its_files_need_no_key_and_are_kept_as_long_as_they_are_right() {
    let world = World::new().await;
    let visitor = Client::new(&world.host.base(), None);
    let page = visitor.get("/console/").await.ok();
    assert_eq!((page.header("content-type"), page.header("cache-control")), ("text/html", "no-cache"));
    let text = page.text();
    let files = files_of(&text);
    assert!(
        files.iter().any(|file| file.ends_with(".js")) && files.iter().any(|file| file.ends_with(".css")),
        "{text}"
    );
    for file in files {
        let reply = visitor.get(file).await.ok();
        let kind = if file.ends_with(".js") { "text/javascript" } else { "text/css" };
        assert_eq!(reply.header("content-type"), kind, "{file}");
        assert_eq!(reply.header("cache-control"), "public, max-age=31536000, immutable", "{file}");
    }
}

#[tokio::test]
async fn a_page_that_is_the_same_is_not_sent_again() {
    let world = World::new().await;
    let tag = world.client.get("/console/").await.ok().header("etag").to_owned();
    let again = async |tag: String| {
        let call = world.client.call(reqwest::Method::GET, "/console/").header("if-none-match", &tag);
        call.send().await
    };
    let (same, other) = (again(tag).await, again("\"other\"".into()).await);
    assert_eq!((same.status, same.body.len()), (304, 0));
    assert!(other.status == 200 && !other.body.is_empty());
}

#[tokio::test]
async fn the_page_may_load_from_this_host_alone_and_be_framed_nowhere() {
    let world = World::new().await;
    let page = world.client.get("/console/").await.ok();
    let policy = page.header("content-security-policy");
    for rule in ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!((page.header("x-frame-options"), page.header("referrer-policy")), ("DENY", "no-referrer"));
    assert!(
        !page.text().contains("style=\"") && !page.text().contains("<script>"),
        "inline code, which the policy stops"
    );
}

#[tokio::test]
async fn there_is_no_other_file_behind_it() {
    let world = World::new().await;
    for path in ["nothing.js", "assets/", "%2e%2e/Cargo.toml", "..%2f..%2fCargo.toml", "assets/%2e%2e/%2e%2e/README.md"]
    {
        world.client.get(&format!("/console/{path}")).await.refused(404, "unknown_url");
    }
    let to = world.client.get("/console").await;
    assert!(to.status == 200 && to.text().contains("<div id=\"app\">"), "/console leads to /console/");
}

#[tokio::test]
async fn a_host_can_go_without_it() {
    let host = Host::start(&[("BLINDTUNE_SERVER__CONSOLE", "false")]).await;
    Client::new(&host.base(), None).get("/console/").await.refused(404, "unknown_url");
}
