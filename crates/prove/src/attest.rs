//! Controls that a person confirms. A signature is no proof: its ceiling is `effective (attested)`, and it ends.

use crate::load::Entry;
use crate::state::Ceiling;
use model::{Attestation, ControlKind, Time};
use std::collections::BTreeSet;

/// Longest statement (characters): it is read in a table and kept for ever.
pub const STATEMENT_CHARS_MAX: usize = 2_000;

/// Days before the end on which the owner is told.
pub const REMINDER_DAYS: [i64; 3] = [30, 7, 1];

/// Somebody who signed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signer {
    pub name: String,
    pub roles: BTreeSet<String>,
}

/// What is confirmed, on what evidence, until when. Evidence is (file name, SHA-256 hex); the files are in the vault by then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    pub text: String,
    pub evidence: Vec<(String, String)>,
    pub until: Time,
    /// The second person, where the control asks for one.
    pub second: Option<Signer>,
}

/// Why a confirmation is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AttestError {
    #[error("control `{0}` is not confirmed by people; it is exercised")]
    Technical(String),
    #[error("`{who}` has none of the roles that may confirm `{control}`: {wanted}")]
    Role { control: String, who: String, wanted: String },
    #[error("control `{control}` asks for a second person with the role `{wanted}`")]
    Second { control: String, wanted: String },
    #[error("`{0}` cannot be the second person as well")]
    SamePerson(String),
    #[error("there is no statement, or it is longer than {STATEMENT_CHARS_MAX} characters")]
    NoStatement,
    #[error("there is no evidence; `{control}` asks for {wanted}")]
    NoEvidence { control: String, wanted: String },
    #[error("the evidence `{0}` has no SHA-256")]
    BadEvidence(String),
    #[error("the end {until} is not after now")]
    Ended { until: Time },
    #[error("the end {until} is later than `{control}` allows, {latest}")]
    TooLong { control: String, until: Time, latest: Time },
}

impl AttestError {
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            AttestError::Technical(_) => "attest.technical",
            AttestError::Role { .. } => "attest.role",
            AttestError::Second { .. } | AttestError::SamePerson(_) => "attest.second_person",
            AttestError::NoStatement => "attest.no_statement",
            AttestError::NoEvidence { .. } | AttestError::BadEvidence(_) => "attest.no_evidence",
            AttestError::Ended { .. } | AttestError::TooLong { .. } => "attest.until",
        }
    }
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            AttestError::Technical(id) => format!("avouch prove {id}"),
            AttestError::Role { wanted, .. } | AttestError::Second { wanted, .. } => {
                format!("ask somebody with the role {wanted}")
            }
            AttestError::SamePerson(_) => "the second person signs in and confirms".into(),
            AttestError::NoStatement => "write --statement \"what you looked at and what you found\"".into(),
            AttestError::NoEvidence { .. } | AttestError::BadEvidence(_) => "add --evidence FILE".into(),
            AttestError::Ended { .. } => "write --until with a date to come".into(),
            AttestError::TooLong { latest, .. } => format!("write --until {}", latest.day()),
        })
    }
}

/// Checks a confirmation and gives the record to keep.
///
/// # Errors
/// The first rule of `needs.md` 4.6 that it breaks.
pub fn attest(
    entry: &Entry,
    who: &Signer,
    statement: &Statement,
    now: Time,
) -> Result<Attestation, AttestError> {
    let c = &entry.control;
    let id = || c.id.clone();
    if c.kind != ControlKind::Attested {
        return Err(AttestError::Technical(id()));
    }
    let wanted = c.attested_by.join(" or ");
    if !c.attested_by.iter().any(|r| who.roles.contains(r)) {
        return Err(AttestError::Role { control: id(), who: who.name.clone(), wanted });
    }
    let text = statement.text.trim();
    if text.is_empty() || text.chars().count() > STATEMENT_CHARS_MAX {
        return Err(AttestError::NoStatement);
    }
    evidence(entry, statement)?;
    if statement.until <= now {
        return Err(AttestError::Ended { until: statement.until });
    }
    let latest = now.plus(c.valid_for);
    if statement.until > latest {
        return Err(AttestError::TooLong { control: id(), until: statement.until, latest });
    }
    let second = second(entry, who, statement)?;
    Ok(Attestation {
        control: id(),
        statement: text.to_owned(),
        by: second.map_or_else(|| who.name.clone(), |s| format!("{} and {}", who.name, s.name)),
        at: now,
        until: statement.until,
        evidence: statement.evidence.clone(),
    })
}

