//! Keys made in the test process: as the command line makes them, without the start of a program for each of a hundred tests.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::PathBuf;

use blindtune::app::AdminApp;
use blindtune::config::Config;
use blindtune::domain::principal::Scope;
use blindtune::domain::quota::Quota;
use blindtune::service::NewKey;
use tokio::sync::OnceCell;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::host::Host;

type Order = (String, oneshot::Sender<String>);

static ORDERS: OnceCell<mpsc::UnboundedSender<Order>> = OnceCell::const_new();

/// A key with every scope but `admin` for a project, at the host that the tests of this binary share.
pub async fn key(host: &'static Host, project: &str) -> String {
    let open = || async { open(host.state(), host.database().to_owned()) };
    let (send, receive) = oneshot::channel();
    ORDERS.get_or_init(open).await.send((project.to_owned(), send)).expect("the thread runs");
    receive.await.expect("a key is made")
}

/// Runs on a thread of its own: the runtime of a test ends with the test.
fn open(state: PathBuf, database: String) -> mpsc::UnboundedSender<Order> {
    let (send, mut orders) = mpsc::unbounded_channel::<Order>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let flags = [("state.dir", state.to_string_lossy().into_owned().into()), ("database.url", database.into())];
            let config = Config::load(None, &flags).expect("a configuration");
            let admin = AdminApp::open(&config).await.expect("the administration opens");
            while let Some((project, answer)) = orders.recv().await {
                let scopes = Scope::ALL.into_iter().filter(|scope| *scope != Scope::Admin).collect();
                let new = NewKey { name: "test".into(), scopes, days: Some(1), quota: Quota::default() };
                let (_, key) = admin.keys.create_for(&project, new).await.expect("a key");
                // A test that ended meanwhile needs no key.
                let _ = answer.send(key);
            }
        });
    });
    send
}
