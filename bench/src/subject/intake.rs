//! To come.

use crate::{Ctx, report::Report};
use anyhow::Result;

pub fn run(_: &Ctx, _: &mut Report) -> Result<()> {
    Ok(())
}
