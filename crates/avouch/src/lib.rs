//! `avouch`: the command line, the configuration, the daemon and the mutable state. The only crate that knows every other.

mod answer;
mod cli;
mod client;
mod cmd;
mod config;
mod daemon;
mod demo;
mod files;
mod node;
mod ops;
mod outsiders;
mod problem;
#[cfg(test)]
mod scratch;
mod state;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> std::process::ExitCode {
    cli::main()
}
