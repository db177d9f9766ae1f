//! Where an update can sit. Owns the name and the widths of a linear layer; knows none of its weights.

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
