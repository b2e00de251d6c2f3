//! One file per subject.

pub mod access;
pub mod append;
pub mod detect;
pub mod intake;
pub mod query;
pub mod verify;
