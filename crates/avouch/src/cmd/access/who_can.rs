//! Who can do something to a resource, and what a user or role can do.

use super::estate::{Loaded, Source, load};
use crate::answer::Answer;
use crate::problem::Problem;
use access::finding::{Exactness, Source as Statement, Test};
use access::reach::asked::{Unasked, check_action, check_principal, check_resource};
use access::reach::{Certainty, Row, what_can, who_can};
use access::words::in_short;
use clap::Args;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Args, Clone, Debug)]
pub struct WhoCan {
    /// Folder with one JSON file a resource; `avouch access collect-commands` prints a script that writes one
    #[arg(long, value_name = "DIR")]
    estate: PathBuf,
    /// `service:Name`, wildcards in the name only: `s3:GetObject`, `kms:*`
    #[arg(long, value_name = "ACTION")]
    action: String,
    /// ARN of what it is done to; with a `*` any that it stands for
    #[arg(long, value_name = "ARN")]
    resource: String,
}

#[derive(Args, Clone, Debug)]
pub struct WhatCan {
    /// Folder with one JSON file a resource; `avouch access collect-commands` prints a script that writes one
    #[arg(long, value_name = "DIR")]
    estate: PathBuf,
    /// ARN of a user or role of the estate, or its name where one alone is called so
    #[arg(long, value_name = "ARN")]
    principal: String,
}

/// Exceptions that people are shown; `-o json` has them all.
const EXCEPT_SHOWN: usize = 6;

fn unasked(code: &'static str, what: &Unasked, else_: &str) -> Problem {
    let hint = match what.near.as_slice() {
        [] => else_.to_owned(),
        [one] => format!("did you mean `{one}`? {else_}"),
        several => format!("one of {}? {else_}", several.join(", ")),
    };
    Problem::new(code, what.why.clone()).hint(hint)
}

fn opened(dir: &Path) -> Result<Loaded, Problem> {
    load(&Source { estate: Some(dir.to_path_buf()), plan: None, zone: None })
}

pub fn who(args: &WhoCan) -> Result<Answer, Problem> {
    check_action(&args.action).map_err(|e| {
        let hint = "write `service:Name`; one that is newer than this build is taken with a `*` behind it";
        unasked("usage.action", &e, hint)
    })?;
    let loaded = opened(&args.estate)?;
    let notes = check_resource(&loaded.estate, &args.action, &args.resource).map_err(|e| {
        unasked("usage.resource", &e, "write an ARN, `arn:aws:s3:::bucket/*` for all objects of a bucket")
    })?;
    let rows = who_can(&loaded.estate, &args.action, &args.resource);
    let query = json!({"estate": args.estate, "action": args.action, "resource": args.resource});
    let mut answer = Answer::new("avouch.access.who-can/1").query(query);
    answer = answer.table(&["principal", "kind", "can", "if"]);
    for row in &rows {
        let cells = vec![row.principal.clone(), row.kind.clone(), sure(row.certainty), brief(&row.condition)];
        told(&mut answer, row, cells);
        answer.after.extend(paragraph(row, &row.principal));
    }
    answer.after.push(String::new());
    answer.after.push(match rows.len() {
        0 => format!(
            "nobody: of {} users, roles and accounts none is given {} on {}, and no outsider is",
            people(&loaded),
            args.action,
            args.resource
        ),
        1 => format!("1 way to {} on {}", args.action, args.resource),
        n => format!("{n} ways to {} on {}", args.action, args.resource),
    });
    answer.after.extend(notes.iter().chain(&loaded.notes).map(|note| format!("note: {note}")));
    Ok(answer)
}

