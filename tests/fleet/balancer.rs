//! A plain balancer of the tests' own: each connection goes to the next node in turn that takes one. It knows nothing of HTTP.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

/// A node that does not take a connection by then is passed over.
const TAKES: Duration = Duration::from_millis(500);

/// The balancer.
pub struct Balancer {
    base: String,
    nodes: Arc<Mutex<Vec<String>>>,
}

impl Balancer {
    /// Before the nodes of these addresses.
    pub async fn before(nodes: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let nodes = Arc::new(Mutex::new(nodes));
        let known = Arc::clone(&nodes);
        tokio::spawn(async move {
            let turn = Arc::new(AtomicUsize::new(0));
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(pass_on(near, Arc::clone(&known), Arc::clone(&turn)));
            }
        });
        Self { base, nodes }
    }

    /// Its own address.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends no further connection to the node of that address.
    pub fn take_out(&self, node: &str) {
        self.nodes.lock().retain(|known| known != node);
    }
}

async fn pass_on(mut near: TcpStream, nodes: Arc<Mutex<Vec<String>>>, turn: Arc<AtomicUsize>) {
    let count = nodes.lock().len();
    for _ in 0..count {
        let known = nodes.lock().clone();
        let node = &known[turn.fetch_add(1, Ordering::Relaxed) % known.len()];
        if let Ok(Ok(mut far)) = tokio::time::timeout(TAKES, TcpStream::connect(node)).await {
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            return;
        }
    }
}
