//! Keys, rates, budgets, usage, repeats and the audit log.

mod audit;
mod backbones;
mod keys;
mod operator;
mod rates;
mod repeats;
mod usage;

use crate::client::Client;
use crate::world::World;

/// A client of the world's project with a key that was made with these arguments.
async fn with(world: &World, arguments: &[&str]) -> Client {
    world.client.with_key(Some(&world.host.key(&world.project, arguments).await))
}

/// A client that may manage keys.
async fn admin(world: &World) -> Client {
    with(world, &["--scopes", "admin"]).await
}
