//! How a statement is taken where AWS leaves open what it says (access.md 4.6): in one reading, or at its widest or narrowest over
//! several of them.

use super::dimensions::Part;
use crate::policy::{Base, Condition, Document, Quantifier, Statement};
use crate::reading::{Reading, Switch, Switches};

/// Switches that decide what a condition says of a value.
const OF_CONDITIONS: Switches = Switches::of(Switch::ArnPartial)
    .or(Switches::of(Switch::PlainOnMultivalue))
    .or(Switches::of(Switch::UnparsableValue))
    .or(Switches::of(Switch::EmptySetIsMissing))
    .or(Switches::of(Switch::FoldBeyondAscii))
    .or(Switches::of(Switch::AnonymousAccountValue));

/// The readings that count for a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Take {
    /// Of the switches that are fixed.
    pub reading: Reading,
    /// The switches that are not.
    pub open: Switches,
    /// The statement applies where it does in one of its readings, else where it does in all.
    pub is_wide: bool,
}

impl Take {
    /// One reading.
    pub(crate) fn fixed(reading: Reading) -> Take {
        Take { reading, ..Take::default() }
    }

    /// All readings of these switches at once. Tags of other cases are keys of their own then: two keys have every pair of values that
    /// one key has.
    pub(crate) fn any(touched: Switches, is_wide: bool) -> Take {
        let tags = Switches::of(Switch::TagKeyCase);
        Take { reading: touched.and(tags), open: touched.without(tags), is_wide }
    }

    /// Whether the second value of a switch counts. `is_wider`: with it the statement applies wherever it does with the first one.
    pub(super) fn second(self, switch: Switch, is_wider: bool) -> bool {
        if self.open.has(switch) { self.is_wide == is_wider } else { self.reading.has(switch) }
    }

    /// A key as conditions on it are put together.
    pub(super) fn key(self, key: &str) -> String {
        named(key, self.reading)
    }
}

pub(super) fn named(key: &str, reading: Reading) -> String {
    if reading.has(Switch::TagKeyCase) { crate::request::spelled(key) } else { key.to_ascii_lowercase() }
}

/// A condition in one reading.
#[derive(Clone, Copy)]
pub(super) struct Asked<'d> {
    pub bit: usize,
    pub document: &'d Document,
    pub condition: &'d Condition,
    pub reading: Reading,
    /// The next one is the same condition in another reading, and one of them is enough.
    pub is_either: bool,
}

/// The conditions of a statement, each in all readings that count, with their keys.
pub(super) fn asked<'d>(part: &Part<'d>) -> impl Iterator<Item = (String, Asked<'d>)> + use<'d> {
    let Part { bit, document, statement, take } = *part;
    let conditions = statement.is_certain.then_some(&statement.conditions);
    conditions.into_iter().flatten().flat_map(move |condition| {
        let open = take.open.and(OF_CONDITIONS);
        let open = if open.is_empty() { open } else { open.and(of(condition)) };
        let last = open.or(take.reading);
        open.combinations().map(move |reading| {
            let reading = reading.or(take.reading);
            let is_either = take.is_wide && reading != last;
            (take.key(&condition.key), Asked { bit, document, condition, reading, is_either })
        })
    })
}

/// Whether a grant may apply to other requests in other readings of these switches.
pub(crate) fn may_differ(grant: &Statement, touched: Switches) -> bool {
    if touched.is_empty() {
        return false;
    }
    let mut own = grant.conditions.iter().fold(Switches::NONE, |all, condition| all.or(of(condition)));
    let resources = || grant.resource.iter().flat_map(|r| &r.values);
    let mut texts = resources().chain(grant.conditions.iter().flat_map(|c| &c.values));
    if texts.any(|w| w.text.contains("${")) {
        own.insert(Switch::VariableWithoutValue);
    }
    if resources().any(|w| w.text != "*" && w.text.contains(['*', '?'])) {
        own.insert(Switch::ResourceStarCrossesColon);
    }
    !touched.and(own).is_empty()
}

/// Switches that may matter to a condition.
fn of(condition: &Condition) -> Switches {
    let operator = condition.operator;
    let is_plain = operator.quantifier == Quantifier::Plain;
    let mut out = Switches::NONE;
    let mut add = |switch: Switch, is: bool| {
        if is {
            out.insert(switch);
        }
    };
    let is_account = condition.key.eq_ignore_ascii_case("aws:PrincipalAccount");
    add(Switch::AnonymousAccountValue, is_account);
    add(Switch::ArnPartial, operator.base == Base::Arn);
    add(Switch::FoldBeyondAscii, operator.base == Base::StringEqualsIgnoreCase);
    add(Switch::UnparsableValue, operator.negated);
    add(Switch::PlainOnMultivalue, is_plain && operator.base != Base::Null);
    add(Switch::EmptySetIsMissing, is_plain && (operator.base == Base::Null || operator.if_exists));
    out
}
