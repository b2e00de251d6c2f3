//! Condition keys and operators: do they exist, do they fit each other and the actions (IAM reference_policies_condition-keys,
//! reference_policies_elements_condition_operators, reference_policies_condition-single-vs-multi-valued-context-keys).

use super::actions::Reach;
use super::{Case, Report, has_wildcard, nearest};
use crate::catalog::{self, Key, KeyKind, Mark};
use crate::policy::{Base, Condition, Effect, Quantifier, Statement};

pub(super) fn check(case: &Case<'_>, statement: &Statement, reach: &Reach<'_>, out: &mut Report) {
    for condition in &statement.conditions {
        let key = catalog::key(&condition.key);
        match &key {
            Some(key) => known(case, statement, condition, key, out),
            None => unknown(case, statement, condition, out),
        }
        nothing_listed(statement, condition, out);
        everything_listed(case, statement, condition, out);
        if let Some(key) = key {
            for_actions(case, statement, condition, &key, reach, out);
        }
    }
    tags(case, statement, reach, out);
    pairs(case, statement, out);
}

fn unknown(case: &Case<'_>, statement: &Statement, condition: &Condition, out: &mut Report) {
    let span = case.key_before(statement, condition.span);
    let (written, edition) = (condition.key.as_str(), catalog::edition());
    let Some((prefix, rest)) = written.split_once(':').filter(|(p, r)| !p.is_empty() && !r.is_empty()) else {
        out.add("key_form", span, format!("`{written}` is no `service:key`"));
        return;
    };
    let lower = prefix.to_ascii_lowercase();
    if ["resourcetag", "requesttag", "principaltag"]
        .contains(&rest.trim_end_matches('/').to_ascii_lowercase().as_str())
    {
        out.add("key_without_tag", span, format!("`{written}` does not say which tag"));
    } else if lower == "aws" {
        let names = catalog::global_keys().iter().map(|k| k.name.split('$').next().unwrap_or_default());
        match nearest(written, names) {
            Some(near) => {
                out.add("key_misspelt", span, format!("there is no key `{written}`; did you mean `{near}`?"))
            }
            None => {
                out.add("key_unknown_global", span, format!("the table of global keys has no `{written}`"))
            }
        }
    } else if catalog::is_service(&lower) {
        match nearest(written, catalog::service_keys(&lower).iter().map(|k| k.name)) {
            Some(near) => {
                let what = format!("there is no key `{written}` ({edition}); did you mean `{near}`?");
                out.add("key_misspelt", span, what);
            }
            None => {
                let what = format!("the table of keys of `{lower}` ({edition}) has no `{written}`");
                out.add("key_unknown", span, what);
            }
        }
    } else if !lower.contains('.') && !["saml", "cognito-identity"].contains(&lower.as_str()) {
        // With a dot it is a provider of identities: its keys are its claims.
        out.add("key_service_unknown", span, format!("the table of services ({edition}) has no `{prefix}`"));
    }
}

fn known(case: &Case<'_>, statement: &Statement, condition: &Condition, key: &Key, out: &mut Report) {
    let span = || case.key_before(statement, condition.span);
    let operator = condition.operator;
    let written = &condition.key;
    if let Some(other) = key.replaced_by() {
        out.add("key_old", span(), format!("`{written}` is no longer filled; `{other}` is"));
    }
    match mismatch(operator.base, key) {
        Some(Mismatch::Never) => {
            let what =
                format!("`{written}` holds {}, and the operator compares something else", key.kind.name());
            out.add("type_mismatch", span(), what);
        }
        Some(Mismatch::Text) => {
            let what = format!(
                "`{written}` holds {}: the operator for that type reads it, this one compares text",
                key.kind.name()
            );
            out.add("type_loose", span(), what);
        }
        Some(Mismatch::ArnAsText) => {
            let what = format!("`{written}` holds an ARN: `*` of a string operator crosses its parts");
            out.add("arn_as_text", span(), what);
        }
        None => {}
    }
    let is_null = operator.base == Base::Null;
    match operator.quantifier {
        Quantifier::Plain if key.multivalued && !is_null => {
            out.add("quantifier_missing", span(), format!("a request may have many values of `{written}`"));
        }
        Quantifier::ForAllValues if !key.multivalued => {
            out.add(
                "for_all_single",
                span(),
                format!("`ForAllValues` on `{written}`, of which a request has one value or none"),
            );
        }
        _ => {}
    }
    let mut add = |code, what: String| out.add(code, case.key_before(statement, condition.span), what);
    if statement.effect == Effect::Allow
        && ["aws:referer", "aws:useragent"].contains(&condition.name().as_str())
    {
        add("key_spoofable", format!("`{written}` is written by whoever asks"));
    }
    if case.kind == super::PolicyKind::Resource
        && (key.is(Mark::Resource) && !key.name.contains('$') || condition.name() == "s3:resourceaccount")
    {
        add("irrelevant_key", format!("`{written}` in the policy of the resource itself"));
    }
    let is_vpce =
        ["aws:vpceaccount", "aws:vpceorgid", "aws:vpceorgpaths"].contains(&condition.name().as_str());
    if is_vpce && statement.effect == Effect::Deny && operator.negated && is_unlimited(statement) {
        add("vpce_key_services", format!("`{written}` under actions of all services"));
    }
    if key.is(Mark::Sensitive) && condition.values.iter().any(|w| is_filled_by_others(&w.text)) {
        add("sensitive_variable", format!("a variable as the value of `{written}`"));
    }
    // `StringLike` on an id that ends anywhere matches ids of others.
    if key.is(Mark::Sensitive) && operator.base == Base::StringLike && !operator.negated {
        for word in condition.values.iter().filter(|w| has_wildcard(&w.text)) {
            out.add(
                "sensitive_wildcard",
                word.span,
                format!("a wildcard in `{}` for `{written}`", word.text),
            );
        }
    }
}

