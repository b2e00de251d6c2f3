//! What the tests share.

pub use findings::{By, Changes, Command, Occasion, State, decide};
pub use model::{
    About, EventId, Evidence, FindingId, FindingSource, Occurrence, RuleRef, Severity, Subject, Time,
};
pub use std::sync::Arc;

/// 2026-03-01T09:00:00Z.
pub const NINE: Time = Time(1_772_355_600_000_000);

pub fn at(minutes: i64) -> Time {
    NINE.plus(minutes * Time::MINUTE)
}

pub fn by(who: &str, minutes: i64, why: &str) -> By {
    By { who: who.into(), at: at(minutes), why: why.into() }
}

pub fn evidence(seq: u64, time: Time) -> Evidence {
    Evidence {
        shard: 0,
        seq,
        event_id: EventId::of(&[b"test", &seq.to_le_bytes()]),
        event_time: time,
        dataset: "aws.cloudtrail".into(),
        fields: [("eventName", "ConsoleLogin")].into_iter().collect(),
    }
}

/// Root use in `account` by events `seqs`, one per minute from 09:00.
pub fn root_use(account: &str, seqs: impl IntoIterator<Item = u64>) -> Occurrence {
    let evidence: Vec<Evidence> = seqs.into_iter().map(|s| evidence(s, at(s as i64))).collect();
    let about = About {
        source: FindingSource::Detect,
        finding_type: "Policy:IAMUser/RootCredentialUsage".into(),
        rule: RuleRef { name: "root-use".into(), ..RuleRef::default() },
        title: "The root user was used".into(),
        why: "Root can do everything.".into(),
        fix: "Use a role.".into(),
        severity: Severity::HIGH,
        tags: vec!["team:platform".into()],
        attributes: model::Attributes::new(),
    };
    Occurrence {
        id: Occurrence::identity("root-use", Some(account), None, None, &[]),
        about: Arc::new(about),
        subject: Arc::new(Subject { account: Some(account.into()), ..Subject::default() }),
        time: evidence.last().map_or(NINE, |e| e.event_time),
        evidence_total: evidence.len() as u64,
        evidence: evidence.into(),
        is_settled: true,
        drill: None,
    }
}

/// The same with other words.
pub fn said(mut o: Occurrence, change: impl FnOnce(&mut About)) -> Occurrence {
    change(Arc::make_mut(&mut o.about));
    o
}

/// Decides, applies, and returns what followed.
#[track_caller]
pub fn run(state: &mut State, command: Command, by: &By) -> Changes {
    let changes = decide(state, &command, by).unwrap_or_else(|e| panic!("{}: {e}", e.code()));
    state.apply(&changes);
    changes
}

pub fn ingest(state: &mut State, occurrences: &[Occurrence], minutes: i64) -> Changes {
    run(state, Command::Ingest { occurrences: occurrences.to_vec() }, &by("detect", minutes, ""))
}

pub fn kinds(c: &Changes) -> Vec<&str> {
    c.events.iter().map(|e| e.kind.as_str()).collect()
}

pub fn occasions(c: &Changes) -> Vec<(Occasion, bool)> {
    c.notices.iter().map(|n| (n.occasion, n.is_suppressed)).collect()
}

pub fn only(state: &State) -> FindingId {
    assert_eq!(state.len(), 1);
    state.entries().next().unwrap().id()
}
