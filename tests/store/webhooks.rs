//! The outbox of webhooks: who may send a message, and when it is forgotten.

use std::time::Duration;

use blindtune::domain::ids::DeliveryId;
use blindtune::domain::ids::WebhookId;
use blindtune::domain::webhooks::DeliveryState;
use blindtune::domain::webhooks::WebhookEvent;
use blindtune::store::Page;
use blindtune::store::deliveries;
use blindtune::store::deliveries::Outcome;
use blindtune::store::deliveries::Wanted;
use blindtune::store::webhooks;
use blindtune::store::webhooks::NewWebhook;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::TestResult;
use crate::world::World;

const LEASE: Duration = Duration::from_secs(60);

async fn webhook(world: &World) -> TestResult<WebhookId> {
    let id = WebhookId(Uuid::now_v7());
    let new = NewWebhook {
        id,
        project: world.project,
        url: "https://example.com/",
        events: &[WebhookEvent::JobFailed],
        secret: &[7; 32],
    };
    webhooks::insert(&mut *world.pool.acquire().await?, &new, 20).await?.ok_or("there is room")?;
    Ok(id)
}

#[tokio::test]
async fn a_message_is_taken_by_one_until_its_lease_has_ended() -> TestResult {
    let world = World::new().await;
    let hook = webhook(&world).await?;
    let mut conn = world.pool.acquire().await?;
    deliveries::enqueue(&mut conn, &[hook], WebhookEvent::Test, "{}").await?;
    let any = Wanted { most: 4, busy_projects: &[], busy_webhooks: &[] };
    let busy_webhook = Wanted { busy_webhooks: &[hook], ..any };
    assert!(deliveries::claim(&mut conn, &busy_webhook, LEASE).await?.is_empty(), "a busy webhook is left alone");
    let busy_project = Wanted { busy_projects: &[world.project], ..any };
    assert!(deliveries::claim(&mut conn, &busy_project, LEASE).await?.is_empty(), "and so is a busy project");
    let first = deliveries::claim(&mut conn, &any, Duration::ZERO).await?.pop().ok_or("it is due")?;
    let second = deliveries::claim(&mut conn, &any, LEASE).await?.pop().ok_or("the lease was over")?;
    assert_eq!((first.project, first.webhook), (world.project, hook));
    assert!(deliveries::claim(&mut conn, &any, LEASE).await?.is_empty(), "the lease holds");
    assert_eq!((first.attempts, second.attempts, first.id), (1, 2, second.id));
    let done = Outcome { state: DeliveryState::Delivered, retry_in: Duration::ZERO, status: Some(204), error: None };
    assert!(!deliveries::finish(&mut conn, &first, &done).await?, "who lost the lease writes nothing");
    assert!(deliveries::finish(&mut conn, &second, &done).await?);
    let row = deliveries::get(&mut conn, world.project, hook, second.id).await?.ok_or("it is there")?;
    assert_eq!((row.state, row.last_status, row.delivered_at.is_some()), (DeliveryState::Delivered, Some(204), true));
    Ok(())
}

#[tokio::test]
async fn old_messages_are_swept_and_young_ones_stay() -> TestResult {
    let world = World::new().await;
    let hook = webhook(&world).await?;
    let mut conn = world.pool.acquire().await?;
    let young = deliveries::enqueue(&mut conn, &[hook], WebhookEvent::Test, "{}").await?[0].id;
    let end = OffsetDateTime::now_utc() - Duration::from_secs(3600);
    let millis = (end.unix_timestamp_nanos() / 1_000_000) as u128;
    for age in [1, 10, 100_000] {
        let old = DeliveryId(Uuid::from_u128((millis - age) << 80 | 0x7000_8000_0000_0000_0001));
        sqlx::query("insert into webhook_deliveries (id, webhook_id, type, payload, state) values ($1, $2, 'webhook.test', '{}', 'failed')")
            .bind(old.0)
            .bind(hook.0)
            .execute(&mut *conn)
            .await?;
    }
    assert_eq!(deliveries::sweep(&mut conn, end, 2).await?, 2, "not more than asked");
    assert_eq!(deliveries::sweep(&mut conn, end, 100).await?, 1);
    let left = deliveries::list(&mut conn, world.project, hook, &Page::first(10)).await?.ok_or("a page")?;
    assert_eq!(left.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [young]);
    Ok(())
}
