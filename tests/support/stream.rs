//! Reads server-sent events, frame by frame, and hides nothing of them.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::time::Duration;

use reqwest::Method;
use reqwest::Response;
use serde_json::Value;

use crate::client::Client;

/// Nothing that a test waits for takes longer.
const WITHIN: Duration = Duration::from_secs(30);

/// One frame.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frame {
    pub id: String,
    pub event: String,
    pub data: String,
    pub comment: String,
}

impl Frame {
    /// The data as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }
}

/// A stream that is open.
pub struct Stream {
    response: Response,
    buffer: String,
}

impl Stream {
    /// Opens a stream at this path; it must be one.
    pub async fn open(client: &Client, path: &str, last: Option<&str>) -> Self {
        let mut call = client.call(Method::GET, path).header("accept", "text/event-stream");
        if let Some(last) = last {
            call = call.header("last-event-id", last);
        }
        let response = call.start().await.expect("the host answers");
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Self { response, buffer: String::new() }
    }

    /// The next frame, pings included; `None` at the end. A connection that breaks off fails the test.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, rest)) = self.buffer.split_once("\n\n") {
                let (frame, rest) = (read(frame), rest.to_owned());
                self.buffer = rest;
                return Some(frame);
            }
            let chunk = tokio::time::timeout(WITHIN, self.response.chunk()).await.expect("something comes in time");
            self.buffer.push_str(std::str::from_utf8(&chunk.expect("ends in good order")?).expect("UTF-8"));
        }
    }

    /// The next frame that is no ping.
    pub async fn event(&mut self) -> Option<Frame> {
        loop {
            let frame = self.frame().await?;
            if frame.comment.is_empty() {
                return Some(frame);
            }
        }
    }

    /// All that follows, pings left out.
    pub async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.event().await {
            frames.push(frame);
        }
        frames
    }
}

fn read(text: &str) -> Frame {
    let mut frame = Frame::default();
    for line in text.lines() {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("not a field: {line}"));
        let field = match name {
            "id" => &mut frame.id,
            "event" => &mut frame.event,
            "data" => &mut frame.data,
            "" => &mut frame.comment,
            other => panic!("unknown field {other}"),
        };
        assert!(field.is_empty(), "twice in one frame: {line}");
        value.clone_into(field);
    }
    frame
}
