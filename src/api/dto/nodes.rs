//! The hosts of a fleet, as an operator sees them.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::ids::NodeId;
use crate::service::NodeRow;

/// A host of the fleet.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeObject {
    /// Id, `node-...`: another one after each start of the host. Answers of calls that need a session name it in `x-blindtune-node`.
    #[schema(example = "node-019ab2c3d4e57f60a1b2c3d4e5f60718")]
    pub id: String,
    /// Always `node`.
    #[schema(example = "node")]
    pub object: &'static str,
    /// Where the other nodes reach it (`fleet.address`).
    #[schema(example = "http://node-0.nodes:8080")]
    pub address: String,
    /// Of the program.
    pub version: String,
    /// Where it computes.
    #[schema(example = "cpu")]
    pub device: String,
    /// Jobs whose sessions it has open.
    pub sessions: i64,
    /// Calls that waited for its device at its last sign of life.
    pub waiting: i64,
    /// Whether it was told to drain.
    pub draining: bool,
    /// Whether it gave a sign of life in the last five seconds; of one that did not, the jobs are free.
    pub alive: bool,
    /// When it joined, seconds since 1970.
    pub started_at: i64,
    /// Its last sign of life, seconds since 1970.
    pub seen_at: i64,
}

impl From<NodeRow> for NodeObject {
    fn from(row: NodeRow) -> Self {
        Self {
            id: NodeId(row.id).to_string(),
            object: "node",
            address: row.address,
            version: row.version,
            device: row.device,
            sessions: row.sessions,
            waiting: row.waiting,
            draining: row.draining,
            alive: row.alive,
            started_at: row.started_at.unix_timestamp(),
            seen_at: row.seen_at.unix_timestamp(),
        }
    }
}

/// All nodes.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeList {
    /// Always `list`.
    pub object: &'static str,
    /// The nodes.
    pub data: Vec<NodeObject>,
    /// Always false: this list is never paged.
    pub has_more: bool,
}

/// What a node shall do.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateNode {
    /// Hand all sessions over, and open none.
    pub draining: bool,
}
