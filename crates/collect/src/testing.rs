//! For unit tests: the inside of a source without starting one.

#[expect(dead_code, reason = "the integration tests use the rest of it")]
#[path = "../tests/it/memory.rs"]
mod memory;

use crate::feed::{Feed, Mode};
use crate::source::Base;
pub(crate) use memory::Memory;
use model::Provenance;
use std::sync::Arc;
use tokio::sync::watch;

pub(crate) fn feed(source: &str, memory: &Arc<Memory>) -> (Feed, watch::Sender<Mode>) {
    let (mode, watch) = watch::channel(Mode::Run);
    (Feed::new(source, memory.clone(), memory.clone(), watch), mode)
}

pub(crate) fn base(source: &str, memory: &Arc<Memory>) -> (Base, watch::Sender<Mode>) {
    let (feed, mode) = feed(source, memory);
    let base = Base {
        feed,
        dataset: "other".into(),
        provenance: Provenance::new(source),
        host: memory::host(memory, crate::Keys::default()),
        decode: Vec::new(),
        owners: Vec::new(),
    };
    (base, mode)
}
