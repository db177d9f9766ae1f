//! Requests that no HTTP library sends.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const WITHIN: Duration = Duration::from_secs(30);

/// Sends a head and then `chunk` over and over, up to `count` times, until the host answers; gives the answer's beginning.
pub async fn send(address: &str, head: &str, chunk: &[u8], count: usize) -> String {
    let stream = TcpStream::connect(address).await.expect("connects");
    let (mut reader, mut writer) = stream.into_split();
    let (head, chunk) = (head.to_owned(), chunk.to_vec());
    let sending = tokio::spawn(async move {
        writer.write_all(head.as_bytes()).await?;
        for _ in 0..count {
            writer.write_all(&chunk).await?;
        }
        // Kept open: the other side decides when it has heard enough.
        std::future::pending::<()>().await;
        std::io::Result::Ok(())
    });
    let mut answer = Vec::new();
    let mut buffer = vec![0; 4096];
    let reading = async {
        while !String::from_utf8_lossy(&answer).contains("\r\n\r\n") {
            match reader.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(read) => answer.extend_from_slice(&buffer[..read]),
            }
        }
    };
    assert!(tokio::time::timeout(WITHIN, reading).await.is_ok(), "no answer within {WITHIN:?}");
    sending.abort();
    String::from_utf8_lossy(&answer).into_owned()
}
