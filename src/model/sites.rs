//! Where an update can sit, and where its matrices stand in the flat adapter vector. Owns names and sizes; knows no weight and
//! no tensor, so that an engine's interface may speak of them.

/// A linear layer that may carry an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinearSite {
    /// Module path, `encoder.layer.0.attention.self.query` for example.
    pub name: String,
    /// Input width.
    pub inputs: usize,
    /// Output width.
    pub outputs: usize,
}

/// One matrix in the flat adapter vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterMatrix {
    /// PEFT's name of the matrix, `base_model.model.encoder.layer.0.attention.self.query.lora_A.weight` for example.
    pub name: String,
    /// `[r, in]` for `lora_A`, `[out, r]` for `lora_B`.
    pub shape: [usize; 2],
    /// First element in the flat vector.
    pub offset: usize,
}
