//! `(State, Command) → Changes`.

use crate::suppress::{ENDING_BEFORE, check_end, make, own_finding, own_id};
use crate::{
    End, Entry, Error, FindingEvent, NOTES_MAX, NewSuppression, Note, People, Record, State, Suppression,
    Verdict, Verification, Workflow, access, sum,
};
use model::{FindingId, Occurrence, Severity, Time};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A finding without anything new for this long is archived; 90 days is what the managed services keep.
pub const ARCHIVE_AFTER: i64 = 90 * Time::DAY;
/// A note is a remark, not a document.
pub const NOTE_BYTES_MAX: usize = 4_096;

/// Who does it, when, and why. `why` may be empty only for producers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct By {
    pub who: String,
    pub at: Time,
    pub why: String,
}

/// What may be asked. Producers use the first four, people the rest. `version` is the [`Entry::version`] that the person saw;
/// `None` means "whatever it is now" (the command line).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// A rule held; any number of times, in any order, repeats included.
    Ingest {
        occurrences: Vec<Occurrence>,
    },
    /// A producer looked again: `Pass` resolves, `Fail` and `Unknown` after `Pass` reopen, `Unknown` after `Fail` moves nothing.
    Judge {
        id: FindingId,
        verdict: Verdict,
    },
    /// The producer takes it back, or its subject is gone.
    Archive {
        id: FindingId,
    },
    /// Time passed: archives by age, ends suppressions.
    Tick,
    /// Somebody was told.
    Notify {
        id: FindingId,
    },
    Resolve {
        id: FindingId,
        version: Option<u64>,
    },
    Reopen {
        id: FindingId,
        version: Option<u64>,
    },
    Assign {
        id: FindingId,
        to: Option<String>,
        version: Option<u64>,
    },
    Note {
        id: FindingId,
        text: String,
    },
    SetSeverity {
        id: FindingId,
        severity: Option<Severity>,
        version: Option<u64>,
    },
    Verify {
        id: FindingId,
        verification: Verification,
        version: Option<u64>,
    },
    Suppress {
        new: NewSuppression,
    },
    /// A later or earlier end.
    Prolong {
        suppression: String,
        until: Time,
    },
    /// The undo: effective at once, and for everything it hid.
    Unsuppress {
        suppression: String,
    },
}

/// Why a person may need to hear of a finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Occasion {
    /// New, or back after it was resolved or archived.
    Opened,
    /// Its severity rose.
    Raised,
    /// It goes on.
    Repeated,
    /// It is over: resolved, or it no longer holds.
    Recovered,
}

impl Occasion {
    /// As in [`model::Alert::occasion`].
    #[must_use]
    pub fn term(self) -> &'static str {
        match self {
            Occasion::Opened => "opened",
            Occasion::Raised => "raised",
            Occasion::Repeated => "repeated",
            Occasion::Recovered => "recovered",
        }
    }
}

/// Something for the alert crate to judge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    pub finding: FindingId,
    pub occasion: Occasion,
    /// Hidden by a suppression at the time: recorded, not sent.
    pub is_suppressed: bool,
}

/// What follows from a command. The host stores `entries` and `suppressions`, appends `events` to the vault, calls
/// [`State::apply`], and hands `notices` on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// New values, each replacing what was stored under its id.
    pub entries: Vec<Arc<Entry>>,
    pub suppressions: Vec<Arc<Suppression>>,
    pub events: Vec<FindingEvent>,
    pub notices: Vec<Notice>,
}

impl Changes {
    /// True when the command changed nothing (it was so already).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.suppressions.is_empty()
    }
}

/// What follows from `command` of `by` on `state`. The state is not touched.
///
/// # Errors
/// Unknown ids, stale versions, missing reasons, and suppressions that may not be. Nothing has changed then.
pub fn decide(state: &State, command: &Command, by: &By) -> Result<Changes, Error> {
    let mut work = Work { state, by, entries: BTreeMap::new(), changes: Changes::default() };
    work.run(command)?;
    Ok(work.finish())
}

