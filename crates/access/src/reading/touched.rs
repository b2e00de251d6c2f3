//! Which switches a policy touches: by its text, and rather one too many than one too few.

use super::{Switch, Switches, is_set};
use crate::catalog::{self, KeyKind};
use crate::pattern::{Piece, Syntax, pieces};
use crate::policy::{Base, Condition, Document, Effect, PrincipalKind, Quantifier, Statement};
use std::net::IpAddr;

/// The switches that these documents touch, taken together.
#[must_use]
pub fn touched<'d>(documents: impl Iterator<Item = &'d Document> + Clone) -> Switches {
    let mut keys: Vec<Key<'_>> = Vec::new();
    let mut has_principals = false;
    for condition in documents.clone().flat_map(|d| &d.statements).flat_map(|s| &s.conditions) {
        let at = keys.iter().position(|k| k.name.eq_ignore_ascii_case(&condition.key));
        let at = at.unwrap_or_else(|| {
            keys.push(Key { name: &condition.key, kinds: 0, is_many: is_set(&condition.key) });
            keys.len() - 1
        });
        if let Some(key) = keys.get_mut(at) {
            key.kinds |= kind(condition.operator.base);
            key.is_many |= condition.operator.quantifier != Quantifier::Plain;
        }
    }
    let mut out = Switches::NONE;
    let mut tags: Vec<String> = Vec::new();
    for document in documents {
        for statement in &document.statements {
            has_principals |= statement.principal.is_some();
            of_statement(document, statement, &mut out, &mut tags);
            for condition in &statement.conditions {
                let key = keys.iter().find(|k| k.name.eq_ignore_ascii_case(&condition.key));
                of_condition(document, condition, key, &mut out, &mut tags);
            }
        }
    }
    if !has_principals {
        out = out.without(Switches::of(Switch::AnonymousAccountValue));
    }
    let differs = |a: &String| tags.iter().any(|b| a != b && a.eq_ignore_ascii_case(b));
    if tags.iter().any(differs) {
        out.insert(Switch::TagKeyCase);
    }
    out
}

/// A key of conditions, all of them together.
struct Key<'d> {
    name: &'d str,
    /// Kinds of values that its operators read, one bit each.
    kinds: u8,
    is_many: bool,
}

fn kind(base: Base) -> u8 {
    match base {
        Base::Numeric(_) => 1,
        Base::Date(_) => 2,
        Base::IpAddress => 4,
        Base::Null => 0,
        _ => 8,
    }
}

fn of_statement(document: &Document, statement: &Statement, out: &mut Switches, tags: &mut Vec<String>) {
    for word in statement.resource.iter().flat_map(|r| &r.values) {
        if has_inner_wildcard(&word.text) {
            out.insert(Switch::ResourceStarCrossesColon);
        }
        variables(&word.text, document.syntax(true), out, tags);
    }
    let is_chain = |(kind, w): &(PrincipalKind, _)| {
        let w: &crate::policy::Word = w;
        *kind == PrincipalKind::Aws && w.text != "*"
    };
    if statement.effect == Effect::Deny
        && statement.principal.as_ref().is_some_and(|p| p.negated && p.values.iter().any(is_chain))
    {
        out.insert(Switch::NotPrincipalChain);
    }
}

/// A `?`, or a `*` that is not the last of its part, in a part with another behind it. The colon of a variable ends no part, so that a
/// text with variables may be taken for one with such a wildcard.
fn has_inner_wildcard(text: &str) -> bool {
    let mut is_open = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'?' => is_open = true,
            b'*' => is_open |= !matches!(text.as_bytes().get(at + 1), Some(b':' | b'*') | None),
            b':' if is_open => return true,
            _ => {}
        }
    }
    false
}

/// Variables of a text: one without a default may have no value. And their tags.
fn variables(text: &str, syntax: Syntax, out: &mut Switches, tags: &mut Vec<String>) {
    if !syntax.variables || !text.contains("${") {
        return;
    }
    for piece in pieces(text, syntax) {
        if let Piece::Variable { key, default } = piece {
            if default.is_none() {
                out.insert(Switch::VariableWithoutValue);
            }
            note(&key, tags);
        }
    }
}

/// Takes note of a key with a tag in its name.
fn note(key: &str, tags: &mut Vec<String>) {
    if key.contains('/') {
        let key = crate::request::spelled(key);
        if !tags.contains(&key) {
            tags.push(key);
        }
    }
}

