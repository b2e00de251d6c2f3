//! What exists in an AWS estate: files in, [`model::Resource`]s out.
//!
//! - [`folder`] reads an estate folder, one file per resource (docs/reference/estate-folder.md).
//! - [`collect`] makes the shell script that writes such a folder with the AWS CLI.
//! - [`calls`] is the table behind both: what is asked of AWS for each type, which permission it takes, where policies stand.
//! - [`terraform`] reads a plan or a state, [`config`] snapshots of AWS Config and IAM's authorization details.
//!
//! Whatever the input, a resource comes out in one shape: `config` maps an operation of the API to the answer that the AWS CLI prints.
//! What reads it need not know where it came from. Three things are kept apart everywhere (F1): an answer, "there is none" (`{}`), and
//! not known (absent, or an error in the answer's place). Nothing here turns the last into the second.
//!
//! This crate reads and nothing else: no network, no clock, no process; times come from the input or from the caller. It does not
//! decide what a policy means, nor which documents count.
//!
//! ```
//! use inventory::terraform::{Options, plan};
//! let text = r#"{"format_version": "1.2", "planned_values": {"root_module": {"resources": [{"address": "aws_s3_bucket.logs",
//!     "mode": "managed", "type": "aws_s3_bucket", "name": "logs", "values": {"bucket": "acme-logs"}}]}}}"#;
//! let options = Options { account: Some("111122223333".into()), region: Some("eu-west-1".into()), captured_at: model::Time(0) };
//! let plan = plan("plan.json", text.as_bytes(), &options)?;
//! assert_eq!(plan.resources[0].resource.arn, "arn:aws:s3:::acme-logs");
//! # Ok::<(), inventory::Problem>(())
//! ```
//!
//! Rejected: a Terraform provider schema compiled in (30 MB, and only a few attributes of each type matter here); `jq` or Python in the
//! script (an auditor's machine may have neither; the AWS CLI prints JSON that needs no change, only a frame).

pub mod calls;
pub mod collect;
pub mod config;
pub mod folder;
pub mod terraform;

mod arn;
mod error;

pub use error::{Problem, Problems};
