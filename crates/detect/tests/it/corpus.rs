//! The public corpus loads whole: every rule accepted, or refused by name with its place.

use detect::Rules;

#[test]
fn every_public_rule_is_accepted_or_refused_by_name() {
    let Some(root) = super::support::shared("every_public_rule_is_accepted_or_refused_by_name") else {
        return;
    };
    let files = super::support::corpus(&root);
    let (rules, refused) = Rules::load(files.iter().map(|(a, b)| (a.as_str(), b.as_str())));
    println!(
        "{} files: {} accepted, {} refused, {} lints",
        files.len(),
        rules.rules.len(),
        refused.len(),
        rules.lints.len()
    );
    for r in &refused {
        println!("{}: {r}", r.code());
        assert!(r.line > 0 && r.column > 0 && !r.reason.is_empty() && !r.construct.is_empty());
    }
    assert_eq!(files.len(), 3_141);
    assert_eq!(rules.rules.len() + refused.len(), 3_141, "0 skipped");
    assert!(refused.len() < 32, "more than 1 % of the public rules are refused");
    let aws = |f: &str| f.contains("/aws/cloudtrail/");
    assert_eq!(rules.rules.iter().filter(|r| aws(&r.head.file)).count(), 57);
    // A second load gives the same hashes in the same order (O1).
    let (again, _) = Rules::load(files.iter().map(|(a, b)| (a.as_str(), b.as_str())));
    let hashes = |r: &Rules| r.rules.iter().map(|r| r.head.hash.clone()).collect::<Vec<_>>();
    assert_eq!(hashes(&rules), hashes(&again));
}
