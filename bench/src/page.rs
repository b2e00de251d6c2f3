//! `docs/benchmarks.md` from the results of all subjects.

use crate::report::Report;
use anyhow::Result;
use std::path::Path;

pub fn write(_root: &Path, _report: &Report) -> Result<()> {
    Ok(())
}
