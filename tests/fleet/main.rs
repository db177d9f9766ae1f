//! Several hosts as one service: clients know a balancer that knows nothing of jobs, and any node takes any call.

mod balancer;
mod losses;
mod relay;

#[path = "../support/client.rs"]
mod client;
#[path = "../support/desk.rs"]
mod desk;
#[path = "../faults/driver.rs"]
mod driver;
#[path = "../support/host.rs"]
mod host;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/world.rs"]
mod world;

use balancer::Balancer;
use client::Client;
use host::Host;
use world::add_tiny;

/// Leases that no test waits for: what is taken over in time is taken over because its node is dead.
const SETTINGS: [(&str, &str); 4] = [
    ("BLINDTUNE_FLEET__ADDRESS", "127.0.0.1"),
    ("BLINDTUNE_JOBS__LEASE_SECS", "600"),
    ("BLINDTUNE_JOBS__MAX_BARREN_ATTEMPTS", "1000"),
    ("BLINDTUNE_JOBS__CHECKPOINT_EVERY_STEPS", "1"),
];

/// Nodes on one database and one state, a balancer before them, and a client that knows the balancer alone.
pub struct Fleet {
    pub nodes: Vec<Host>,
    pub balancer: Balancer,
    pub client: Client,
    pub operator: Client,
}

impl Fleet {
    pub async fn of(count: usize) -> Self {
        let first = Host::start(&SETTINGS).await;
        add_tiny(&first).await;
        let key = first.key("clinic", &[]).await;
        let operators = first.key("operators", &["--scopes", "operator"]).await;
        let mut nodes = vec![first];
        while nodes.len() < count {
            nodes.push(nodes[0].start_beside(&SETTINGS).await);
        }
        let balancer = Balancer::before(nodes.iter().map(Host::address).collect()).await;
        let client = Client::new(balancer.base(), Some(&key)).unpooled();
        let operator = client.with_key(Some(&operators));
        Self { nodes, balancer, client, operator }
    }

    /// A client of that node.
    pub fn at(&self, node: usize) -> Client {
        self.client.at(&self.nodes[node].base())
    }

    /// Ids of the nodes, in the order of `nodes`.
    pub async fn ids(&self) -> Vec<String> {
        let list = self.operator.get("/v1/nodes").await.ok_json();
        let of = |host: &Host| {
            let known = list["data"].as_array().expect("a list").iter().find(|node| node["address"] == host.base());
            known.and_then(|node| node["id"].as_str()).unwrap_or_else(|| panic!("{} in {list}", host.base())).to_owned()
        };
        self.nodes.iter().map(of).collect()
    }

    /// Which of the nodes answered, by its own word.
    pub async fn worker(&self, reply: &client::Reply) -> usize {
        let id = reply.header("x-blindtune-node");
        self.ids().await.iter().position(|known| known == id).unwrap_or_else(|| panic!("no node {id}"))
    }
}
