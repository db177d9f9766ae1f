//! Keys as the service checks them, against a real Postgres.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use blindtune::domain::ids::ProjectId;
use blindtune::domain::principal::Scope;
use blindtune::domain::quota::Quota;
use blindtune::service::Keys;
use blindtune::service::NewKey;
use blindtune::service::Tokens;
use sqlx::Connection;
use sqlx::PgConnection;

use crate::TestResult;
use crate::postgres::Folder;
use crate::world::World;

/// Longer than any test.
const CACHE: Duration = Duration::from_secs(3600);

fn keys(world: &World, folder: &Folder) -> TestResult<Arc<Keys>> {
    let tokens = Tokens::open(folder.path(), "blindtune", "blindtune-api")?;
    Ok(Arc::new(Keys::new(world.pool.clone(), tokens, CACHE)))
}

fn new_key() -> NewKey {
    NewKey {
        name: "night".to_owned(),
        scopes: BTreeSet::from([Scope::JobsRead]),
        days: Some(1),
        quota: Quota::default(),
    }
}

/// Waits until a statement of this database waits for a lock.
async fn until_blocked(admin: &mut PgConnection) -> TestResult {
    let blocked = "select exists (select 1 from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock')";
    while !sqlx::query_scalar::<_, bool>(blocked).fetch_one(&mut *admin).await? {
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_revoked_amid_a_check_is_refused_from_then_on() -> TestResult {
    let (world, folder) = (World::new().await, Folder::new("keys")?);
    let keys = keys(&world, &folder)?;
    let (row, token) = keys.create_for("acme", new_key()).await?;
    let mut admin = PgConnection::connect(&world.url).await?;
    let mut holding = PgConnection::connect(&world.url).await?;
    // The check has read the key when it comes to the project, and waits there while the key is revoked.
    let mut held = holding.begin().await?;
    sqlx::raw_sql("lock table projects in access exclusive mode").execute(&mut *held).await?;
    let checking = {
        let (keys, token) = (Arc::clone(&keys), token.clone());
        tokio::spawn(async move { keys.check(&token).await })
    };
    until_blocked(&mut admin).await?;
    keys.revoke(Some(world.project), row.id).await?;
    held.rollback().await?;
    assert!(checking.await??.is_some(), "the check began while the key was valid");
    assert_eq!(keys.check(&token).await?, None, "the revoked key is in the cache again");
    Ok(())
}

#[tokio::test]
async fn a_key_that_was_checked_is_remembered_until_it_is_revoked() -> TestResult {
    let (world, folder) = (World::new().await, Folder::new("keys")?);
    let keys = keys(&world, &folder)?;
    let (row, token) = keys.create_for("acme", new_key()).await?;
    let known = |found: Option<blindtune::domain::principal::Principal>| found.map(|principal| principal.project);
    assert_eq!(known(keys.check(&token).await?), Some(world.project));
    let hidden = "update api_keys set token_sha256 = decode(repeat('00', 32), 'hex')";
    sqlx::raw_sql(hidden).execute(&mut PgConnection::connect(&world.url).await?).await?;
    assert_eq!(known(keys.check(&token).await?), Some(world.project), "remembered");
    assert!(keys.revoke(Some(ProjectId(uuid::Uuid::nil())), row.id).await.is_err(), "another project's key");
    assert_eq!(known(keys.check(&token).await?), Some(world.project));
    keys.revoke(Some(world.project), row.id).await?;
    assert_eq!(keys.check(&token).await?, None);
    Ok(())
}
