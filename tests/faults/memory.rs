//! A pass that the memory does not hold: refused in a way that can be tried again, and the job lives on.

use std::process::Command;

use serde_json::json;

use crate::client_custody::host_and_client;
use crate::world::inputs;
use crate::world::make_job;

/// Lets the process have so many more bytes of address space than it has now; without `more`, as many as it likes.
fn limit(pid: u32, now_kb: u64, more: Option<u64>) {
    let bytes = more.map_or("unlimited".to_owned(), |more| (now_kb * 1024 + more).to_string());
    let done = Command::new("prlimit").arg(format!("--pid={pid}")).arg(format!("--as={bytes}:unlimited")).status();
    assert!(done.expect("prlimit is there (util-linux)").success());
}

#[tokio::test]
async fn a_pass_that_memory_does_not_hold_is_refused_and_the_job_goes_on() {
    let (host, client) = host_and_client(&[("BLINDTUNE_LOG__FILTER", "warn")]).await;
    let mut job = make_job(&client, json!({})).await;
    job.step_ok().await;
    let ids: Vec<i64> = (0..36).map(|token| 2 + token % 40).collect();
    let large = inputs(&vec![ids.as_slice(); 1000]); // its embeddings alone do not fit
    let seq = job.next_seq().await;
    limit(host.pid(), host.memory_kb("VmSize"), Some(2 << 20));
    let refused = job.forward(&large).await;
    limit(host.pid(), 0, None);
    refused.refused(503, "out_of_memory");
    assert_eq!(job.next_seq().await, seq, "no step was taken");
    job.step_ok().await;
    assert_eq!(job.forward(&large).await.status, 200, "with memory it runs");
}
