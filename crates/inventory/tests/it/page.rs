//! The reference page agrees with the table of calls, and its example is a good estate.

use crate::scratch::Scratch;
use inventory::calls::{Asked, Kind, Scope, kinds};
use inventory::folder;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

fn page() -> PathBuf {
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../docs/reference/estate-folder.md")
}

fn section(kind: &Kind) -> String {
    let mut s = format!("### {}\n\n", kind.name);
    let scope = match kind.scope {
        Scope::Global => "asked once".to_owned(),
        Scope::Regional => "asked in each region".to_owned(),
        Scope::In(region) => format!("asked in {region}"),
    };
    let arn = match kind.arn {
        "{id}" | "{second}" => "as the listing gives it".to_owned(),
        arn => format!("`{arn}`"),
    };
    writeln!(s, "ARN {arn}; {scope}.\n\n| call | with the CLI | policy text | means \"none\" | permission |\n|---|---|---|---|---|").unwrap();
    for call in kind.lists.iter().chain(&kind.calls) {
        let note = match call.asked {
            Asked::List | Asked::Pages => " (listing)",
            Asked::Keys => " (names for the next)",
            Asked::PerKey => " (per name)",
            Asked::PerRegion => " (per region)",
            Asked::Once => "",
        };
        let code = |t: &str| if t.is_empty() { String::new() } else { format!("`{t}`") };
        writeln!(
            s,
            "| `{}`{note} | `aws {}` | {} | {} | `{}` |",
            call.operation,
            call.command,
            code(call.document.unwrap_or_default()),
            code(call.none),
            call.permission
        )
        .unwrap();
    }
    s
}

#[test]
fn the_reference_page_has_every_call() {
    let text = fs::read_to_string(page()).unwrap();
    let (before, rest) = text.split_once("<!-- calls:").unwrap();
    let (head, rest) = rest.split_once("-->\n").unwrap();
    let (_, after) = rest.split_once("<!-- /calls -->").unwrap();
    let sections: Vec<String> = kinds().iter().map(section).collect();
    let fresh = format!("{before}<!-- calls:{head}-->\n\n{}\n<!-- /calls -->{after}", sections.join("\n"));
    expect_test::expect_file![page()].assert_eq(&fresh);
}

#[test]
fn the_example_of_the_page_is_a_good_estate() {
    let text = fs::read_to_string(page()).unwrap();
    let dir = Scratch::new();
    for part in text.split("\n`estate/").skip(1) {
        let (name, rest) = part.split_once('`').unwrap();
        let json = rest.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
        dir.write(name, json);
    }
    let read = folder::read(dir.path()).unwrap();
    assert_eq!((read.resources.len(), read.scps.len()), (3, 1));
    assert!(read.organization.is_some());
    let missing: Vec<_> = read.gaps().into_iter().filter_map(|g| g.permission).collect();
    assert_eq!(missing, ["ec2:GetSnapshotBlockPublicAccessState", "kms:ListKeys", "s3:GetBucketAcl"]);
}