fn evidence(entry: &Entry, statement: &Statement) -> Result<(), AttestError> {
    if statement.evidence.is_empty() {
        let wanted = entry.drill_text("evidence").unwrap_or("a file").to_owned();
        return Err(AttestError::NoEvidence { control: entry.control.id.clone(), wanted });
    }
    let is_hash = |h: &str| crate::record::unhex(h).is_some_and(|b| b.len() == 32);
    match statement.evidence.iter().find(|(name, hash)| name.trim().is_empty() || !is_hash(hash)) {
        Some((name, _)) => Err(AttestError::BadEvidence(name.clone())),
        None => Ok(()),
    }
}

fn second<'a>(
    entry: &Entry,
    who: &Signer,
    statement: &'a Statement,
) -> Result<Option<&'a Signer>, AttestError> {
    let Some(wanted) = entry.drill_text("second") else {
        return Ok(None);
    };
    match &statement.second {
        Some(s) if s.name == who.name => Err(AttestError::SamePerson(s.name.clone())),
        Some(s) if s.roles.contains(wanted) => Ok(Some(s)),
        _ => Err(AttestError::Second { control: entry.control.id.clone(), wanted: wanted.to_owned() }),
    }
}

/// The ceiling of a control: what it can never rise above, whatever is confirmed.
#[must_use]
pub fn ceiling(entry: &Entry) -> Option<Ceiling> {
    (entry.control.kind == ControlKind::Attested).then_some(Ceiling::Attested)
}

/// Which reminder (days before the end) became due since `last`, the nearest to the end first; `None` when nothing did.
#[must_use]
pub fn reminder_due(attestation: &Attestation, last: Time, now: Time) -> Option<i64> {
    REMINDER_DAYS.into_iter().rev().find(|days| {
        let at = attestation.until.plus(-days * Time::DAY);
        last < at && at <= now && now < attestation.until
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Register;

    fn entry() -> Entry {
        let text = "
- id: n10.test
  claim: A penetration test took place in the last 400 days.
  answers: [N-10]
  owner: { person: a@example.org, team: t }
  drill: { kind: attest, by: [security-lead], second: delivery-head, evidence: the report }
  every: 365d
  valid_for: 400d
";
        Register::load(&[("t.yaml".into(), text.into())]).unwrap().entries.remove(0)
    }
    fn signer(name: &str, role: &str) -> Signer {
        Signer { name: name.into(), roles: [role.to_owned()].into() }
    }
    fn good() -> Statement {
        Statement {
            text: "tested by X".into(),
            evidence: vec![("report.pdf".into(), "ab".repeat(32))],
            until: Time(400 * Time::DAY),
            second: Some(signer("dana", "delivery-head")),
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Statement), who: &Signer, expect: &str) {
        let mut s = good();
        change(&mut s);
        let got = attest(&entry(), who, &s, Time(0)).map_or_else(|e| format!("{}: {e}", e.code()), |a| a.by);
        assert_eq!(got, expect);
    }

    #[test]
    fn each_rule_refuses() {
        let lead = signer("ana", "security-lead");
        check(|_| {}, &lead, "ana and dana");
        check(
            |_| {},
            &signer("bob", "tech-lead"),
            "attest.role: `bob` has none of the roles that may confirm `n10.test`: security-lead",
        );
        check(
            |s| s.evidence.clear(),
            &lead,
            "attest.no_evidence: there is no evidence; `n10.test` asks for the report",
        );
        check(
            |s| s.evidence[0].1 = "xx".into(),
            &lead,
            "attest.no_evidence: the evidence `report.pdf` has no SHA-256",
        );
        check(
            |s| s.text = "  ".into(),
            &lead,
            "attest.no_statement: there is no statement, or it is longer than 2000 characters",
        );
        check(|s| s.until = Time(0), &lead, "attest.until: the end 1970-01-01T00:00:00Z is not after now");
        check(
            |s| s.until = Time(400 * Time::DAY + 1),
            &lead,
            "attest.until: the end 1971-02-05T00:00:00.000001Z is later than `n10.test` allows, 1971-02-05T00:00:00Z",
        );
        check(
            |s| s.second = None,
            &lead,
            "attest.second_person: control `n10.test` asks for a second person with the role `delivery-head`",
        );
        check(
            |s| s.second = Some(signer("ana", "delivery-head")),
            &lead,
            "attest.second_person: `ana` cannot be the second person as well",
        );
    }

    #[test]
    fn reminders_come_thirty_seven_and_one_day_before() {
        let mut a = attest(&entry(), &signer("ana", "security-lead"), &good(), Time(0)).unwrap();
        a.until = Time(100 * Time::DAY);
        let due = |last, now| reminder_due(&a, Time(last * Time::DAY), Time(now * Time::DAY));
        assert_eq!(due(0, 69), None);
        assert_eq!(due(0, 70), Some(30));
        assert_eq!(due(70, 71), None);
        assert_eq!(due(71, 99), Some(1), "two became due: the nearer one is said");
        assert_eq!(due(99, 100), None, "over");
    }
}
