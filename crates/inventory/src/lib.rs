//! AWS APIs, AWS Config files, Terraform plans in; [`model::Resource`]s out.

pub mod calls;
pub mod collect;
pub mod config;
pub mod folder;
pub mod terraform;

mod arn;
mod error;

pub use error::{Problem, Problems};
