//! One file per subject.

pub mod append;
pub mod detect;
pub mod intake;
pub mod query;
pub mod verify;
