//! The policies that a check judges: files, and all that a Terraform plan writes.

use super::{policy, unreadable};
use crate::files::read_text;
use crate::problem::Problem;
use access::check::readings;
use access::policy::{Document, Statement, Version};
use access::validate::PolicyKind;
use clap::Args;
use inventory::terraform::{Attached, MARK, Options, policies};
use report::{Logical, Position, Region};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Largest plan that is read.
pub const PLAN_BYTES_MAX: u64 = 512 << 20;

#[derive(Args, Clone, Debug)]
pub struct Subjects {
    /// Policies to judge
    #[arg(value_name = "POLICY", required_unless_present = "plan")]
    pub policies: Vec<PathBuf>,
    /// What `terraform show -json` prints of a plan: every policy that it writes
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
}

/// One policy.
pub struct Subject {
    /// `policy.json`, or `plan.json#aws_iam_policy.ci.policy`.
    pub name: String,
    pub file: PathBuf,
    /// All readings of it; the first one is shown.
    pub readings: Vec<Document>,
    /// What it is attached to, where a plan says so.
    pub kind: Option<PolicyKind>,
    pub resource_type: Option<&'static str>,
    /// What a plan replaces.
    pub before: Option<Vec<Document>>,
    pub is_planned: bool,
}

/// The policies, what of them cannot be judged, and what was taken for granted.
#[derive(Default)]
pub struct Found {
    pub subjects: Vec<Subject>,
    pub unknown: Vec<String>,
    pub notes: Vec<String>,
}

/// Reads them all: a file that is no policy is an error, a policy of a plan that cannot be read is one thing that is not known.
pub fn read(paths: &[PathBuf], plan: Option<&Path>) -> Result<Found, Problem> {
    let mut out = Found::default();
    for path in paths {
        out.subjects.push(Subject {
            name: path.display().to_string(),
            file: path.clone(),
            readings: policy(path)?,
            kind: None,
            resource_type: None,
            before: None,
            is_planned: false,
        });
    }
    if let Some(path) = plan {
        planned(path, &mut out)?;
    }
    Ok(out)
}

fn planned(path: &Path, out: &mut Found) -> Result<(), Problem> {
    let text = read_text(path, PLAN_BYTES_MAX).map_err(|e| unreadable(path, &e))?;
    let file = path.display().to_string();
    let options = Options { account: None, region: None, captured_at: crate::node::now() };
    let found = policies(&file, text.as_bytes(), &options)
        .map_err(|e| super::estate::told(&inventory::Problems::from(e), path))?;
    out.notes.extend(found.notes);
    if found.policies.is_empty() {
        out.notes.push(format!("{file} writes no policy of a type that is read"));
    }
    for policy in found.policies {
        let name = format!("{file}#{}", policy.source);
        let Some(text) = policy.text else {
            out.unknown.push(format!("{name}: not known before the apply"));
            continue;
        };
        let read = match readings(&text) {
            Ok(read) => read,
            Err(e) => {
                out.unknown.push(format!("{name}: no policy: {e}"));
                continue;
            }
        };
        let before = policy.before.as_deref().map(readings).transpose();
        let before = before.unwrap_or_else(|e| {
            out.unknown.push(format!("{name}: what stands there today is no policy: {e}"));
            None
        });
        let kind = match policy.attached {
            Attached::Identity => PolicyKind::Identity,
            Attached::Resource => PolicyKind::Resource,
            Attached::Trust => PolicyKind::Trust,
            Attached::Scp => PolicyKind::Scp,
            Attached::Rcp => PolicyKind::Rcp,
        };
        out.subjects.push(Subject {
            name,
            file: path.to_path_buf(),
            readings: read,
            kind: Some(kind),
            resource_type: policy.kind,
            before,
            is_planned: true,
        });
    }
    Ok(())
}

impl Subject {
    /// Where a part of the document is: `file:line:column`; of a plan, whose policies are texts within a text, the pointer.
    pub fn place(&self, document: &Document, at: u32, pointer: &str) -> String {
        if self.is_planned {
            return format!("{}{pointer}", self.name);
        }
        let Position { line, column } = position(document, at);
        format!("{}:{line}:{column}", self.name)
    }

    pub fn at(&self, document: &Document, statement: &Statement) -> String {
        self.place(document, statement.span.start, &format!("/Statement/{}", statement.index))
    }

    pub fn region(&self, document: &Document, span: (u32, u32)) -> Option<Region> {
        let region = || Region { span, start: position(document, span.0), end: position(document, span.1) };
        (!self.is_planned).then(region)
    }

    pub fn logical(&self, pointer: &str) -> Logical {
        Logical { fully_qualified_name: format!("{}#{pointer}", self.name), kind: "statement".to_owned() }
    }
}

pub fn position(document: &Document, at: u32) -> Position {
    let (line, column) = access::json::line_column(&document.text, at as usize);
    Position { line, column }
}

/// What of a text is only known after the apply.
pub fn open_parts(text: &str) -> BTreeSet<&str> {
    let parts = text.split(MARK).skip(1);
    parts.filter_map(|part| part.split_once('}').map(|(address, _)| address)).collect()
}

/// Whether all that is only known after the apply stands where policies have variables for certain: there it is anything, so what passes
/// passes with every value. As a principal, an action or a value of a condition it would be taken for a text that matches nobody.
pub fn is_anything(document: &Document) -> bool {
    let resources = document.statements.iter().filter_map(|s| s.resource.as_ref()).flat_map(|r| &r.values);
    let followed: usize = resources.map(|w| w.text.matches(MARK).count()).sum();
    let all = document.text.matches(MARK).count();
    all == 0 || (document.version == Version::V2012 && followed == all)
}

/// The part of the document's text that a statement takes.
pub fn text_of<'d>(document: &'d Document, statement: &Statement) -> &'d str {
    document.text.get(statement.span.start as usize..statement.span.end as usize).unwrap_or_default()
}