fn of_condition(
    document: &Document,
    condition: &Condition,
    key: Option<&Key<'_>>,
    out: &mut Switches,
    tags: &mut Vec<String>,
) {
    let operator = condition.operator;
    let is_plain = operator.quantifier == Quantifier::Plain;
    let is_many = key.is_some_and(|k| k.is_many);
    let words = || condition.values.iter().map(|w| w.text.as_str());
    note(&condition.key, tags);
    if operator.has_variables() {
        words().for_each(|w| variables(w, document.syntax(operator.has_wildcards()), out, tags));
    }
    if is_many && is_plain && operator.base != Base::Null {
        out.insert(Switch::PlainOnMultivalue);
    }
    let may_be_empty = is_many && !is_claim(&condition.key);
    if may_be_empty && is_plain && (operator.base == Base::Null || (operator.if_exists && !operator.negated))
    {
        out.insert(Switch::EmptySetIsMissing);
    }
    if operator.base == Base::Arn && words().any(|w| colons(w) < 5) {
        out.insert(Switch::ArnPartial);
    }
    if operator.base == Base::StringEqualsIgnoreCase && words().any(|w| !w.is_ascii() || w.contains("${")) {
        out.insert(Switch::FoldBeyondAscii);
    }
    if operator.negated && is_doubtful(condition, key) {
        out.insert(Switch::UnparsableValue);
    }
    if condition.key.eq_ignore_ascii_case("aws:PrincipalAccount")
        && (operator.base == Base::Null
            || operator.if_exists
            || !is_plain
            || words().any(|w| w.contains(['*', '?', '$']) || w.eq_ignore_ascii_case("anonymous")))
    {
        out.insert(Switch::AnonymousAccountValue);
    }
}

/// Whether a key is a claim of a token with one value, whatever operator is used on it: `issuer:sub`. Only `amr` is a list (IAM
/// reference_policies_iam-condition-keys).
fn is_claim(key: &str) -> bool {
    key.rsplit_once(':').is_some_and(|(issuer, claim)| {
        issuer.contains('.') && ["sub", "aud", "azp", "oaud"].iter().any(|c| claim.eq_ignore_ascii_case(c))
    })
}

/// Colons that are text.
fn colons(text: &str) -> usize {
    if !text.contains("${") {
        return text.bytes().filter(|b| *b == b':').count();
    }
    let all = pieces(text, Syntax { wildcards: true, variables: true });
    all.iter().filter(|p| **p == Piece::Char(':')).count()
}

/// Whether a request's value, or the policy's, may not be what the operator compares.
fn is_doubtful(condition: &Condition, key: Option<&Key<'_>>) -> bool {
    let base = condition.operator.base;
    let of_key = || catalog::key(&condition.key).map(|k| k.kind);
    let is_other = |expected: &[KeyKind]| of_key().is_some_and(|of| !expected.contains(&of));
    let words = || condition.values.iter().map(|w| w.text.as_str());
    let is_mixed = key.is_some_and(|k| k.kinds.count_ones() > 1);
    match base {
        // Any text may be the value of a key that is not known to be an ARN.
        Base::Arn => of_key() != Some(KeyKind::Arn),
        Base::Numeric(_) => is_mixed || is_other(&[KeyKind::Numeric]) || !words().all(is_number),
        Base::Date(_) => is_mixed || is_other(&[KeyKind::Date, KeyKind::Numeric]) || !words().all(is_date),
        Base::IpAddress => is_mixed || is_other(&[KeyKind::IpAddress]) || !words().all(is_network),
        _ => false,
    }
}

/// A number beyond doubt.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_short =
        |t: &str, most: usize| (1..=most).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
    is_short(whole, 18) && is_short(fraction, 9)
}

fn is_date(text: &str) -> bool {
    is_number(text) || (text.contains('T') && model::Time::parse_rfc3339(text.as_bytes()).is_some())
}