fn is_unlimited(statement: &Statement) -> bool {
    statement.action.negated || statement.action.values.iter().any(|w| w.text == "*")
}

/// A variable that is not itself such an id: `aws:ResourceAccount` may well be compared with `${aws:PrincipalAccount}`.
fn is_filled_by_others(text: &str) -> bool {
    let inside = |part: &str| {
        part.split_once('}').map(|(key, _)| key.split(',').next().unwrap_or_default().trim().to_owned())
    };
    let mut keys =
        text.split("${").skip(1).filter_map(inside).filter(|k| !matches!(k.as_str(), "*" | "?" | "$"));
    keys.any(|k| !catalog::key(&k).is_some_and(|k| k.is(Mark::Sensitive)))
}

enum Mismatch {
    /// No value compares.
    Never,
    /// It compares, as text.
    Text,
    ArnAsText,
}

fn mismatch(base: Base, key: &Key) -> Option<Mismatch> {
    use KeyKind as K;
    let is_text = matches!(base, Base::StringEquals | Base::StringEqualsIgnoreCase | Base::StringLike);
    match (base, key.kind) {
        (Base::Null, _) => None,
        (Base::Numeric(_), K::Numeric | K::Date) | (Base::Date(_), K::Date | K::Numeric) => None,
        (Base::Bool, K::Bool) | (Base::IpAddress, K::IpAddress) | (Base::Binary, K::Binary) => None,
        (Base::Arn, K::Arn) => None,
        (Base::StringLike, K::Arn) => Some(Mismatch::ArnAsText),
        // Exact text is exact either way.
        (_, K::Arn | K::String) if is_text => None,
        _ if is_text => Some(Mismatch::Text),
        // Services list keys as strings that hold ARNs, truths and numbers.
        (Base::Arn | Base::Bool | Base::Numeric(_) | Base::Date(_) | Base::Binary, K::String) => {
            Some(Mismatch::Text)
        }
        _ => Some(Mismatch::Never),
    }
}

fn nothing_listed(statement: &Statement, condition: &Condition, out: &mut Report) {
    if !condition.values.is_empty() {
        return;
    }
    let code = match (condition.operator.quantifier, condition.operator.if_exists) {
        (Quantifier::ForAllValues, _) => "empty_values_for_all",
        (Quantifier::ForAnyValue, _) => "empty_values_for_any",
        (Quantifier::Plain, true) => "empty_values_if_exists",
        (Quantifier::Plain, false) => "empty_values",
    };
    let what = format!("`{}` has no values in statement {}", condition.key, statement.index);
    out.add(code, condition.span, what);
}

/// `*` alone, which matches whatever there is.
fn everything_listed(case: &Case<'_>, statement: &Statement, condition: &Condition, out: &mut Report) {
    let operator = condition.operator;
    let span = || case.key_before(statement, condition.span);
    if condition.name().ends_with(":aud") && operator.quantifier == Quantifier::ForAnyValue {
        out.add("for_any_audience", span(), format!("`ForAnyValue` on `{}`", condition.key));
    }
    let is_all = operator.base == Base::StringLike && condition.values.iter().any(|w| w.text == "*");
    if !is_all || operator.quantifier != Quantifier::Plain {
        return;
    }
    let (code, what) = match (operator.negated, operator.if_exists) {
        (false, false) => ("present_only", "any value will do"),
        (true, false) => ("absent_only", "no value will do"),
        (false, true) => ("always_met", "any value will do, and none"),
        (true, true) => ("absent_only", "no value will do"),
    };
    out.add(code, span(), format!("{what} for `{}`", condition.key));
}

