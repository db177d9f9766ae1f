//! What clients are told, and how. Owns webhooks, the outbox, the attempts at delivery and which addresses may be called;
//! must never hold a transaction while the network is waited for.

mod attempts;
pub mod delivery;
pub mod url_guard;
mod webhooks;

pub use webhooks::WebhookUpdate;
pub use webhooks::Webhooks;
pub use webhooks::announce;
pub use webhooks::announce_batch;
pub use webhooks::announce_checkpoint;