fn is_network(text: &str) -> bool {
    let (base, bits) = text.split_once('/').unwrap_or((text, "0"));
    let most = match base.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u32>().is_ok_and(|bits| bits <= most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Duplicates, parse};

    #[track_caller]
    fn check(statement: &str, expected: &str) {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{{{statement}}}]}}"#);
        let document = parse(&text, Duplicates::LastWins).unwrap();
        assert_eq!(touched(std::iter::once(&document)).to_string(), expected, "{statement}");
    }

    #[test]
    fn by_the_text() {
        let with = |effect: &str, condition: &str| {
            format!(
                r#""Effect":"{effect}","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::a/*b?","Condition":{{{condition}}}"#
            )
        };
        for (condition, expected) in [
            (r#""StringLike":{"aws:PrincipalOrgID":"o-*"}"#, ""),
            (r#""ArnLike":{"aws:SourceArn":"arn:aws:s3:::*"}"#, ""),
            (r#""ArnNotLike":{"aws:SourceArn":"arn:aws:s3:::*"}"#, ""),
            (r#""ArnNotLike":{"aws:username":"arn:aws:s3:::*"}"#, "unparsable_value"),
            (r#""ArnLike":{"aws:SourceArn":"arn:aws:s3*"}"#, "arn_partial"),
            (r#""NotIpAddress":{"aws:SourceIp":["10.0.0.0/8","::1"]}"#, ""),
            (r#""NotIpAddress":{"aws:SourceIp":"10.0.0.0/33"}"#, "unparsable_value"),
            (r#""NumericNotEquals":{"s3:max-keys":"3"}"#, ""),
            (r#""NumericNotEquals":{"aws:username":"3"}"#, "unparsable_value"),
            (r#""DateNotEquals":{"aws:CurrentTime":"2026-01-01T00:00:00Z"}"#, ""),
            (r#""ForAllValues:StringEquals":{"aws:TagKeys":"a"}"#, ""),
            (r#""StringEquals":{"aws:TagKeys":"a"}"#, "plain_on_multivalue"),
            (r#""Null":{"aws:TagKeys":"false"}"#, "empty_set_is_missing"),
            (r#""Null":{"aws:username":"false"}"#, ""),
            (
                r#""ForAnyValue:StringEquals":{"aws:username":"a"},"StringNotEquals":{"AWS:UserName":"b"}"#,
                "plain_on_multivalue",
            ),
            (r#""StringEqualsIgnoreCase":{"aws:username":"ann"}"#, ""),
            (r#""StringEqualsIgnoreCase":{"aws:username":"änn"}"#, "fold_beyond_ascii"),
            (r#""StringEquals":{"aws:username":"änn"}"#, ""),
            (r#""StringEquals":{"aws:username":"${aws:userid}"}"#, "variable_without_value"),
            (r#""StringEquals":{"aws:username":"${aws:userid, 'x'}"}"#, ""),
            (
                r#""StringEquals":{"aws:PrincipalTag/Team":"a"},"StringNotEquals":{"AWS:PrincipalTag/Team":"b"}"#,
                "",
            ),
            (
                r#""StringEquals":{"aws:PrincipalTag/Team":"a"},"StringNotEquals":{"aws:PrincipalTag/team":"b"}"#,
                "tag_key_case",
            ),
            (r#""StringEquals":{"aws:PrincipalAccount":"111122223333"}"#, ""),
            (r#""StringEqualsIfExists":{"aws:PrincipalAccount":"111122223333"}"#, "anonymous_account_value"),
            (r#""Null":{"aws:PrincipalAccount":"true"}"#, "anonymous_account_value"),
        ] {
            check(&with("Allow", condition), expected);
            check(&with("Deny", condition), expected);
        }
    }

    #[test]
    fn by_resource_and_principal() {
        let with = |part: &str| format!(r#""Effect":"Deny","Action":"s3:*",{part}"#);
        for (part, expected) in [
            (r#""Resource":"arn:aws:iam::*:role/*""#, ""),
            (r#""Resource":"arn:aws:s3*:*:*:*""#, ""),
            (r#""Resource":"arn:aws:s3:us-*-1:*:*""#, "resource_star_crosses_colon"),
            (r#""NotResource":"arn:aws:s?:::a""#, "resource_star_crosses_colon"),
            (r#""NotResource":"arn:aws:s3:::${aws:username, 'a'}/*""#, ""),
            (r#""NotPrincipal":{"AWS":"111122223333"},"Resource":"*""#, "not_principal_chain"),
            (r#""NotPrincipal":{"Service":"ec2.amazonaws.com"},"Resource":"*""#, ""),
            (r#""Principal":{"AWS":"111122223333"},"Resource":"*""#, ""),
        ] {
            check(&with(part), expected);
        }
    }
}
