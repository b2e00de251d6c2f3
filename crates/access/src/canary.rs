//! A small estate with known verdicts, analysed beside every run (access.md 20): public, held back, external, closed. Where one of
//! them comes out wrong, nothing that the analysis says can be believed, and the run says so instead of saying something.

use crate::estate::{Estate, analyse};
use model::Resource;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Canary {
    resources: Vec<Resource>,
    /// Rules of the findings, by resource.
    verdicts: BTreeMap<String, Vec<String>>,
}

/// Analyses it.
///
/// # Errors
/// Which verdict is wrong.
pub fn check() -> Result<(), String> {
    judged(include_str!("../data/canary.json"))
}

fn judged(text: &str) -> Result<(), String> {
    let canary: Canary = serde_json::from_str(text).map_err(|e| format!("it cannot be read: {e}"))?;
    let estate = Estate { resources: canary.resources, ..Estate::default() };
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let analyses = analyse(&estate);
    for finding in analyses.iter().flat_map(|(_, a)| &a.findings) {
        found.entry(&finding.resource).or_default().push(finding.rule.name());
    }
    for (resource, expected) in &canary.verdicts {
        let said = found.remove(resource.as_str()).unwrap_or_default();
        if said != *expected {
            let words = |of: &[&str]| if of.is_empty() { "nothing".to_owned() } else { of.join(", ") };
            let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
            return Err(format!("{resource}: it says {} where {} is right", words(&said), words(&expected)));
        }
    }
    match found.keys().next() {
        Some(resource) => Err(format!("{resource}: it says something where nothing is known")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_and_a_wrong_verdict_is_seen() {
        assert_eq!(check(), Ok(()));
        let text = include_str!("../data/canary.json");
        for (resource, wrong) in [
            ("public", vec![]),
            ("held-back", vec![]),
            ("external", vec!["access.public"]),
            ("closed", vec!["access.public"]),
        ] {
            let mut other: serde_json::Value = serde_json::from_str(text).unwrap();
            other["verdicts"][format!("arn:aws:s3:::canary-{resource}")] = wrong.into();
            assert!(judged(&other.to_string()).unwrap_err().contains(resource), "{resource}");
        }
        let wider = text.replace(
            r#"\"aws:PrincipalAccount\": \"111122223333\""#,
            r#"\"aws:PrincipalAccount\": \"999988887777\""#,
        );
        assert_ne!(wider, text);
        let said = judged(&wider).unwrap_err();
        assert!(said.contains("canary-closed") && said.contains("nothing is right"), "{said}");
    }
}
