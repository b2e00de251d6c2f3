//! What AWS's documentation leaves open, as switches with two values (access.md 4.6). A doubt is never settled in silence: what a
//! policy touches of this is tried both ways, and an answer that depends on it says so.
//!
//! Here is only which switches there are, and which of them a policy touches by its text. What a reading means stands twice, in `eval`
//! and in `symbolic`.

mod touched;

pub use touched::touched;

/// Readings of one policy that are tried one by one; beyond that the answer is widened.
pub const READINGS_MAX: usize = 64;

/// One open point. The first reading is the one that we think right, and the only one of a policy that does not touch the switch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Switch {
    /// `ArnLike` with fewer than six parts. First: a `*` at the end stands for the missing ones. Second: it matches nothing.
    ArnPartial,
    /// An operator without `ForAnyValue` or `ForAllValues` on a key with several values. First: one that matches is enough. Second:
    /// the condition is not met, negated or not.
    PlainOnMultivalue,
    /// `Deny` with `NotPrincipal`. First: whoever is listed by himself, by his role or by his account is left out. Second: only who is
    /// listed by all of them.
    NotPrincipalChain,
    /// A key that stands twice. First: the last one counts. Second: the first one.
    DuplicateKey,
    /// A value that is not of the operator's kind, compared negated. First: it does not match, so the condition is met. Second: it is
    /// not met.
    UnparsableValue,
    /// A key that is there and has no values. First: it is as good as missing. Second: it is there.
    EmptySetIsMissing,
    /// `IgnoreCase` beyond ASCII. First: case counts there. Second: it does not.
    FoldBeyondAscii,
    /// Tags in the names of keys, `aws:PrincipalTag/Team`. First: in any case. Second: as they are written.
    TagKeyCase,
    /// A wildcard inside a part of a resource's ARN, not at the end of the part. First: it may stand for colons. Second: it may not.
    ResourceStarCrossesColon,
    /// Names of elements in another case, `"action"`. First: they are no elements. Second: they are.
    ElementNameCase,
    /// `aws:PrincipalAccount` of a request that nobody signed. First: it is missing. Second: it is `anonymous`.
    AnonymousAccountValue,
    /// A variable whose key the request does not have, without a default. First: the text matches nothing. Second: the statement is
    /// invalid and does not apply.
    VariableWithoutValue,
}

impl Switch {
    pub const ALL: [Switch; 12] = [
        Switch::ArnPartial,
        Switch::PlainOnMultivalue,
        Switch::NotPrincipalChain,
        Switch::DuplicateKey,
        Switch::UnparsableValue,
        Switch::EmptySetIsMissing,
        Switch::FoldBeyondAscii,
        Switch::TagKeyCase,
        Switch::ResourceStarCrossesColon,
        Switch::ElementNameCase,
        Switch::AnonymousAccountValue,
        Switch::VariableWithoutValue,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Switch::ArnPartial => "arn_partial",
            Switch::PlainOnMultivalue => "plain_on_multivalue",
            Switch::NotPrincipalChain => "not_principal_chain",
            Switch::DuplicateKey => "duplicate_key",
            Switch::UnparsableValue => "unparsable_value",
            Switch::EmptySetIsMissing => "empty_set_is_missing",
            Switch::FoldBeyondAscii => "fold_beyond_ascii",
            Switch::TagKeyCase => "tag_key_case",
            Switch::ResourceStarCrossesColon => "resource_star_crosses_colon",
            Switch::ElementNameCase => "element_name_case",
            Switch::AnonymousAccountValue => "anonymous_account_value",
            Switch::VariableWithoutValue => "variable_without_value",
        }
    }
}

/// A set of switches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Switches(u16);

/// All switches fixed: those in the set have their second value.
pub type Reading = Switches;

impl Switches {
    pub const NONE: Switches = Switches(0);

    #[must_use]
    pub const fn of(switch: Switch) -> Switches {
        Switches(1 << switch as u16)
    }

    #[must_use]
    pub fn has(self, switch: Switch) -> bool {
        self.0 & Switches::of(switch).0 != 0
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub const fn and(self, other: Switches) -> Switches {
        Switches(self.0 & other.0)
    }

    #[must_use]
    pub const fn or(self, other: Switches) -> Switches {
        Switches(self.0 | other.0)
    }

    #[must_use]
    pub const fn without(self, other: Switches) -> Switches {
        Switches(self.0 & !other.0)
    }

    pub fn insert(&mut self, switch: Switch) {
        self.0 |= Switches::of(switch).0;
    }

    pub fn iter(self) -> impl Iterator<Item = Switch> {
        Switch::ALL.into_iter().filter(move |s| self.has(*s))
    }

    /// All readings of these switches, the usual one first.
    pub fn combinations(self) -> impl Iterator<Item = Reading> {
        let all = self.0;
        // Counts through the bits of the set, past those that are not in it.
        std::iter::successors(Some(0u16), move |last| {
            let next = (last | !all).wrapping_add(1) & all;
            (next != 0).then_some(next)
        })
        .map(Switches)
    }

    /// All readings, the usual one first; `None` where there are too many to try.
    #[must_use]
    pub fn readings(self) -> Option<Vec<Reading>> {
        (1 << self.0.count_ones() <= READINGS_MAX).then(|| self.combinations().collect())
    }
}

/// `arn_partial, duplicate_key`
impl std::fmt::Display for Switches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.iter().map(Switch::name).collect();
        f.write_str(&names.join(", "))
    }
}

/// What is said of an answer that not all readings give.
pub(crate) fn depends_on(open: Switches) -> String {
    format!("it depends on what AWS leaves open: {open}")
}

/// Keys that hold several values whatever the operator says (service authorization reference, `ArrayOf`; for `amr`: IAM
/// reference_policies_iam-condition-keys).
const SETS: [&str; 10] = [
    "aws:calledvia",
    "aws:principalorgpaths",
    "aws:principalservicenameslist",
    "aws:resourceorgpaths",
    "aws:sourceorgpaths",
    "aws:tagkeys",
    "aws:vpceorgpaths",
    "cognito-identity.amazonaws.com:amr",
    "dynamodb:attributes",
    "dynamodb:leadingkeys",
];

/// Whether a key holds several values.
pub(crate) fn is_set(key: &str) -> bool {
    SETS.iter().any(|set| set.eq_ignore_ascii_case(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combinations_of_a_set() {
        let set = Switches::of(Switch::ArnPartial).or(Switches::of(Switch::TagKeyCase));
        let all: Vec<String> = set.combinations().map(|r| r.to_string()).collect();
        assert_eq!(all, ["", "arn_partial", "tag_key_case", "arn_partial, tag_key_case"]);
        assert_eq!(Switches::NONE.readings(), Some(vec![Switches::NONE]));
        let many =
            |n: usize| Switch::ALL.into_iter().take(n).fold(Switches::NONE, |s, of| s.or(Switches::of(of)));
        assert_eq!(many(6).readings().map(|r| r.len()), Some(READINGS_MAX));
        assert_eq!(many(7).readings(), None);
        assert_eq!(many(12).combinations().count(), 4_096);
    }
}
