//! `blindtuned nodes`.

use clap::Subcommand;

use crate::app::AdminApp;
use crate::config::Config;
use crate::domain::ids::NodeId;
use crate::service::NodeRow;

/// What to do with the hosts of a fleet.
#[derive(Debug, Subcommand)]
pub enum NodesCommand {
    /// List the nodes, with their sessions and whether they live
    List,
    /// Let a node hand its sessions over and open none any more
    Drain {
        /// Its id, node-...
        id: NodeId,
        /// Let it take sessions again
        #[arg(long)]
        undo: bool,
    },
}

impl NodesCommand {
    /// Runs the command; works beside running hosts.
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        let admin = AdminApp::open(config).await?;
        let done = self.run_at(&admin).await;
        admin.close().await?;
        done
    }

    async fn run_at(self, admin: &AdminApp) -> anyhow::Result<()> {
        match self {
            Self::List => {
                let rows: Vec<_> = admin.nodes.list().await?.into_iter().map(cells).collect();
                super::print_table(&["node", "address", "version", "device", "sessions", "state"], &rows);
            }
            Self::Drain { id, undo } => {
                let node = admin.nodes.set_draining(id.0, !undo).await?;
                let told = if undo { "takes sessions again" } else { "hands its sessions over" };
                println!("{id} at {} {told}; it hears of it within a second", node.address);
            }
        }
        Ok(())
    }
}

fn cells(node: NodeRow) -> Vec<String> {
    let state = match (node.alive, node.draining) {
        (false, _) => "dead",
        (true, true) => "draining",
        (true, false) => "alive",
    };
    vec![
        NodeId(node.id).to_string(),
        node.address,
        node.version,
        node.device,
        node.sessions.to_string(),
        state.to_owned(),
    ]
}
