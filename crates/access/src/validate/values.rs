//! Values of conditions: can they be what the operator and the key compare.

use super::{Case, Report, has_wildcard, is_account};
use crate::policy::{Base, Condition, Effect, Statement, Word};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) fn check(case: &Case<'_>, statement: &Statement, out: &mut Report) {
    for condition in &statement.conditions {
        let base = condition.operator.base;
        for word in condition.values.iter().filter(|w| !w.text.contains("${")) {
            by_operator(base, word, out);
            by_key(condition, word, out);
        }
        if base == Base::Bool && condition.values.len() > 1 {
            let what =
                format!("{} values for `{}`, of which there are two", condition.values.len(), condition.key);
            out.add("bool_many", condition.span, what);
        }
        if base == Base::IpAddress {
            addresses(case, statement, condition, out);
        }
        wildcards(condition, out);
    }
}

fn by_operator(base: Base, word: &Word, out: &mut Report) {
    let text = word.text.trim();
    let (code, what, is_good) = match base {
        Base::Bool | Base::Null => ("value_bool", "true or false", is_bool(text)),
        Base::Numeric(_) => ("value_number", "a number", is_number(text)),
        Base::Date(_) => ("value_date", "a date of ISO 8601 or seconds since 1970", is_date(text)),
        Base::IpAddress => {
            ("value_address", "an address or a range like 203.0.113.0/24", network(text).is_some())
        }
        Base::Binary => ("value_base64", "base64", is_base64(text)),
        Base::Arn => ("value_arn", "an ARN", is_arn(text)),
        _ => return,
    };
    if !is_good {
        out.add(code, word.span, format!("`{}` is not {what}", word.text));
    } else if matches!(base, Base::Date(_)) && is_number(text) && text.len() > 4 {
        out.add("date_epoch", word.span, format!("`{}` is a date in seconds", word.text));
    }
}

fn is_bool(text: &str) -> bool {
    text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false")
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    is_digits(whole) && is_digits(part)
}

/// ISO 8601 as W3C profiles it, or seconds.
fn is_date(text: &str) -> bool {
    if is_number(text) && !text.starts_with('-') {
        return true;
    }
    let (day, time) = text.split_once(['T', 't']).map_or((text, None), |(d, t)| (d, Some(t)));
    let parts: Vec<&str> = day.split('-').collect();
    let number = |t: Option<&&str>, len: usize, most: u32| {
        t.is_none_or(|t| t.len() == len && t.parse::<u32>().is_ok_and(|n| n <= most))
    };
    let is_day = parts.len() <= 3
        && number(parts.first(), 4, 9_999)
        && number(parts.get(1), 2, 12)
        && number(parts.get(2), 2, 31);
    let is_time = time.is_none_or(|t| {
        let clock = t.trim_end_matches(['Z', 'z']);
        let clock = clock.split(['+', '-']).next().unwrap_or_default();
        clock.len() >= 5 && clock.bytes().all(|b| b.is_ascii_digit() || b == b':' || b == b'.')
    });
    is_day && is_time
}

fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let padded = text.len().is_multiple_of(4) && text.len() - body.len() <= 2;
    padded && body.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

fn is_arn(text: &str) -> bool {
    text.starts_with('*')
        || (text.split(':').count() >= 6 || text.ends_with('*')) && super::resources::meet(text, "arn:*")
}

/// Address and length of a range.
fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => most,
        Some(text) => text.parse().ok().filter(|n| *n <= most)?,
    };
    Some((address, length))
}

/// The range as it counts: bits behind its length are not compared.
fn start(address: IpAddr, length: u32) -> IpAddr {
    match address {
        IpAddr::V4(a) => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(a) & mask))
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(a) & mask))
        }
    }
}

/// RFC 1918, 6598, 3927, 4193, 4291: no request comes from there over the internet.
const PRIVATE: [&str; 9] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
    "::1/128",
];

fn is_private(address: IpAddr, length: u32) -> bool {
    let mut ranges = PRIVATE.iter().filter_map(|p| network(p));
    ranges.any(|(of, len)| of.is_ipv4() == address.is_ipv4() && len <= length && start(address, len) == of)
}

fn addresses(case: &Case<'_>, statement: &Statement, condition: &Condition, out: &mut Report) {
    let ranges: Vec<(&Word, IpAddr, u32)> =
        condition.values.iter().filter_map(|w| network(w.text.trim()).map(|(a, l)| (w, a, l))).collect();
    for (word, address, length) in &ranges {
        let first = start(*address, *length);
        if first != *address {
            let what = format!("`{}` counts as `{first}/{length}`", word.text);
            out.add("address_bits", word.span, what);
        }
        if *length == 0 {
            out.add("address_all", word.span, format!("`{}` is every address", word.text));
        }
    }
    if ranges.is_empty() || condition.name() != "aws:sourceip" {
        return;
    }
    let span = case.key_before(statement, condition.span);
    let private: Vec<&str> =
        ranges.iter().filter(|(_, a, l)| is_private(*a, *l)).map(|(w, _, _)| w.text.as_str()).collect();
    let negated = condition.operator.negated;
    match private.len() {
        0 => {}
        n if n == ranges.len() => {
            let code = if negated { "private_not_address" } else { "private_address" };
            out.add(code, span, "`aws:SourceIp` lists private addresses only, and holds public ones");
        }
        _ => {
            let code = if negated { "private_not_address_some" } else { "private_address_some" };
            out.add(code, span, format!("`aws:SourceIp` is never in {}", private.join(", ")));
        }
    }
    // What a v4 list does not name, a v6 caller is not in either.
    let is_open = (statement.effect == Effect::Allow) == negated;
    if is_open && ranges.iter().all(|(_, a, _)| a.is_ipv4()) {
        out.add("address_v4_only", span, "the list has no IPv6 range, and callers come over IPv6 too");
    }
}

