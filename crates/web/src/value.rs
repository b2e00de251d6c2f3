//! A value has a state (`interface.md` 2.4): a number that nobody looked for is not zero, and a sum with an unknown part is not a
//! number. One type carries it, one function shows it to people, one serialiser writes it for machines.

use model::Time;
use report::{ago, duration, group_digits};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// A counted value together with how well it is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// Looked at `as_of`.
    Known { value: u64, as_of: Time },
    /// A look happened and found none: `examined` says how many things were looked at, and what they are.
    Zero { examined: u64, what: String, as_of: Time },
    /// Nothing is set up that could give it. `add` is where to set it up.
    NotConfigured { what: String, add: String },
    /// It flowed, and stopped.
    Silent { since: Time, expected_s: u64 },
    /// Nobody could look (F1): the permission, source or setting that is missing.
    Unknown { needs: Vec<String> },
    /// Too old to rest on.
    Stale { value: u64, as_of: Time, limit_s: u64 },
    /// At least this many; what was not read is named.
    Partial { value: u64, missing: Vec<String>, as_of: Time },
    /// Switched off by a person.
    Off { who: String, when: Time, why: String },
}

impl Value {
    /// A count of a look that happened: zero says over how many things it looked.
    #[must_use]
    pub fn counted(value: u64, examined: u64, what: &str, as_of: Time) -> Value {
        match value {
            0 => Value::Zero { examined, what: what.to_owned(), as_of },
            value => Value::Known { value, as_of },
        }
    }

    /// The word of the state, as in JSON and in the class of the element.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self {
            Value::Known { .. } => "value",
            Value::Zero { .. } => "zero",
            Value::NotConfigured { .. } => "not_configured",
            Value::Silent { .. } => "silent",
            Value::Unknown { .. } => "unknown",
            Value::Stale { .. } => "stale",
            Value::Partial { .. } => "partial",
            Value::Off { .. } => "off",
        }
    }

    /// The number inside, when there is one.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        match self {
            Value::Known { value, .. } | Value::Stale { value, .. } | Value::Partial { value, .. } => {
                Some(*value)
            }
            Value::Zero { .. } => Some(0),
            Value::NotConfigured { .. }
            | Value::Silent { .. }
            | Value::Unknown { .. }
            | Value::Off { .. } => None,
        }
    }

    /// What stands large: `12`, `≥ 12`, `?`, `silent`.
    #[must_use]
    pub fn figure(&self) -> String {
        match self {
            Value::Known { value, .. } | Value::Stale { value, .. } => group_digits(*value),
            Value::Zero { .. } => "0".to_owned(),
            Value::Partial { value, .. } => format!("≥ {}", group_digits(*value)),
            Value::Unknown { .. } => "?".to_owned(),
            Value::NotConfigured { .. } => "not set up".to_owned(),
            Value::Silent { .. } => "silent".to_owned(),
            Value::Off { .. } => "off".to_owned(),
        }
    }

    /// What the figure rests on, in words.
    #[must_use]
    pub fn note(&self, now: Time) -> String {
        match self {
            Value::Known { as_of, .. } => format!("counted {}", ago(now, *as_of)),
            Value::Zero { examined, what, as_of } => {
                format!("looked at {} {what}, {}", group_digits(*examined), ago(now, *as_of))
            }
            Value::NotConfigured { what, add } => format!("{what} · {add}"),
            Value::Silent { since, expected_s } => format!(
                "nothing since {}, expected every {}",
                clock(now, *since),
                duration(micros(*expected_s))
            ),
            Value::Unknown { needs } => format!("{} missing", needs.join(", ")),
            Value::Stale { as_of, limit_s, .. } => {
                format!("{} old, limit {}", duration(now.since(*as_of)), duration(micros(*limit_s)))
            }
            Value::Partial { missing, .. } => missing.join(", "),
            Value::Off { who, when, why } => format!("disabled by {who} on {}: {why}", when.day()),
        }
    }
}

fn micros(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(Time::SECOND)
}

/// `13:10 UTC` on the same day, else with the date.
fn clock(now: Time, t: Time) -> String {
    let (.., h, m, _, _) = t.parts();
    let clock = format!("{h:02}:{m:02} UTC");
    if now.day() == t.day() { clock } else { format!("{} {clock}", t.day()) }
}

/// The sum of values: `12`, or `12 + unknown` as soon as one part is not a number, never a bare 12.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sum {
    pub known: u64,
    /// Parts without a number, or with one that is too old or not whole.
    pub unknown_parts: u64,
}

impl Sum {
    #[must_use]
    pub fn of<'a>(values: impl IntoIterator<Item = &'a Value>) -> Sum {
        let mut sum = Sum::default();
        for v in values {
            sum.known = sum.known.saturating_add(v.number().unwrap_or(0));
            let whole = match v {
                // Nothing is set up or a person switched it off: there is nothing to add, and that is known.
                Value::Known { .. }
                | Value::Zero { .. }
                | Value::NotConfigured { .. }
                | Value::Off { .. } => true,
                Value::Silent { .. }
                | Value::Unknown { .. }
                | Value::Stale { .. }
                | Value::Partial { .. } => false,
            };
            sum.unknown_parts = sum.unknown_parts.saturating_add(u64::from(!whole));
        }
        sum
    }

    #[must_use]
    pub fn figure(&self) -> String {
        match self.unknown_parts {
            0 => group_digits(self.known),
            _ => format!("{} + unknown", group_digits(self.known)),
        }
    }
}

impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        map.serialize_entry("state", if self.unknown_parts == 0 { "value" } else { "partial" })?;
        map.serialize_entry("value", &self.known)?;
        map.serialize_entry("unknown_parts", &self.unknown_parts)?;
        map.end()
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        map.serialize_entry("state", self.state())?;
        map.serialize_entry("value", &self.number())?;
        match self {
            Value::Known { as_of, .. } => map.serialize_entry("as_of", as_of)?,
            Value::Zero { examined, what, as_of } => {
                map.serialize_entry("examined", examined)?;
                map.serialize_entry("what", what)?;
                map.serialize_entry("as_of", as_of)?;
            }
            Value::NotConfigured { what, add } => {
                map.serialize_entry("what", what)?;
                map.serialize_entry("add", add)?;
            }
            Value::Silent { since, expected_s } => {
                map.serialize_entry("since", since)?;
                map.serialize_entry("expected_s", expected_s)?;
            }
            Value::Unknown { needs } => map.serialize_entry("needs", needs)?,
            Value::Stale { as_of, limit_s, .. } => {
                map.serialize_entry("as_of", as_of)?;
                map.serialize_entry("limit_s", limit_s)?;
            }
            Value::Partial { missing, as_of, .. } => {
                map.serialize_entry("missing", missing)?;
                map.serialize_entry("as_of", as_of)?;
            }
            Value::Off { who, when, why } => {
                map.serialize_entry("who", who)?;
                map.serialize_entry("when", when)?;
                map.serialize_entry("why", why)?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const NOW: &str = "2025-03-14T14:12:00Z";

    /// One value in each state.
    pub(crate) fn each() -> Vec<Value> {
        let at = |s: &str| Time::parse_rfc3339(s.as_bytes()).unwrap();
        let as_of = at("2025-03-14T14:02:00Z");
        vec![
            Value::counted(12_345, 214, "buckets", as_of),
            Value::counted(0, 214, "buckets", as_of),
            Value::NotConfigured { what: "no firewall log source".into(), add: "add one".into() },
            Value::Silent { since: at("2025-03-14T13:10:00Z"), expected_s: 60 },
            Value::Unknown { needs: vec!["s3:GetBucketPolicy in 111122223333".into()] },
            Value::Stale { value: 7, as_of: at("2025-03-13T12:00:00Z"), limit_s: 86_400 },
            Value::Partial { value: 12, missing: vec!["3 of 17 regions not read".into()], as_of },
            Value::Off { who: "ana".into(), when: at("2025-03-03T00:00:00Z"), why: "cost".into() },
        ]
    }

    #[test]
    fn each_state_for_people_and_machines() {
        let now = Time::parse_rfc3339(NOW.as_bytes()).unwrap();
        let mut text = String::new();
        for v in each() {
            let json = serde_json::to_string(&v).unwrap();
            text.push_str(&format!("{} | {}\n  {json}\n", v.figure(), v.note(now)));
        }
        expect_test::expect![[r#"
            12 345 | counted 10 min ago
              {"state":"value","value":12345,"as_of":"2025-03-14T14:02:00Z"}
            0 | looked at 214 buckets, 10 min ago
              {"state":"zero","value":0,"examined":214,"what":"buckets","as_of":"2025-03-14T14:02:00Z"}
            not set up | no firewall log source · add one
              {"state":"not_configured","value":null,"what":"no firewall log source","add":"add one"}
            silent | nothing since 13:10 UTC, expected every 1 min
              {"state":"silent","value":null,"since":"2025-03-14T13:10:00Z","expected_s":60}
            ? | s3:GetBucketPolicy in 111122223333 missing
              {"state":"unknown","value":null,"needs":["s3:GetBucketPolicy in 111122223333"]}
            7 | 26 h old, limit 24 h
              {"state":"stale","value":7,"as_of":"2025-03-13T12:00:00Z","limit_s":86400}
            ≥ 12 | 3 of 17 regions not read
              {"state":"partial","value":12,"missing":["3 of 17 regions not read"],"as_of":"2025-03-14T14:02:00Z"}
            off | disabled by ana on 2025-03-03: cost
              {"state":"off","value":null,"who":"ana","when":"2025-03-03T00:00:00Z","why":"cost"}
        "#]].assert_eq(&text);
    }

    #[test]
    fn a_sum_over_unknown_parts_is_never_a_plain_number() {
        for v in each() {
            let sum = Sum::of([&Value::Known { value: 12, as_of: Time(0) }, &v]);
            let plain = matches!(v.state(), "value" | "zero" | "not_configured" | "off");
            assert_eq!(sum.figure().contains("+ unknown"), !plain, "{}", v.state());
        }
        assert_eq!(Sum::of([]).figure(), "0");
    }
}
