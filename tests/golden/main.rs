//! The engine through its door, on tiny models: its numbers against transformers and PEFT, and its behaviour.

mod behaviour;
mod callers;
mod hidden;
mod nf4;
mod numbers;
mod slices;
mod stacking;
mod support;