pub fn what(args: &WhatCan) -> Result<Answer, Problem> {
    let loaded = opened(&args.estate)?;
    let principal = check_principal(&loaded.estate, &args.principal).map_err(|e| {
        unasked("usage.principal", &e, "name a user or role of the estate by its ARN, as `who-can` prints it")
    })?;
    let rows = what_can(&loaded.estate, &principal).unwrap_or_default();
    let query = json!({"estate": args.estate, "principal": principal});
    let mut answer = Answer::new("avouch.access.what-can/1").query(query);
    answer = answer.table(&["actions", "level", "resources", "can", "if"]);
    for row in &rows {
        let names: Vec<&str> = row.actions.iter().map(|a| a.name.as_str()).collect();
        let mut levels: Vec<&str> = row.actions.iter().map(|a| a.access_level.as_str()).collect();
        levels.sort_unstable();
        levels.dedup();
        let title = shortened(&names);
        let cells = vec![
            title.clone(),
            levels.join(", "),
            shortened(&row.resources.iter().map(String::as_str).collect::<Vec<_>>()),
            sure(row.certainty),
            brief(&row.condition),
        ];
        told(&mut answer, row, cells);
        answer.after.extend(paragraph(row, &title));
    }
    answer.after.push(String::new());
    answer.after.push(match rows.len() {
        0 => format!("{principal} can do nothing: no policy gives it anything that nothing else takes away"),
        1 => format!("1 grant to {principal}"),
        n => format!("{n} grants to {principal}"),
    });
    answer.after.extend(loaded.notes.iter().map(|note| format!("note: {note}")));
    Ok(answer)
}

/// Users, roles and accounts of an estate.
fn people(loaded: &Loaded) -> usize {
    let is_one = |kind: &str| matches!(kind, "AWS::IAM::User" | "AWS::IAM::Role" | "AWS::Account");
    loaded.estate.resources.iter().filter(|r| is_one(&r.kind)).count()
}

fn told(answer: &mut Answer, row: &Row, cells: Vec<String>) {
    if row.certainty == Certainty::Unknown {
        answer.unknown.push(format!("{}: {}", row.principal, row.unread.join("; ")));
    }
    answer.item(row, cells);
}

fn sure(certainty: Certainty) -> String {
    match certainty {
        Certainty::Confirmed => "yes",
        Certainty::Possible => "perhaps",
        Certainty::Unknown => "can't tell",
    }
    .to_owned()
}

fn brief(condition: &BTreeMap<String, Vec<Test>>) -> String {
    let tests = condition.iter().flat_map(|(key, tests)| tests.iter().map(move |t| (key, t)));
    let words = tests.map(|(key, t)| format!("{key} {} {}", t.operator, t.values.join(", ")));
    words.collect::<Vec<_>>().join(" and ")
}

fn shortened(words: &[&str]) -> String {
    const SHOWN: usize = 4;
    let shown = words.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    let more = words.len().saturating_sub(SHOWN);
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

fn place(statement: &Statement) -> String {
    match &statement.sid {
        Some(sid) => format!(
            "{} line {}, statement {} ({sid})",
            statement.document, statement.line, statement.statement
        ),
        None => format!("{} line {}, statement {}", statement.document, statement.line, statement.statement),
    }
}

/// A row for people: by which statements, without what, with a request that works.
fn paragraph(row: &Row, title: &str) -> Vec<String> {
    let mut out = vec![String::new(), title.to_owned()];
    let mut line = |name: &str, text: String| out.push(format!("  {name:<10} {text}"));
    if !row.decided_by.is_empty() {
        line("because", row.decided_by.iter().map(place).collect::<Vec<_>>().join("; "));
    }
    for (key, tests) in &row.condition {
        for test in tests {
            line("if", format!("{key} {} {}", test.operator, test.values.join(", ")));
        }
    }
    if !row.except_actions.is_empty() {
        line("without", shortened(&row.except_actions.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    for except in row.except.iter().take(EXCEPT_SHOWN) {
        let of = if except.resource.is_empty() { String::new() } else { format!("on {}: ", except.resource) };
        let by = except.by.as_ref().map(place);
        let by = by.unwrap_or_else(|| "its own policy does not leave it to the account".to_owned());
        let when = brief(&except.condition);
        line("except", if when.is_empty() { format!("{of}{by}") } else { format!("{of}{by}, if {when}") });
    }
    if row.except.len() > EXCEPT_SHOWN {
        line("except", format!("and {} more", row.except.len() - EXCEPT_SHOWN));
    }
    if let Some(witness) = &row.witness {
        let name = if row.certainty == Certainty::Confirmed { "this works" } else { "perhaps" };
        line(name, in_short(witness));
    }
    if let Exactness::OverApproximate(why) = &row.exactness {
        line("not exact", why.clone());
    }
    for unread in &row.unread {
        line("not read", unread.clone());
    }
    out
}
