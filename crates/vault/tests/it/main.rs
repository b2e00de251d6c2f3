#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used,
    reason = "tests; clippy exempts the test functions, this exempts what they call"
)]
//! The vault from outside.

mod append;
mod crash;
mod golden;
mod measure;
mod reader;
mod recovery;
mod retention;
mod seal;
mod sim;
mod support;
mod verify;
