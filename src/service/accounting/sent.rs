//! What a client sent in one call, as the ledger will have it. Owns the digests over it; must never keep a value.

use sha2::Digest as _;
use sha2::Sha256;

use crate::domain::ids::KeyId;
use crate::domain::steps::Digest;
use crate::domain::tensor::Dtype;
use crate::domain::tensor::WireTensor;
use crate::store::ledger::SentTensor;
use crate::store::ledger::SentTensors;

/// What a client sent in one call: the digest for idempotency, the rest for the ledger.
#[derive(Debug, Clone)]
pub struct Sent {
    /// SHA-256 over kind, parameters and body.
    pub digest: Digest,
    /// Size of the body.
    pub bytes: usize,
    /// Its tensors.
    pub tensors: SentTensors,
    /// The key that sent it, for the record of use.
    pub key: KeyId,
}

impl Sent {
    /// Describes a call of `key` by its kind, its parameters and its body.
    pub fn new(key: KeyId, kind: &str, parameters: &str, body: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        for part in [kind.as_bytes(), b"\0", parameters.as_bytes(), b"\0", body] {
            hasher.update(part);
        }
        Self { digest: hasher.finalize().into(), bytes: body.len(), tensors: SentTensors::default(), key }
    }

    /// Writes down the tensors of the call.
    pub fn note_all(&mut self, tensors: &[WireTensor]) {
        tensors.iter().for_each(|tensor| self.note(tensor));
    }

    fn note(&mut self, tensor: &WireTensor) {
        self.tensors.0.push(SentTensor {
            name: tensor.name().to_owned(),
            dtype: tensor.dtype().name().to_owned(),
            shape: tensor.shape().iter().map(|dim| *dim as u64).collect(),
            bytes: tensor.bytes().len() as u64,
            sha256: hex::encode(Sha256::digest(tensor.bytes())),
        });
    }

    /// Writes down integers of a JSON body, as the I64 tensor that the binary form would carry.
    pub fn note_integers(&mut self, name: &str, values: impl Iterator<Item = i64>) {
        let mut hasher = Sha256::new();
        let mut count = 0u64;
        for value in values {
            hasher.update(value.to_le_bytes());
            count += 1;
        }
        self.tensors.0.push(SentTensor {
            name: name.to_owned(),
            dtype: Dtype::I64.name().to_owned(),
            shape: vec![count],
            bytes: count * Dtype::I64.size() as u64,
            sha256: hex::encode(hasher.finalize()),
        });
    }

    /// Writes down the texts of the call, as one thing.
    pub fn note_texts(&mut self, texts: &[(String, Option<String>)]) {
        let mut hasher = Sha256::new();
        let mut bytes = 0u64;
        for part in texts.iter().flat_map(|(text, pair)| std::iter::once(text).chain(pair)) {
            hasher.update(part.as_bytes());
            hasher.update(b"\0");
            bytes += part.len() as u64;
        }
        let sha256 = hex::encode(hasher.finalize());
        let shape = vec![texts.len() as u64];
        self.tensors.0.push(SentTensor { name: "texts".into(), dtype: "TEXT".into(), shape, bytes, sha256 });
    }
}
