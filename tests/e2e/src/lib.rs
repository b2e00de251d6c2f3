//! Helpers for the tests that run the shipped binary against real components.
//!
//! Nothing of the product is linked here: what these tests know is what a user, a sender or a receiver sees. Standard library and
//! `serde_json` only, so that the tests cost no build time of their own.
//!
//! `cargo xtask test` says by environment where things are: `AVOUCH_BIN` (the release binary), `AVOUCH_KIT` (unpacked servers and a
//! Python environment), `AVOUCH_SHARED` (test data by others), `AVOUCH_ROOT` (the repository), and `AVOUCH_QUICK=1` or
//! `AVOUCH_SLOW_TESTS=1`. Run by hand, the tests look in the target folder. A component that is not there skips the test by name.
//!
//! Randomness comes from one seed (`AVOUCH_E2E_SEED` repeats a run); every message of a random test names it. A wait is always a poll
//! for a condition with a deadline, never a pause that is taken for proof. `AVOUCH_E2E_KEEP=1` leaves the scratch folders behind.

pub mod browser;
pub mod emulator;
pub mod http;
pub mod peer;
pub mod product;
pub mod scratch;
pub mod seed;

pub use product::{Run, Serve, avouch, avouch_in};
pub use scratch::Scratch;
pub use seed::Random;

use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Longest wait for something that takes seconds on an idle machine; two cores may be busy with four daemons and a compiler.
pub const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(25);

fn env_path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from)
}

/// The repository.
pub fn root() -> PathBuf {
    // Asked for at run time: a build cache may serve several checkouts.
    let above = || Some(env_path("CARGO_MANIFEST_DIR")?.ancestors().nth(2)?.to_owned());
    env_path("AVOUCH_ROOT").or_else(above).expect("run by cargo: two folders above this crate")
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    env_path("CARGO_TARGET_DIR").unwrap_or_else(|| root().join("target"))
}

/// The binary under test.
pub fn bin() -> PathBuf {
    let bin = env_path("AVOUCH_BIN").unwrap_or_else(|| target().join("release/avouch"));
    assert!(
        bin.is_file(),
        "there is no {}: build it with `cargo build --release`, or name it in AVOUCH_BIN",
        bin.display()
    );
    bin
}

/// A file of the kit, if it is there.
pub fn kit(path: &str) -> Option<PathBuf> {
    let dir = env_path("AVOUCH_KIT").unwrap_or_else(|| target().join("kit"));
    Some(dir.join(path)).filter(|p| p.exists())
}

/// A file or folder of the shared test data, if it is there.
pub fn shared(path: &str) -> Option<PathBuf> {
    let dir = env_path("AVOUCH_SHARED").unwrap_or_else(|| root().join("../shared/data"));
    Some(dir.join(path)).filter(|p| p.exists())
}

/// How often a random test repeats: few at the desk, many in the full run.
pub fn rounds(quick: usize, slow: usize) -> usize {
    let is_slow =
        std::env::var_os("AVOUCH_SLOW_TESTS").is_some() && std::env::var_os("AVOUCH_QUICK").is_none();
    if is_slow { slow } else { quick }
}

/// Says that a test did not run, in the form that the runner counts.
pub fn skipped(name: &str, reason: &str) {
    println!("skipped: {name}: {reason}");
}

/// Polls until `look` gives something; panics with `what` when the deadline passes.
#[track_caller]
pub fn wait_for<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < deadline, "not within {} s: {what}", deadline.as_secs());
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Polls until `holds`.
#[track_caller]
pub fn wait_until(what: &str, deadline: Duration, mut holds: impl FnMut() -> bool) {
    wait_for(what, deadline, || holds().then_some(()));
}

/// A text member of a JSON value, empty when there is none.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A whole number of a JSON value; fails by name.
#[track_caller]
pub fn number(value: &Value, pointer: &str) -> u64 {
    value
        .pointer(pointer)
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("no number at {pointer} in {value}"))
}

/// Bytes of hex text.
#[track_caller]
pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "odd hex: {text}");
    let pairs = text.as_bytes().chunks(2).map(|p| std::str::from_utf8(p).expect("hex is ASCII"));
    pairs.map(|p| u8::from_str_radix(p, 16).unwrap_or_else(|_| panic!("not hex: {text}"))).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