/// Copies of what is being changed, over the untouched state.
struct Work<'a> {
    state: &'a State,
    by: &'a By,
    entries: BTreeMap<FindingId, Entry>,
    changes: Changes,
}

impl Work<'_> {
    fn run(&mut self, command: &Command) -> Result<(), Error> {
        match command {
            Command::Ingest { occurrences } => self.ingest(occurrences, self.by),
            Command::Judge { id, verdict } => self.judge(*id, *verdict)?,
            Command::Archive { id } => self.archive(*id)?,
            Command::Tick => self.tick(),
            Command::Notify { id } => {
                let e = self.entry(*id)?;
                if e.workflow == Workflow::New {
                    self.move_to(*id, Workflow::Notified, "notified")?;
                }
            }
            Command::Resolve { id, version } => {
                self.reasoned("resolving a finding")?;
                self.fresh(*id, *version)?;
                self.resolve(*id, "resolved")?;
            }
            Command::Reopen { id, version } => {
                self.reasoned("reopening a finding")?;
                self.fresh(*id, *version)?;
                self.reopen(*id)?;
            }
            Command::Assign { id, to, version } => {
                let name = to.clone().filter(|n| !n.trim().is_empty());
                self.people(*id, *version, "assigned", "assignee", name.as_deref().unwrap_or("-"), |p| {
                    p.assignee = name.clone();
                })?;
            }
            Command::Note { id, text } => self.note(*id, text)?,
            Command::SetSeverity { id, severity, version } => {
                self.reasoned("setting a severity")?;
                let text = severity.map_or_else(|| "-".to_owned(), |s| s.to_string());
                self.people(*id, *version, "severity_set", "severity", &text, |p| p.severity = *severity)?;
            }
            Command::Verify { id, verification, version } => {
                self.reasoned("a verification")?;
                let text = serde_json::to_value(verification).ok();
                let text = text.as_ref().and_then(|v| v.as_str()).unwrap_or_default().to_owned();
                self.people(*id, *version, "verified", "verification", &text, |p| {
                    p.verification = *verification
                })?;
            }
            Command::Suppress { new } => self.suppress(new)?,
            Command::Prolong { suppression, until } => self.prolong(suppression, *until)?,
            Command::Unsuppress { suppression } => self.unsuppress(suppression)?,
        }
        Ok(())
    }

    fn finish(self) -> Changes {
        let Work { state, entries, mut changes, .. } = self;
        let moved = entries.into_values().filter(|e| state.get(e.id()) != Some(e));
        changes.entries = moved.map(Arc::new).collect();
        changes
    }

    /// F3: a change by a person without a name or a reason is refused.
    fn reasoned(&self, what: &'static str) -> Result<(), Error> {
        if self.by.who.trim().is_empty() {
            return Err(Error::NoActor(what));
        }
        if self.by.why.trim().is_empty() { Err(Error::NoReason(what)) } else { Ok(()) }
    }

    fn entry(&mut self, id: FindingId) -> Result<&mut Entry, Error> {
        match self.entries.entry(id) {
            std::collections::btree_map::Entry::Occupied(o) => Ok(o.into_mut()),
            std::collections::btree_map::Entry::Vacant(v) => {
                let stored = self.state.get(id).ok_or_else(|| Error::UnknownFinding(id.to_string()))?;
                Ok(v.insert(stored.clone()))
            }
        }
    }

    fn fresh(&mut self, id: FindingId, seen: Option<u64>) -> Result<(), Error> {
        let now = self.entry(id)?.version;
        match seen {
            Some(seen) if seen != now => Err(Error::Stale { id, seen, now }),
            _ => Ok(()),
        }
    }

    fn is_hidden(&self, id: FindingId) -> bool {
        let entry = self.entries.get(&id).or_else(|| self.state.get(id));
        entry.is_some_and(|e| self.state.hidden_by(e, self.by.at).is_some())
    }

    fn notice(&mut self, finding: FindingId, occasion: Occasion) {
        let is_suppressed = self.is_hidden(finding);
        self.changes.notices.push(Notice { finding, occasion, is_suppressed });
    }

    /// Moves the workflow, counts the version, writes history and event. Nothing when it is there already.
    fn move_to(&mut self, id: FindingId, to: Workflow, kind: &str) -> Result<bool, Error> {
        let by = self.by;
        let entry = self.entry(id)?;
        if entry.workflow == to {
            return Ok(false);
        }
        let from = entry.workflow;
        entry.workflow = to;
        entry.workflow_since = by.at;
        entry.version = entry.version.saturating_add(1);
        entry.step(by.at, &by.who, kind, &by.why);
        let event = FindingEvent::of(kind, entry, by, &[("from", from.term()), ("to", to.term())]);
        self.changes.events.push(event);
        Ok(true)
    }

    fn resolve(&mut self, id: FindingId, kind: &str) -> Result<(), Error> {
        if self.move_to(id, Workflow::Resolved, kind)? {
            self.notice(id, Occasion::Recovered);
        }
        Ok(())
    }

    fn reopen(&mut self, id: FindingId) -> Result<(), Error> {
        let entry = self.entry(id)?;
        let was_archived = entry.record == Record::Archived;
        entry.record = Record::Active;
        entry.archived_because = None;
        if self.move_to(id, Workflow::New, "reopened")? {
            self.notice(id, Occasion::Opened);
        } else if was_archived {
            let by = self.by;
            let entry = self.entry(id)?;
            entry.step(by.at, &by.who, "reopened", &by.why);
            let event = FindingEvent::of("reopened", entry, by, &[("from", "ARCHIVED"), ("to", "ACTIVE")]);
            self.changes.events.push(event);
            self.notice(id, Occasion::Opened);
        }
        Ok(())
    }

    /// A change of people's half.
    fn people(
        &mut self,
        id: FindingId,
        version: Option<u64>,
        kind: &str,
        field: &str,
        value: &str,
        change: impl FnOnce(&mut People),
    ) -> Result<(), Error> {
        if self.by.who.trim().is_empty() {
            return Err(Error::NoActor("this change"));
        }
        self.fresh(id, version)?;
        let by = self.by;
        let entry = self.entry(id)?;
        let before = entry.people.clone();
        change(&mut entry.people);
        if entry.people == before {
            return Ok(());
        }
        entry.version = entry.version.saturating_add(1);
        entry.step(
            by.at,
            &by.who,
            kind,
            &format!("{field} {value}{}{}", if by.why.is_empty() { "" } else { ": " }, by.why),
        );
        let event = FindingEvent::of(kind, entry, by, &[(field, value)]);
        self.changes.events.push(event);
        Ok(())
    }

    fn note(&mut self, id: FindingId, text: &str) -> Result<(), Error> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::NoReason("a note"));
        }
        if text.len() > NOTE_BYTES_MAX {
            return Err(Error::NoteTooLong { bytes: text.len(), max: NOTE_BYTES_MAX });
        }
        let note = Note { who: self.by.who.clone(), at: self.by.at, text: text.to_owned() };
        self.people(id, None, "noted", "note", text, |p| {
            p.notes.push(note);
            let excess = p.notes.len().saturating_sub(NOTES_MAX);
            p.notes.drain(..excess);
        })
    }

    fn ingest(&mut self, occurrences: &[Occurrence], by: &By) {
        let mut by_id: BTreeMap<FindingId, Vec<&Occurrence>> = BTreeMap::new();
        for o in occurrences {
            by_id.entry(filed_under(o)).or_default().push(o);
        }
        for (id, batch) in by_id {
            self.ingest_one(id, &batch, by);
        }
    }

    fn ingest_one(&mut self, id: FindingId, batch: &[&Occurrence], by: &By) {
        let before = self.entries.get(&id).or_else(|| self.state.get(id)).cloned();
        let known = before.as_ref().map(|e| (&e.sum, e.pending.as_ref()));
        let Some((sum, pending, has_news)) = sum::take(id, known, batch) else { return };
        let Some(old) = before else {
            let mut entry = Entry {
                sum,
                pending,
                record: Record::Active,
                archived_because: None,
                workflow: Workflow::New,
                workflow_since: by.at,
                verdict: None,
                people: People::default(),
                version: 0,
                created: by.at,
                observed: by.at,
                widened: None,
                history: Vec::new(),
            };
            let cause = access::widened_from(self.state, &entry);
            entry.widened = cause.is_some().then_some(by.at);
            entry.step(by.at, &by.who, "opened", cause.as_deref().unwrap_or(&by.why));
            // The use of a suppression is on record like its making.
            let hidden = self.state.hidden_by(&entry, by.at).map(|s| s.id.clone());
            let detail: Vec<(&str, &str)> = [("hidden_by", hidden.as_deref()), ("cause", cause.as_deref())]
                .into_iter()
                .filter_map(|(k, v)| Some((k, v?)))
                .collect();
            self.changes.events.push(FindingEvent::of("opened", &entry, by, &detail));
            self.entries.insert(id, entry);
            self.notice(id, Occasion::Opened);
            return;
        };
        let mut entry = Entry { sum, pending, ..old.clone() };
        if has_news {
            entry.observed = entry.observed.max(by.at);
        }
        let has_risen = old.finding().severity < entry.finding().severity;
        if let Some(cause) = access::gained(&old.finding().attributes, &entry.finding().attributes) {
            let was_hidden = self.state.hidden_by(&old, by.at).is_some();
            entry.widened = Some(by.at);
            entry.step(by.at, &by.who, "widened", &cause);
            self.changes.events.push(FindingEvent::of("widened", &entry, by, &[("cause", &cause)]));
            if was_hidden {
                self.entries.insert(id, entry.clone());
                self.notice(id, Occasion::Opened);
            }
        }
        // Something a person had closed goes on: only news may reopen, a repeat of what is known may not.
        let is_back = has_news
            && (entry.workflow == Workflow::Resolved
                || entry.record == Record::Archived
                || entry.verdict == Some(Verdict::Pass));
        if has_risen {
            let (from, to) = (old.finding().severity.to_string(), entry.finding().severity.to_string());
            entry.step(by.at, &by.who, "raised", &format!("severity {from} → {to}"));
            let event = FindingEvent::of("raised", &entry, by, &[("from", &from), ("to", &to)]);
            self.changes.events.push(event);
        }
        if is_back || (has_risen && entry.workflow == Workflow::Notified) {
            let from = if entry.record == Record::Archived { "ARCHIVED" } else { entry.workflow.term() };
            entry.record = Record::Active;
            entry.archived_because = None;
            entry.verdict = entry.verdict.map(|_| Verdict::Fail);
            entry.workflow = Workflow::New;
            entry.workflow_since = by.at;
            entry.version = entry.version.saturating_add(1);
            let why = if is_back { "it occurred again" } else { "its severity rose" };
            entry.step(by.at, &by.who, "reopened", why);
            let event =
                FindingEvent::of("reopened", &entry, by, &[("from", from), ("to", "NEW"), ("cause", why)]);
            self.changes.events.push(event);
        }
        self.entries.insert(id, entry);
        if is_back {
            self.notice(id, Occasion::Opened);
        } else if has_risen {
            self.notice(id, Occasion::Raised);
        } else if has_news {
            self.notice(id, Occasion::Repeated);
        }
    }

    fn judge(&mut self, id: FindingId, verdict: Verdict) -> Result<(), Error> {
        let by = self.by;
        let entry = self.entry(id)?;
        let before = entry.verdict;
        if before == Some(verdict) {
            return Ok(());
        }
        entry.verdict = Some(verdict);
        let text = |v: Option<Verdict>| match v {
            None => "none",
            Some(Verdict::Pass) => "pass",
            Some(Verdict::Fail) => "fail",
            Some(Verdict::Unknown) => "unknown",
        };
        let event =
            FindingEvent::of("judged", entry, by, &[("from", text(before)), ("to", text(Some(verdict)))]);
        self.changes.events.push(event);
        match (before, verdict) {
            (_, Verdict::Pass) => self.resolve(id, "resolved"),
            (Some(Verdict::Pass), _) => self.reopen(id),
            // F1: not being able to look resolves nothing.
            _ => Ok(()),
        }
    }

    fn archive(&mut self, id: FindingId) -> Result<(), Error> {
        let by = self.by;
        let entry = self.entry(id)?;
        if entry.record == Record::Archived {
            return Ok(());
        }
        let was_open = entry.workflow != Workflow::Resolved;
        entry.record = Record::Archived;
        entry.archived_because = Some(by.why.clone());
        entry.step(by.at, &by.who, "archived", &by.why);
        let event = FindingEvent::of("archived", entry, by, &[]);
        self.changes.events.push(event);
        if was_open {
            self.notice(id, Occasion::Recovered);
        }
        Ok(())
    }

    fn tick(&mut self) {
        let now = self.by.at;
        let old: Vec<FindingId> = self
            .state
            .entries()
            .filter(|e| e.record == Record::Active && now.since(e.observed) >= ARCHIVE_AFTER)
            .map(Entry::id)
            .collect();
        for id in old {
            let by = By { who: "avouch".to_owned(), at: now, why: "no occurrence for 90 days".to_owned() };
            if let Ok(entry) = self.entry(id) {
                entry.record = Record::Archived;
                entry.archived_because = Some(by.why.clone());
                entry.step(by.at, &by.who, "archived", &by.why);
                // Ageing out is not recovery, so nobody is told that it is over.
                let event = FindingEvent::of("archived", entry, &by, &[]);
                self.changes.events.push(event);
            }
        }
        self.announce_ends();
        let due: Vec<Suppression> =
            self.state.suppressions().filter(|s| s.ended.is_none() && s.until <= now).cloned().collect();
        for mut s in due {
            let by = By { who: "avouch".to_owned(), at: now, why: "its end date has come".to_owned() };
            s.ended = Some(End { at: s.until, by: by.who.clone(), why: by.why.clone() });
            let open = self
                .state
                .entries()
                .filter(|e| e.record == Record::Active && e.workflow != Workflow::Resolved && s.hits(e))
                .count();
            let why = format!(
                "The suppression of {} (\"{}\") ended on {}; {open} open findings show again.",
                s.owner, s.reason, s.until
            );
            let o = own_finding("Expired", &s, &by, Severity::MEDIUM, why);
            self.end(s, "suppression_expired", &by);
            self.ingest(&[o], &by);
        }
    }

    /// What hides findings and ends soon: somebody has to look at it again before everything shows at once.
    fn announce_ends(&mut self) {
        let now = self.by.at;
        let is_near = |s: &&Suppression| {
            s.ended.is_none()
                && s.until > now
                && s.until.since(now) <= ENDING_BEFORE
                && s.until.since(s.from.max(s.created)) > ENDING_BEFORE
        };
        let near: Vec<Suppression> = self.state.suppressions().filter(is_near).cloned().collect();
        for s in near {
            let said = self.state.get(own_id("Ending", &s));
            if said.is_some_and(|e| s.until.since(e.finding().last_seen) <= ENDING_BEFORE) {
                continue;
            }
            let by = By { who: "avouch".to_owned(), at: now, why: "its end date is near".to_owned() };
            let hits = self.state.preview(&s.selector).hits;
            let why = format!(
                "The suppression of {} (\"{}\") ends on {}; {hits} findings show again then.",
                s.owner, s.reason, s.until
            );
            let o = own_finding("Ending", &s, &by, Severity::LOW, why);
            self.ingest(&[o], &by);
        }
    }

    fn suppress(&mut self, new: &NewSuppression) -> Result<(), Error> {
        self.reasoned("a suppression")?;
        let by = self.by;
        let s = make(self.state, new, by)?;
        let preview = self.state.preview(&s.selector);
        let severity = if preview.critical > 0 { Severity::MEDIUM } else { Severity::LOW };
        let why = format!(
            "{} hides {} findings ({} critical) until {}: \"{}\". Owner {}, approved by {}.",
            by.who,
            preview.hits,
            preview.critical,
            s.until,
            s.reason,
            s.owner,
            s.approver.as_deref().unwrap_or("nobody else"),
        );
        self.changes.events.push(FindingEvent::of_suppression("suppression_created", &s, by, &[]));
        let o = own_finding("Created", &s, by, severity, why);
        self.changes.suppressions.push(Arc::new(s));
        self.ingest(&[o], by);
        Ok(())
    }

    fn running(&self, id: &str) -> Result<Suppression, Error> {
        let s = self.state.suppressions.get(id).ok_or_else(|| Error::UnknownSuppression(id.to_owned()))?;
        if s.ended.is_some() || s.until <= self.by.at {
            return Err(Error::SuppressionEnded(id.to_owned()));
        }
        Ok((**s).clone())
    }

    fn prolong(&mut self, id: &str, until: Time) -> Result<(), Error> {
        self.reasoned("prolonging a suppression")?;
        let by = self.by;
        let mut s = self.running(id)?;
        check_end(by.at, until, by.at)?;
        if s.until == until {
            return Ok(());
        }
        let (from, to, is_longer) = (s.until.to_string(), until.to_string(), s.until < until);
        s.until = until;
        self.changes.events.push(FindingEvent::of_suppression(
            "suppression_prolonged",
            &s,
            by,
            &[("from", &from), ("to", &to)],
        ));
        let why = format!(
            "{} moved the end of the suppression of {} from {from} to {to}: \"{}\".",
            by.who, s.owner, by.why
        );
        let o = is_longer.then(|| own_finding("Prolonged", &s, by, Severity::LOW, why));
        if s.until.since(by.at) > ENDING_BEFORE {
            // No finding: it was not near.
            let _ = self.resolve(own_id("Ending", &s), "resolved");
        }
        self.changes.suppressions.push(Arc::new(s));
        self.ingest(o.as_slice(), by);
        Ok(())
    }

    fn unsuppress(&mut self, id: &str) -> Result<(), Error> {
        self.reasoned("ending a suppression")?;
        let by = self.by;
        let mut s = self.running(id)?;
        s.ended = Some(End { at: by.at, by: by.who.clone(), why: by.why.clone() });
        self.end(s, "suppression_ended", by);
        Ok(())
    }

    /// Records the end, and resolves the finding that said it was there.
    fn end(&mut self, s: Suppression, kind: &str, by: &By) {
        self.changes.events.push(FindingEvent::of_suppression(kind, &s, by, &[]));
        for what in ["Created", "Prolonged", "Ending"] {
            // No finding: it was archived and forgotten, or this state was restored without it.
            let _ = self.resolve(own_id(what, &s), "resolved");
        }
        self.changes.suppressions.push(Arc::new(s));
    }
}

/// Drills are filed under ids of their own: evidence that carries a canary can never add to, reopen or hide behind a real finding.
/// Still a function of the same parts, so F2 holds.
fn filed_under(o: &Occurrence) -> FindingId {
    match &o.drill {
        None => o.id,
        Some(run) => FindingId::of(&[b"drill", run.as_bytes(), &o.id.0]),
    }
}
