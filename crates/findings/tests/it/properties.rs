use crate::kit::*;
use findings::{NewSuppression, Selector, Shown, SuppressionKind};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Occurrences of two findings with overlapping evidence, settled and not, some drills.
fn occurrences() -> impl Strategy<Value = Vec<Occurrence>> {
    let one = (0u8..2, proptest::collection::btree_set(0u64..40, 0..6), any::<bool>(), 0u8..3, 0u8..6);
    proptest::collection::vec(one, 1..14).prop_map(|list| {
        list.into_iter()
            .map(|(account, seqs, is_settled, severity, odd)| {
                let drill = (odd == 0).then(|| "run".to_owned());
                let o = root_use(if account == 0 { "1" } else { "2" }, seqs);
                said(Occurrence { is_settled, drill, ..o }, |a| {
                    a.severity = Severity::from_tenths(40 + severity * 20);
                    a.title = format!("words {odd}");
                })
            })
            .collect()
    })
}

/// The producers' half of every entry: what must not depend on order.
fn producers(s: &State) -> Vec<String> {
    s.entries().map(|e| serde_json::to_string(e.finding()).unwrap()).collect()
}

proptest! {
    /// F2, D1: the set of occurrences decides, whatever order, grouping or repetition they come in.
    #[test]
    fn order_and_repeats_do_not_matter(all in occurrences(), seed in any::<u64>(), cut in 1usize..5) {
        let mut a = State::default();
        ingest(&mut a, &all, 1);
        let mut shuffled = all.clone();
        shuffled.extend(all.iter().take(3).cloned());
        let mut x = seed;
        for i in (1..shuffled.len()).rev() {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(i, (x >> 33) as usize % (i + 1));
        }
        let mut b = State::default();
        for chunk in shuffled.chunks(cut) {
            ingest(&mut b, chunk, 1);
        }
        prop_assert_eq!(producers(&a), producers(&b));
        // Idempotence: the whole again changes nothing.
        for e in b.entries().map(findings::Entry::id).collect::<Vec<_>>() {
            run(&mut b, Command::Resolve { id: e, version: None }, &by("ana", 2, "done"));
        }
        let before = b.clone();
        prop_assert!(ingest(&mut b, &all, 3).notices.is_empty());
        prop_assert_eq!(b, before);
    }

    /// The count of settled findings is the number of distinct events, by a slow obvious oracle.
    #[test]
    fn counts_agree_with_a_set(all in occurrences()) {
        let settled: Vec<Occurrence> = all.into_iter().map(|o| Occurrence { is_settled: true, drill: None, ..o }).filter(|o| !o.evidence.is_empty()).collect();
        let mut s = State::default();
        ingest(&mut s, &settled, 1);
        for e in s.entries() {
            let mine: BTreeSet<u64> = settled.iter().filter(|o| o.id == e.id()).flat_map(|o| o.evidence.iter().map(|e| e.seq)).collect();
            prop_assert_eq!(e.finding().count, mine.len() as u64);
            prop_assert_eq!(e.finding().evidence.iter().map(|e| e.seq).collect::<BTreeSet<_>>(), mine);
        }
    }

    /// A finding reads SUPPRESSED exactly while a suppression runs and hits it; before, after and without it, its stored workflow.
    #[test]
    fn suppression_is_exactly_its_interval(from in 0i64..50, life in 1i64..100, undo in proptest::option::of(1i64..150), look in 0i64..200) {
        let mut s = State::default();
        ingest(&mut s, &[root_use("1", [1]), root_use("2", [1])], 0);
        let new = NewSuppression {
            selector: Selector::parse([("account", "1")]).unwrap(),
            kind: SuppressionKind::Suppression,
            owner: "ana".into(),
            approver: None,
            ticket: None,
            from: at(from),
            until: at(from + life),
        };
        let c = run(&mut s, Command::Suppress { new }, &by("bo", 0, "lab"));
        let id = c.suppressions[0].id.clone();
        let mut end = from + life;
        if let Some(u) = undo.filter(|u| *u < end) {
            run(&mut s, Command::Unsuppress { suppression: id }, &by("bo", u, "over"));
            end = u;
        }
        run(&mut s, Command::Tick, &by("avouch", look, ""));
        for e in s.entries() {
            let hidden = e.finding().account.as_deref() == Some("1") && from <= look && look < end;
            prop_assert_eq!(s.shown(e, at(look)) == Shown::Suppressed, hidden);
        }
    }
}