/// A key of a service counts for the actions that list it.
fn for_actions(
    case: &Case<'_>,
    statement: &Statement,
    condition: &Condition,
    key: &Key,
    reach: &Reach<'_>,
    out: &mut Report,
) {
    if reach.open || catalog::is_global(key) {
        return;
    }
    let lists = |a: &catalog::Action| a.keys().iter().any(|k| k.name == key.name);
    let span = || case.key_before(statement, condition.span);
    let edition = catalog::edition();
    if !reach.actions().any(lists) {
        if reach.actions().next().is_some() {
            let what = format!("no action of the statement lists `{}` ({edition})", condition.key);
            out.add("key_not_for_action", span(), what);
        }
        return;
    }
    let without: Vec<&str> =
        reach.named.iter().filter(|(_, a)| !lists(a)).map(|(w, _)| w.text.as_str()).collect();
    if !without.is_empty() {
        let what = format!("`{}` is no key of {} ({edition})", condition.key, without.join(", "));
        out.add("key_not_for_action", span(), what);
    }
}

/// `aws:ResourceTag` under actions of services whose resources have no tags in requests (IAM access_tags).
fn tags(case: &Case<'_>, statement: &Statement, reach: &Reach<'_>, out: &mut Report) {
    let is_tag = |c: &&Condition| c.name().starts_with("aws:resourcetag/") && c.operator.base != Base::Null;
    for condition in statement.conditions.iter().filter(is_tag) {
        let span = case.key_before(statement, condition.span);
        let is_deny = statement.effect == Effect::Deny;
        if statement.action.negated {
            let code = if is_deny { "tag_deny_not_action" } else { "tag_allow_not_action" };
            out.add(code, span, format!("`{}` beside `NotAction`: many actions know no tags", condition.key));
            continue;
        }
        let has_tags =
            |s: &&str| catalog::service_keys(s).iter().any(|k| k.name.starts_with("aws:ResourceTag/"));
        let without: Vec<&str> =
            reach.services().into_iter().filter(|s| catalog::is_service(s) && !has_tags(s)).collect();
        if !without.is_empty() {
            let code = if is_deny { "tag_deny" } else { "tag_allow" };
            let what = format!(
                "`{}` is in no request of {} ({})",
                condition.key,
                without.join(", "),
                catalog::edition()
            );
            out.add(code, span, what);
        }
    }
}

/// Keys that say little without another: addresses in a VPC are anybody's (IAM reference_policies_condition-keys, aws:VpcSourceIp).
fn pairs(case: &Case<'_>, statement: &Statement, out: &mut Report) {
    let has = |names: &[&str]| statement.conditions.iter().any(|c| names.contains(&c.name().as_str()));
    if let Some(c) = statement.conditions.iter().find(|c| c.name() == "aws:vpcsourceip")
        && !has(&[
            "aws:sourcevpc",
            "aws:sourcevpcarn",
            "aws:sourcevpce",
            "aws:vpceaccount",
            "aws:vpceorgid",
            "aws:vpceorgpaths",
        ])
    {
        let what = "`aws:VpcSourceIp` without the VPC or endpoint whose addresses these are";
        out.add("pair_missing", case.key_before(statement, c.span), what);
    }
    if let Some(c) = statement.conditions.iter().find(|c| c.name() == "dynamodb:attributes")
        && statement.effect == Effect::Allow
        && !has(&["dynamodb:select"])
    {
        let what = "`dynamodb:Attributes` without `dynamodb:Select`";
        out.add("dynamodb_attributes", case.key_before(statement, c.span), what);
    }
    for c in statement.conditions.iter().filter(|c| c.name() == "s3:prefix" && c.operator.base != Base::Null)
    {
        // Keeping out a prefix keeps out that very text, and lists of the prefix before it show the same.
        if (statement.effect == Effect::Allow) == c.operator.negated
            && c.values.iter().any(|w| !w.text.is_empty())
        {
            let what = "a list of some prefix is kept out, and one of a shorter prefix shows the same";
            out.add("s3_prefix", case.key_before(statement, c.span), what);
        }
    }
}
