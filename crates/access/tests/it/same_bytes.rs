//! All answers of the engine in one text: a change that is only to be faster leaves every byte of it as it was.

use crate::corpora::{document, shared};
use crate::{traps, workloads};
use access::estate::{Estate, analyse};
use access::symbolic::implies;
use access::world::Zone;
use serde_json::Value;
use std::fmt::Write;

/// One line for each resource: its ARN and all that is said of it.
fn findings(estate: &Estate, out: &mut String) {
    for (at, analysis) in analyse(estate) {
        let arn = &estate.resources[at].arn;
        writeln!(out, "{arn} {} {:?}", serde_json::to_string(&analysis.findings).unwrap(), analysis.public)
            .unwrap();
    }
}

/// The workload of the bench, without an organisation and in that of the traps, which is made to have the workload's accounts.
fn estates() -> Vec<Estate> {
    let alone = Estate { resources: workloads::estate(10_000, 7), ..Estate::default() };
    let traps = traps::estate();
    let mut organization = traps.organization.clone().unwrap();
    let known: Vec<String> = organization.accounts.iter().map(|a| a.id.clone()).collect();
    let template = organization.accounts[0].clone();
    for id in ["111111111111", "222222222222", "333333333333", "444444444444"] {
        if !known.iter().any(|k| k == id) {
            let mut account = template.clone();
            id.clone_into(&mut account.id);
            organization.accounts.push(account);
        }
    }
    let within = Estate {
        scps: Vec::new(),
        resources: workloads::estate(2_000, 8),
        organization: Some(organization),
        rcps: traps.rcps.clone(),
        zone: Zone { organization: true, ..Zone::default() },
        as_of: traps.as_of,
    };
    vec![traps, alone, within]
}

/// Compare two commits: `ANSWERS=file cargo test --release -p access answers -- --ignored`, once on each.
#[test]
#[ignore = "writes a file to compare with another commit's; run with --ignored and ANSWERS=file"]
fn answers() {
    let path = std::env::var_os("ANSWERS").expect("ANSWERS names the file to write");
    let mut out = String::new();
    estates().iter().for_each(|estate| findings(estate, &mut out));
    if let Some(folder) = shared("answers") {
        let text = std::fs::read_to_string(folder.join("implication.json")).unwrap();
        for pair in serde_json::from_str::<Vec<Value>>(&text).unwrap() {
            let (one, two) = (document(&pair["p1"]).remove(0), document(&pair["p2"]).remove(0));
            writeln!(out, "{:?} {:?}", implies(&one, &two), implies(&two, &one)).unwrap();
        }
        let text = std::fs::read_to_string(folder.join("check-no-new-access.json")).unwrap();
        for case in serde_json::from_str::<Vec<Value>>(&text).unwrap() {
            let (one, two) = (document(&case["reference"]).remove(0), document(&case["candidate"]).remove(0));
            writeln!(out, "{:?} {:?}", implies(&one, &two), implies(&two, &one)).unwrap();
        }
    }
    for n in [3, 9, 15] {
        for seed in 0..10 {
            let (wide, narrow) = workloads::family(n, 6, seed);
            let read = |text: &str| access::check::readings(text).unwrap().remove(0);
            let (wide, narrow) = (read(&wide), read(&narrow));
            writeln!(out, "{:?} {:?}", implies(&narrow, &wide), implies(&wide, &narrow)).unwrap();
        }
    }
    std::fs::write(path, out).unwrap();
}
