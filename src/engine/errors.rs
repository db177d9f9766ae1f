//! What the engine answers when the codec, the mathematics or LibTorch refuse. Owns nothing but this mapping.

use tch::TchError;

use crate::domain::settings::BadSetting;
use crate::engine::codec::CodecError;
use crate::engine::interface::EngineError;
use crate::model::ModelError;

/// A request that cannot be run.
pub fn invalid(param: impl Into<String>, reason: impl Into<String>) -> EngineError {
    EngineError::Invalid { param: param.into(), reason: reason.into() }
}

impl From<TchError> for EngineError {
    fn from(error: TchError) -> Self {
        let text = error.to_string();
        // LibTorch has no error codes: these are the words of its CPU and CUDA allocators, and of oneDNN without room for its code.
        let memory =
            ["DefaultCPUAllocator", "out of memory", "not enough memory", "bad_alloc", "could not create a primitive"];
        if memory.iter().any(|words| text.contains(words)) { Self::OutOfMemory } else { Self::Internal(text) }
    }
}

impl From<ModelError> for EngineError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Folder(text) => Self::Backbone(text),
            ModelError::Setting { param, reason } => Self::Invalid { param, reason },
            ModelError::Torch(error) => error.into(),
        }
    }
}

impl From<CodecError> for EngineError {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::TooLarge(text) => Self::TooLarge(text),
            CodecError::Malformed(reason) => invalid("body", reason),
            CodecError::Tensor { name, reason } => invalid(name, reason),
        }
    }
}

impl From<BadSetting> for EngineError {
    fn from(error: BadSetting) -> Self {
        invalid(error.param, error.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_memory_is_told_from_other_failures() {
        let cpu = "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory";
        for text in [cpu, "CUDA out of memory. Tried to allocate 2.00 GiB", "could not create a primitive"] {
            assert_eq!(EngineError::from(TchError::Torch(text.to_owned())), EngineError::OutOfMemory);
        }
        let other = EngineError::from(TchError::Torch("mat1 and mat2".to_owned()));
        assert!(matches!(other, EngineError::Internal(_)));
    }
}
