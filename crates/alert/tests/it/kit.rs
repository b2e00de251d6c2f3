//! What the tests share.

pub use alert::{AlertsConfig, Notice, Occasion};
pub use model::{Finding, FindingId, Severity, Time};

/// 2026-03-01T09:00:00Z.
pub const NINE: Time = Time(1_772_355_600_000_000);

pub fn at(seconds: i64) -> Time {
    NINE.plus(seconds * Time::SECOND)
}

pub fn finding() -> Finding {
    serde_json::from_str(include_str!("../data/finding.json")).unwrap()
}

/// The `n`th finding of severity `tenths`.
pub fn nth(n: u32, tenths: u8) -> Finding {
    Finding {
        id: FindingId::of(&[b"nth", &n.to_le_bytes()]),
        severity: Severity::from_tenths(tenths),
        title: format!("Finding {n}"),
        ..finding()
    }
}

pub fn notice(f: Finding, occasion: Occasion) -> Notice {
    Notice::new(f, occasion)
}

pub fn config(json: &str) -> AlertsConfig {
    serde_json::from_str(json).unwrap()
}
