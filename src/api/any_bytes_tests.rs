//! Any bytes at the JSON door: each body of the contract, spoilt anywhere, is read or refused in words.

use axum::response::IntoResponse as _;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::dto::account::CreateApiKey;
use crate::api::dto::batches::CreateBatch;
use crate::api::dto::checkpoints::CreateCheckpoint;
use crate::api::dto::checkpoints::UpdateCheckpoint;
use crate::api::dto::inference::ActivationsBody;
use crate::api::dto::inference::EmbeddingsBody;
use crate::api::dto::jobs::CreateJob;
use crate::api::dto::planning::EstimateBody;
use crate::api::dto::steps::AdapterBody;
use crate::api::dto::steps::BackwardBody;
use crate::api::dto::steps::ForwardBody;
use crate::api::dto::steps::MetricsBody;
use crate::api::dto::steps::OptimStepBody;
use crate::api::dto::uploads::CompleteUpload;
use crate::api::dto::uploads::CreateUpload;
use crate::api::dto::webhooks::CreateWebhook;
use crate::api::dto::webhooks::UpdateWebhook;
use crate::api::error::ApiError;
use crate::api::extract::parse_json;

type Read = fn(&[u8]) -> Result<(), ApiError>;

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<(), ApiError> {
    parse_json::<T>(body).map(|_| ())
}

/// The bodies of the contract, by their schemas' names.
const BODIES: [(&str, Read); 17] = [
    ("ActivationsBody", read::<ActivationsBody>),
    ("AdapterBody", read::<AdapterBody>),
    ("BackwardBody", read::<BackwardBody>),
    ("CompleteUpload", read::<CompleteUpload>),
    ("CreateApiKey", read::<CreateApiKey>),
    ("CreateBatch", read::<CreateBatch>),
    ("CreateCheckpoint", read::<CreateCheckpoint>),
    ("CreateJob", read::<CreateJob>),
    ("CreateUpload", read::<CreateUpload>),
    ("CreateWebhook", read::<CreateWebhook>),
    ("EmbeddingsBody", read::<EmbeddingsBody>),
    ("EstimateBody", read::<EstimateBody>),
    ("ForwardBody", read::<ForwardBody>),
    ("MetricsBody", read::<MetricsBody>),
    ("OptimStepBody", read::<OptimStepBody>),
    ("UpdateCheckpoint", read::<UpdateCheckpoint>),
    ("UpdateWebhook", read::<UpdateWebhook>),
];

/// Bytes that mean something to JSON, or to nobody.
const PIECES: [&[u8]; 16] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"-",
    b"1e999",
    b"null",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\0",
    b"0.5",
    b"18446744073709551616",
];

/// What is done to a body at a place.
#[derive(Debug, Clone)]
enum Spoil {
    Cut,
    Replace(u8),
    Insert(usize),
    Repeat(usize),
    Remove(usize),
}

fn spoil() -> impl Strategy<Value = (usize, Spoil)> {
    let how = prop_oneof![
        1 => Just(Spoil::Cut),
        3 => any::<u8>().prop_map(Spoil::Replace),
        4 => (0..PIECES.len()).prop_map(Spoil::Insert),
        2 => (1..200_usize).prop_map(Spoil::Repeat),
        2 => (1..20_usize).prop_map(Spoil::Remove),
    ];
    (any::<usize>(), how)
}

fn spoilt(mut body: Vec<u8>, places: &[(usize, Spoil)]) -> Vec<u8> {
    for (place, how) in places {
        let at = place % (body.len() + 1);
        match how {
            Spoil::Cut => body.truncate(at),
            Spoil::Replace(byte) => body.iter_mut().skip(at).take(1).for_each(|old| *old = *byte),
            Spoil::Insert(piece) => drop(body.splice(at..at, PIECES[*piece].iter().copied())),
            Spoil::Repeat(times) => {
                let piece = body.get(at).copied().unwrap_or(b'[');
                drop(body.splice(at..at, std::iter::repeat_n(piece, *times)));
            }
            Spoil::Remove(count) => drop(body.drain(at..(at + count).min(body.len()))),
        }
    }
    body
}

fn seeds() -> Vec<(Vec<u8>, Read)> {
    let examples: Value = serde_json::from_str(include_str!("examples.json")).expect("JSON");
    let seed = |(name, read): (&str, Read)| (examples["schemas"][name].to_string().into_bytes(), read);
    BODIES.into_iter().map(seed).collect()
}

#[test]
fn each_example_is_read() {
    for ((name, _), (body, read)) in BODIES.iter().zip(seeds()) {
        assert!(body != b"null" && read(&body).is_ok(), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_spoilt_body_is_read_or_refused_in_words(places in proptest::collection::vec(spoil(), 1..6)) {
        for (body, read) in seeds() {
            let body = spoilt(body, &places);
            if let Err(refused) = read(&body) {
                let status = refused.into_response().status();
                prop_assert!(status.is_client_error(), "{status} for {}", String::from_utf8_lossy(&body));
            }
        }
    }
}
