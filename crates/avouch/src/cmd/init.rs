//! `init PROFILE`: a commented configuration for one of the five cases, what this build does not have for it yet, and the next
//! three commands.

use crate::cli::Global;
use crate::problem::Problem;
use clap::{Args, ValueEnum};
use std::io::Write as _;
use std::path::PathBuf;

#[derive(Args)]
pub struct Init {
    /// The case that is nearest to yours
    #[arg(value_enum)]
    pub profile: Profile,
    /// File to write; never over an existing one
    #[arg(long, default_value = "avouch.yaml", value_name = "FILE")]
    pub file: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// Syslog and HTTP in, one SIEM out, seven days kept
    LogProxy,
    /// The control register, with confirmations by people
    Register,
    /// Application audit lines, kept and provable
    AuditTrail,
    /// CloudTrail files of an account
    AccountAudit,
    /// Detection, alerts and claims over everything
    Monitoring,
}

impl Profile {
    pub fn text(self) -> &'static str {
        match self {
            Profile::LogProxy => include_str!("../../profiles/log-proxy.yaml"),
            Profile::Register => include_str!("../../profiles/register.yaml"),
            Profile::AuditTrail => include_str!("../../profiles/audit-trail.yaml"),
            Profile::AccountAudit => include_str!("../../profiles/account-audit.yaml"),
            Profile::Monitoring => include_str!("../../profiles/monitoring.yaml"),
        }
    }

    /// What the case asks for and this build does not have; said instead of written as if it worked.
    pub fn missing(self) -> &'static [&'static str] {
        match self {
            Profile::LogProxy => &[
                "queue (SQS), stream (Kinesis) and CloudWatch log groups as sources",
                "the Beats protocol as a sink",
                "masking at the outlet",
            ],
            Profile::Register => &[
                "the Splunk sink with index routing by level",
                "masking before forwarding",
                "reading SARIF, JUnit and lock files as evidence",
            ],
            Profile::AuditTrail => {
                &["Kafka as a source", "MongoDB as a sink", "field encryption", "comparison of copies"]
            }
            Profile::AccountAudit => &[
                "reading the bucket itself (S3)",
                "digest validation",
                "external-access analysis",
                "the trail as Terraform",
            ],
            Profile::Monitoring => &[
                "inventory and daily checks",
                "imported GuardDuty and Security Hub findings",
                "compliance reports",
                "SNS, chat and pager channels other than webhooks",
            ],
        }
    }
}

pub fn run(args: &Init, global: &Global) -> Result<u8, Problem> {
    let name = args.file.display();
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).open(&args.file).map_err(|e| {
            if e.kind() == std::io::ErrorKind::AlreadyExists {
                Problem::new("init.exists", format!("`{name}` exists and is not overwritten"))
                    .hint("name another file: `--file other.yaml`")
            } else {
                Problem::new("init.not_written", format!("cannot write `{name}`"))
                    .because(&e)
                    .hint("name a file in a folder that you may write")
            }
        })?;
    file.write_all(args.profile.text().as_bytes()).and_then(|()| file.sync_all()).map_err(|e| {
        Problem::new("init.not_written", format!("cannot write `{name}`"))
            .because(&e)
            .hint("is the disk full?")
    })?;
    let program = crate::cli::program();
    let mut out = format!("wrote {name}\n\nnot in this build yet:\n");
    for m in args.profile.missing() {
        out.push_str(&format!("  - {m}\n"));
    }
    out.push_str(&format!(
        "\nnext:\n  {program} config check {name}\n  {program} serve --config {name}\n  {program} controls list --config {name}\n"
    ));
    if global.quiet {
        return Ok(0);
    }
    super::print(out.as_bytes())
}
