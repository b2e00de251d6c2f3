use model::FindingId;

/// Why a command or a filter was not taken. Nothing has changed when one comes back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("no finding `{0}`")]
    UnknownFinding(String),
    #[error("`{prefix}` fits {n} findings: {}", .ids.join(", "))]
    AmbiguousFinding { prefix: String, n: usize, ids: Vec<String> },
    #[error("finding `{id}` changed meanwhile: you saw version {seen}, it is at {now}")]
    Stale { id: FindingId, seen: u64, now: u64 },
    #[error("{0} needs a reason")]
    NoReason(&'static str),
    #[error("{0} needs the name of who does it")]
    NoActor(&'static str),
    #[error("the note has {bytes} bytes, at most {max} are kept")]
    NoteTooLong { bytes: usize, max: usize },
    #[error("no suppression `{0}`")]
    UnknownSuppression(String),
    #[error("suppression `{0}` has ended already")]
    SuppressionEnded(String),
    #[error("a suppression needs an owner")]
    NoOwner,
    #[error("the end `{until}` is not after the start `{from}`")]
    EndsBeforeStart { from: String, until: String },
    #[error("the end `{until}` is more than {max_days} days away")]
    TooLong { until: String, max_days: i64 },
    #[error(
        "the selector names neither an id, a type, a rule, an account, a resource nor a principal: it would hide everything"
    )]
    HidesEverything,
    #[error(
        "the selector hits {hits} findings, {critical} of them critical: a second person has to approve it"
    )]
    NeedsSecondPerson { hits: usize, critical: usize },
    #[error(
        "the selector fits {hits} findings about access that is or may be public: it has to say so and to name each resource"
    )]
    NeedsNamedResource { hits: usize },
    #[error("`{key}` cannot be used to suppress")]
    NotASelectorKey { key: String },
    #[error("unknown filter `{key}`")]
    UnknownKey { key: String, nearest: Vec<String> },
    #[error("`{value}` is no value of `{key}`")]
    UnknownValue { key: String, value: String, nearest: Vec<String>, allowed: String },
    #[error("filter `{key}` has no value")]
    EmptyValue { key: String },
    #[error("filter `{key}` is given twice")]
    Twice { key: String },
    #[error("cannot read `{value}` as the time of `{key}`")]
    BadTime { key: String, value: String },
    #[error("the page mark `{0}` names a finding that is no longer in this list")]
    StaleCursor(String),
    #[error("a stored finding cannot be read: {0}")]
    Stored(String),
}

impl Error {
    /// Stable, `area.reason`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Error::UnknownFinding(_) => "finding.unknown",
            Error::AmbiguousFinding { .. } => "finding.ambiguous",
            Error::Stale { .. } => "finding.stale",
            Error::NoReason(_) => "finding.no_reason",
            Error::NoActor(_) => "finding.no_actor",
            Error::NoteTooLong { .. } => "finding.note_too_long",
            Error::UnknownSuppression(_) => "suppression.unknown",
            Error::SuppressionEnded(_) => "suppression.ended",
            Error::NoOwner => "suppression.no_owner",
            Error::EndsBeforeStart { .. } => "suppression.ends_before_start",
            Error::TooLong { .. } => "suppression.too_long",
            Error::HidesEverything => "suppression.hides_everything",
            Error::NeedsSecondPerson { .. } => "suppression.needs_second_person",
            Error::NeedsNamedResource { .. } => "suppression.needs_named_resource",
            Error::NotASelectorKey { .. } => "suppression.bad_selector",
            Error::UnknownKey { .. } => "filter.unknown_key",
            Error::UnknownValue { .. } => "filter.unknown_value",
            Error::EmptyValue { .. } => "filter.empty_value",
            Error::Twice { .. } => "filter.twice",
            Error::BadTime { .. } => "filter.bad_time",
            Error::StaleCursor(_) => "filter.stale_cursor",
            Error::Stored(_) => "finding.stored",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Error::UnknownFinding(_) => "`avouch findings list --state all` prints every id".into(),
            Error::AmbiguousFinding { .. } => "give more characters of the id".into(),
            Error::Stale { id, .. } => {
                format!("read it again with `avouch findings show {id}`, then repeat the command")
            }
            Error::NoReason(_) => "add `--reason TEXT`: it is kept with the change".into(),
            Error::NoActor(_) => "sign in, or give `--as NAME`".into(),
            Error::NoteTooLong { .. } => "put the long text into the ticket and note its link".into(),
            Error::UnknownSuppression(_) => {
                "`avouch findings list --state suppressed` names the suppression of each finding".into()
            }
            Error::SuppressionEnded(_) => "make a new one with `avouch findings suppress`".into(),
            Error::NoOwner => "add `--owner NAME`: the person who answers for hiding it".into(),
            Error::EndsBeforeStart { .. } => "give a later `--until`, such as `30d` or `2026-12-31`".into(),
            Error::TooLong { max_days, .. } => format!(
                "an exception is looked at again at least every {max_days} days: give an earlier `--until`"
            ),
            Error::HidesEverything => "add an id, a type, a rule, an account, a resource or a principal".into(),
            Error::NeedsSecondPerson { .. } => {
                "add `--approver NAME` (not the owner, not you), or narrow the selector".into()
            }
            Error::NeedsNamedResource { .. } => "add `public=true resource=ARN` (for one that is only possible, `confidence=possible`), or name the finding by its id".into(),
            Error::NotASelectorKey { .. } => {
                "use id, type, rule, account, region, resource, source, tag, team, severity, principal, principal-kind, resource-type, unit, action, level, condition, public or confidence".into()
            }
            Error::UnknownKey { nearest, .. } => did_you_mean(nearest)
                .unwrap_or_else(|| format!("filters are {}", crate::KEYS.map(|k| k.name()).join(", "))),
            Error::UnknownValue { nearest, allowed, .. } => {
                did_you_mean(nearest).unwrap_or_else(|| format!("write {allowed}"))
            }
            Error::EmptyValue { key } => format!("leave `{key}` out, or give it a value"),
            Error::Twice { key } => format!("write all values in one: `{key}=a,b`"),
            Error::BadTime { .. } => {
                "write `2026-01-27T10:30:00Z`, `2026-01-27`, or for range `24h`, `7d`".into()
            }
            Error::StaleCursor(_) => "start again at the first page".into(),
            Error::Stored(_) => {
                "restore the state file from a backup; evidence is in the vault and not affected".into()
            }
        }
    }
}

fn did_you_mean(nearest: &[String]) -> Option<String> {
    nearest.first().map(|n| format!("did you mean `{n}`?"))
}