/// `*` that is no wildcard, and wildcards under a name that does not say so.
fn wildcards(condition: &Condition, out: &mut Report) {
    let base = condition.operator.base;
    for word in &condition.values {
        let plain = word.text.replace("${*}", "").replace("${?}", "");
        if !has_wildcard(&plain) {
            continue;
        }
        if matches!(base, Base::StringEquals | Base::StringEqualsIgnoreCase) {
            let what = format!("`{}` is compared as it stands: `*` and `?` mean themselves here", word.text);
            out.add("wildcard_literal", word.span, what);
        }
    }
}

/// Forms of values of keys that everybody uses.
fn by_key(condition: &Condition, word: &Word, out: &mut Report) {
    if condition.operator.base == Base::Null {
        return;
    }
    let text = word.text.as_str();
    // A pattern is held against the form as far as it goes.
    let is_pattern = has_wildcard(text);
    let (code, what, is_good) = match condition.name().as_str() {
        "aws:sourcevpc" | "aws:ec2instancesourcevpc" => {
            ("value_vpc", "a VPC id (`vpc-` and 8 or 17 letters and digits)", is_id(text, "vpc-"))
        }
        "aws:sourcevpce" => {
            ("value_vpce", "an endpoint id (`vpce-` and 8 or 17 letters and digits)", is_id(text, "vpce-"))
        }
        "aws:principalaccount"
        | "aws:resourceaccount"
        | "aws:sourceaccount"
        | "aws:vpceaccount"
        | "kms:calleraccount" => {
            ("value_account", "an account id of 12 digits", is_account(text) || text == "anonymous")
        }
        "aws:principalorgid" | "aws:resourceorgid" | "aws:sourceorgid" | "aws:vpceorgid" => (
            "value_organization",
            "an organization id (`o-` and 10 to 32 letters and digits)",
            is_organization(text),
        ),
        "aws:principalorgpaths" | "aws:resourceorgpaths" | "aws:sourceorgpaths" | "aws:vpceorgpaths" => {
            let is_path = text.starts_with("o-") && text.contains("/r-");
            (
                "value_path",
                "a path of an organization (`o-…/r-…/ou-…/`)",
                is_path || text.starts_with("o-") && is_pattern,
            )
        }
        "aws:requestedregion" => {
            ("value_region", "a region", super::resources::is_region(text) || text == "aws-global")
        }
        "aws:principalservicename"
        | "aws:principalservicenameslist"
        | "aws:calledvia"
        | "aws:calledviafirst"
        | "aws:calledvialast"
        | "iam:passedtoservice"
        | "iam:awsservicename" => (
            "value_service",
            "a service's host name (`ec2.amazonaws.com`)",
            super::principals::is_service_host(text),
        ),
        "s3:x-amz-server-side-encryption-aws-kms-key-id" => {
            let is_key =
                text.starts_with("arn:") && text.split(':').nth(2) == Some("kms") && text.contains(":key/");
            ("value_kms_key", "the ARN of a KMS key", is_key)
        }
        "kms:viaservice" => {
            let is_host = super::principals::is_service_host(text) && text.matches('.').count() >= 3;
            ("value_service", "a service and region (`s3.eu-west-1.amazonaws.com`)", is_host)
        }
        _ => return,
    };
    let is_open = is_pattern && code != "value_path";
    if !is_good && !is_open {
        out.add(code, word.span, format!("`{text}` is not {what}"));
    }
}

fn is_id(text: &str, prefix: &str) -> bool {
    let id = text.strip_prefix(prefix).unwrap_or_default();
    matches!(id.len(), 8 | 17) && id.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn is_organization(text: &str) -> bool {
    let id = text.strip_prefix("o-").unwrap_or_default();
    (10..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for good in
            ["2026-01-01", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5+02:00", "1767225600", "2026-01"]
        {
            assert!(is_date(good), "{good}");
        }
        for bad in ["tomorrow", "2026-13-01", "01.02.2026", "2026-01-01Tnoon", ""] {
            assert!(!is_date(bad), "{bad}");
        }
        for (text, is_good) in [("1", true), ("-1.5", true), ("1e3", false), ("", false), (".5", false)] {
            assert_eq!(is_number(text), is_good, "{text}");
        }
        assert!(is_base64("QUJD") && is_base64("QUI=") && !is_base64("QU") && !is_base64("a b="));
        assert_eq!(network("10.1.2.3/8").map(|(a, l)| start(a, l).to_string()), Some("10.0.0.0".to_owned()));
        assert_eq!(network("::/0").map(|(a, l)| start(a, l).to_string()), Some("::".to_owned()));
        for bad in ["10.0.0.0/33", "10.0.0", "x", "::/129"] {
            assert_eq!(network(bad), None, "{bad}");
        }
        assert!(is_private("10.2.0.0".parse().unwrap(), 16) && !is_private("10.0.0.0".parse().unwrap(), 7));
        assert!(
            is_private("fd00::1".parse().unwrap(), 128) && !is_private("2001:db8::".parse().unwrap(), 32)
        );
    }
}
