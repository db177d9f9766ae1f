//! Every limit of the host, in one struct; the name carries the unit. `config` fills it, all layers are handed it by value.

use serde::Deserialize;
use serde::Serialize;

/// Larger numbers are written to the database in a way that cannot be read back.
pub const LARGEST_NUMBER: f64 = 1e300;

/// Largest whole number that every JSON reader has exactly (RFC 8259, section 6).
pub const LARGEST_WHOLE: i64 = (1 << 53) - 1;

/// The largest `batch_rows` that can be set: of a longer list the rest is counted and not kept.
pub const MOST_ROWS: usize = 65_536;

/// What the host accepts. See `config/default.toml` for the defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Largest body of a control request (JSON), in bytes.
    pub json_body_bytes: usize,
    /// Largest body of a data-plane request (safetensors, or JSON with base64 tensors), in bytes.
    pub tensor_body_bytes: usize,
    /// Largest header of a safetensors body, in bytes.
    pub tensor_header_bytes: usize,
    /// Largest number of tensors in one body.
    pub tensors_per_body: usize,
    /// Largest number of dimensions of a tensor.
    pub tensor_rank: usize,
    /// Largest uploaded file, in bytes.
    pub file_bytes: u64,
    /// Features and answers to batches of one project, in bytes: those that are stored, and those that its open jobs are to write.
    pub feature_bytes_per_project: u64,
    /// Everything that one project has stored, in bytes: files and their indexes, parts of uploads, results, checkpoints, adapters of models.
    pub stored_bytes_per_project: u64,
    /// Names of metrics that the reports of one job may have.
    pub metric_names_per_job: usize,
    /// Values that the reports of one job may have, each report counted as ten at least.
    pub metric_values_per_job: u64,
    /// How many levels of a backbone's hidden states are given, evenly spaced, the last one included; 0 gives all.
    pub feature_levels: usize,
    /// Most features of a level that are given; what is wider needs a projection. 0 sets no bound.
    pub feature_dim: usize,
    /// Longest line of an uploaded file, in bytes.
    pub file_line_bytes: usize,
    /// Largest number of inputs in one forward.
    pub batch_rows: usize,
    /// Largest number of tokens in one forward, all inputs together.
    pub batch_tokens: usize,
    /// Largest number of adapter sets of a job.
    pub adapter_sets: usize,
    /// Largest number of shares in one backward, for one adapter set.
    pub shares_per_set: usize,
    /// Largest Euclidean norm of one row of a share.
    pub share_norm: f64,
    /// Jobs of one project that are not in a final state, and as many batches.
    pub jobs_per_project: u32,
    /// Jobs of one project that run at once; the rest queue.
    pub running_per_project: u32,
    /// Data-plane calls of one project in flight at once.
    pub steps_in_flight_per_project: usize,
    /// Requests of one project a minute, where the project has no limit of its own.
    pub requests_per_minute: u32,
    /// Tokens that the device reads for one project a minute, where the project has no limit of its own.
    pub tokens_per_minute: u64,
    /// Inference calls of one project in flight at once.
    pub inference_in_flight_per_project: usize,
    /// Bytes that are held for one job between its calls: its session, kept answers, answers that are not read yet.
    pub held_bytes_per_job: u64,
    /// The same for one project: its jobs, and answers to its calls that are not read yet.
    pub held_bytes_per_project: u64,
    /// The same for all projects of this host.
    pub held_bytes: u64,
    /// Page size that a client may ask for.
    pub page_rows: u32,
}

impl Limits {
    /// Adapters in PEFT's form are many small tensors: two for each adapted layer.
    pub fn for_adapters(&self) -> Self {
        Self { tensors_per_body: 4096, tensor_header_bytes: self.tensor_header_bytes.max(1024 * 1024), ..self.clone() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            json_body_bytes: 256 * 1024,
            tensor_body_bytes: 64 * 1024 * 1024,
            tensor_header_bytes: 64 * 1024,
            tensors_per_body: 64,
            tensor_rank: 4,
            file_bytes: 512 * 1024 * 1024,
            feature_bytes_per_project: 64 * 1024 * 1024 * 1024,
            stored_bytes_per_project: 128 * 1024 * 1024 * 1024,
            metric_names_per_job: 256,
            metric_values_per_job: 1_000_000,
            feature_levels: 0,
            feature_dim: 0,
            file_line_bytes: 1024 * 1024,
            batch_rows: 1024,
            batch_tokens: 65_536,
            adapter_sets: 8,
            shares_per_set: 8,
            share_norm: 1e6,
            jobs_per_project: 100,
            running_per_project: 8,
            steps_in_flight_per_project: 4,
            requests_per_minute: 60_000,
            tokens_per_minute: 100_000_000,
            inference_in_flight_per_project: 64,
            held_bytes_per_job: 1024 * 1024 * 1024,
            held_bytes_per_project: 2 * 1024 * 1024 * 1024,
            held_bytes: 8 * 1024 * 1024 * 1024,
            page_rows: 100,
        }
    }
}
