//! blindtune: fine-tuning as a service that never sees the labels.
//!
//! A model host serves a transformer backbone with LoRA adapters; the label holder drives each training step over HTTP, keeps
//! the labels, the loss and the head, and sends back gradients split into shares (P3EFT, arXiv 2412.16669).
//!
//! The layers, each of which may use only those to its right: [`api`] → [`service`] → [`store`], [`engine`] → [`domain`],
//! [`model`]. [`app`] alone puts them together. ARCHITECTURE.md walks through one step.

pub mod api;
pub mod app;
mod background;
pub mod cli;

pub mod config;
mod database;
pub mod domain;
pub mod engine;
pub mod failpoint;
pub mod instruments;
pub mod model;
pub mod service;
mod settings;
pub mod store;
pub mod telemetry;
