//! `/v1/webhooks` as the contract has it. The shared host allows no private addresses; deliveries are in `tests/faults`.

use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::client::Client;
use crate::client::Reply;
use crate::world::World;
use crate::world::id;

const PATH: &str = "/v1/webhooks";
const URL: &str = "https://1.1.1.1/hook";

async fn patch(client: &Client, path: &str, body: &Value) -> Reply {
    client.call(Method::PATCH, path).json(body).send().await
}

#[tokio::test]
async fn a_webhook_lives_as_the_contract_says_and_its_secret_is_shown_once() {
    let world = World::new().await;
    let made = world.client.post(PATH, &json!({"url": URL})).await.ok_json();
    let secret = made["secret"].as_str().and_then(|secret| secret.strip_prefix("whsec_")).expect("a secret");
    assert_eq!(secret.len(), 44, "32 bytes in base64");
    assert_eq!((&made["object"], &made["enabled"], &made["url"]), (&json!("webhook"), &json!(true), &json!(URL)));
    assert_eq!(made["events"].as_array().map(Vec::len), Some(11));
    let path = format!("{PATH}/{}", id(&made));
    let got = world.client.get(&path).await.ok_json();
    assert!(got.get("secret").is_none(), "{got}");
    let events = json!(["fine_tuning.job.succeeded"]);
    let changed = patch(&world.client, &path, &json!({"events": events, "enabled": false})).await.ok_json();
    assert_eq!((&changed["events"], &changed["enabled"], &changed["url"]), (&events, &json!(false), &got["url"]));
    world.client.verb(&format!("{path}/test")).await.refused(409, "webhook_disabled");
    let list = world.client.get(PATH).await.ok_json();
    assert_eq!(list["data"], json!([changed]));
    let deleted = world.client.delete(&path).await.ok_json();
    assert_eq!(deleted, json!({"id": made["id"], "object": "webhook", "deleted": true}));
    world.client.get(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn addresses_off_the_public_internet_are_refused() {
    let world = World::new().await;
    let hosts = [
        "127.0.0.1",
        "localhost",
        "10.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "100.64.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fd00::1]",
        "[fe80::1]",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "0.0.0.0",
        "224.0.0.1",
    ];
    let good = id(&world.client.post(PATH, &json!({"url": URL})).await.ok_json());
    for host in hosts {
        let url = json!({"url": format!("https://{host}:8443/hook")});
        let error = world.client.post(PATH, &url).await.refused(400, "invalid_url");
        assert_eq!(error["param"], "url", "{host}");
        patch(&world.client, &format!("{PATH}/{good}"), &url).await.refused(400, "invalid_url");
    }
    for url in ["http://1.1.1.1/", "ftp://1.1.1.1/", "https://me:secret@1.1.1.1/", "1.1.1.1", ""] {
        world.client.post(PATH, &json!({"url": url})).await.refused(400, "invalid_url");
    }
}

#[tokio::test]
async fn bad_fields_are_named_and_a_project_has_at_most_twenty() {
    let world = World::new().await;
    world.client.post(PATH, &json!({"url": URL, "events": []})).await.refused(400, "invalid_events");
    world.client.post(PATH, &json!({"url": URL, "events": ["job.done"]})).await.refused(400, "invalid_json");
    world.client.post(PATH, &json!({"url": URL, "secret": "x"})).await.refused(400, "unknown_field");
    let (url, client) = (json!({"url": URL}), &world.client);
    let made = futures::future::join_all((0..24).map(|_| client.post(PATH, &url))).await;
    assert_eq!(made.iter().filter(|reply| reply.status == 200).count(), 20);
    made.iter().filter(|reply| reply.status != 200).for_each(|reply| drop(reply.refused(409, "too_many_webhooks")));
    let first = client.get(&format!("{PATH}?limit=15")).await.ok_json();
    let rest = client.get(&format!("{PATH}?after={}", first["last_id"].as_str().expect("a cursor"))).await.ok_json();
    assert_eq!((first["has_more"].as_bool(), rest["data"].as_array().map(Vec::len)), (Some(true), Some(5)));
}

#[tokio::test]
async fn another_projects_webhook_reads_as_one_that_never_was() {
    let (mine, theirs) = (World::new().await, World::new().await);
    let hook = id(&mine.client.post(PATH, &json!({"url": URL})).await.ok_json());
    let message = id(&mine.client.verb(&format!("{PATH}/{hook}/test")).await.ok_json());
    let never = format!("wh_{}", uuid::Uuid::now_v7().simple());
    let calls = [
        (Method::GET, ""),
        (Method::PATCH, ""),
        (Method::DELETE, ""),
        (Method::POST, "/test"),
        (Method::GET, "/deliveries"),
        (Method::POST, &format!("/deliveries/{message}/replay")),
    ];
    for (method, rest) in calls {
        let call = async |hook: &str| {
            let call = theirs.client.call(method.clone(), &format!("{PATH}/{hook}{rest}"));
            let call = if method == Method::PATCH { call.json(&json!({"enabled": false})) } else { call };
            call.send().await.refused(404, "not_found")["message"].as_str().unwrap_or_default().replace(hook, "X")
        };
        assert_eq!(call(&hook).await, call(&never).await, "{method} {rest}");
    }
    assert_eq!(theirs.client.get(PATH).await.ok_json()["data"], json!([]));
    assert_eq!(mine.client.get(&format!("{PATH}/{hook}")).await.ok_json()["enabled"], true);
    let other = id(&mine.client.post(PATH, &json!({"url": URL})).await.ok_json());
    mine.client.verb(&format!("{PATH}/{other}/deliveries/{message}/replay")).await.refused(404, "not_found");
    mine.client.get(&format!("{PATH}/{other}/deliveries?after={message}")).await.refused(400, "invalid_cursor");
}
