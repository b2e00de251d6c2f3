//! Why an outside oracle answers a request differently: each reason says how the oracle reads a policy, as a change to the policy or
//! the request. A reason explains a difference only if our evaluator, asked the changed question, gives the oracle's answer. What is
//! left is unexplained. Each is described, with who is right, in docs/access-differences.md.

use access::Request;
use serde_json::{Map, Value};

type Change = fn(&mut Value, &mut Request);

/// Named as in docs/access-differences.md.
pub const REASONS: [(&str, Change); 13] = [
    ("wildcard-in-service", wildcard_in_service),
    ("wildcard-in-resource-type", wildcard_in_resource_type),
    ("star-means-itself", star_means_itself),
    ("arn-with-few-parts", arn_with_few_parts),
    ("variables-without-version", variables_without_version),
    ("variable-without-value", variable_without_value),
    ("value-of-another-kind", value_of_another_kind),
    ("number-with-a-tail", number_with_a_tail),
    ("plain-operator-on-a-set", plain_operator_on_a_set),
    ("single-address-of-other-family", single_address_of_other_family),
    ("value-with-few-parts", value_with_few_parts),
    ("reserved-role", reserved_role),
    ("who-am-i", who_am_i),
];

fn statements(policy: &mut Value) -> Vec<&mut Value> {
    match policy.get_mut("Statement") {
        Some(Value::Array(all)) => all.iter_mut().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    }
}

/// Drops the texts of an element that are not to be kept. An empty list matches nothing.
fn keep(statement: &mut Value, elements: &[&str], keep: impl Fn(&str) -> bool) {
    for element in elements {
        if let Some(value) = statement.get_mut(*element) {
            keep_texts(value, &keep);
        }
    }
}

fn keep_texts(value: &mut Value, keep: &impl Fn(&str) -> bool) {
    let all = match value.take() {
        Value::Array(all) => all,
        one => vec![one],
    };
    *value = all.into_iter().filter(|v| v.as_str().is_none_or(keep)).collect();
}

fn conditions(statement: &mut Value) -> Vec<(String, &mut Map<String, Value>)> {
    let Some(Value::Object(operators)) = statement.get_mut("Condition") else { return Vec::new() };
    operators
        .iter_mut()
        .filter_map(|(name, keys)| Some((name.to_ascii_lowercase(), keys.as_object_mut()?)))
        .collect()
}

/// Takes out the statements that the oracle takes for invalid.
fn drop_statements(policy: &mut Value, is_invalid: impl Fn(&mut Value) -> bool) {
    let all = match policy["Statement"].take() {
        Value::Array(all) => all,
        one => vec![one],
    };
    policy["Statement"] = all.into_iter().filter_map(|mut s| (!is_invalid(&mut s)).then_some(s)).collect();
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// `*:Get*` and `s?:GetObject` match no action.
fn wildcard_in_service(policy: &mut Value, _: &mut Request) {
    for s in statements(policy) {
        keep(s, &["Action", "NotAction"], |text| {
            !text.split_once(':').is_some_and(|(service, _)| has_wildcard(service))
        });
    }
}

/// `arn:aws:ec2:*:*:*/*` matches no resource.
fn wildcard_in_resource_type(policy: &mut Value, _: &mut Request) {
    for s in statements(policy) {
        keep(s, &["Resource", "NotResource"], |text| {
            let last = text.splitn(6, ':').nth(5).unwrap_or_default();
            !last.split_once('/').is_some_and(|(kind, _)| has_wildcard(kind))
        });
    }
}

/// A request for `*` is met by the text `*` only (and is left out by whatever matches it).
fn star_means_itself(policy: &mut Value, request: &mut Request) {
    if request.resource == "*" {
        for s in statements(policy) {
            keep(s, &["Resource"], |text| text == "*");
        }
    }
}

/// `*` and `arn:aws:s3*` are no ARNs, and match none.
fn arn_with_few_parts(policy: &mut Value, _: &mut Request) {
    for s in statements(policy) {
        for (operator, keys) in conditions(s) {
            if operator.contains("arn") {
                keys.values_mut().for_each(|v| keep_texts(v, &|text: &str| text.split(':').count() >= 6));
            }
        }
    }
}

fn variables_without_version(policy: &mut Value, _: &mut Request) {
    if policy.get("Version").is_none() {
        policy["Version"] = "2012-10-17".into();
    }
}

/// A statement with a variable that has no value in the request is invalid, negated or not.
fn variable_without_value(policy: &mut Value, request: &mut Request) {
    if policy["Version"] != "2012-10-17" {
        return;
    }
    let is_open = |text: &str| {
        text.split("${").skip(1).filter_map(|rest| rest.split_once('}')).any(|(key, _)| {
            let is_known = request.context.get(&key.to_ascii_lowercase()).is_some_and(|v| v.len() == 1);
            !is_known && !key.contains(',') && !["*", "?", "$"].contains(&key)
        })
    };
    let any = |value: &Value| match value {
        Value::String(text) => is_open(text),
        Value::Array(all) => all.iter().filter_map(Value::as_str).any(is_open),
        _ => false,
    };
    drop_statements(policy, |s| {
        s.get("NotResource").is_some_and(any)
            || conditions(s).iter().any(|(name, keys)| name.contains("not") && keys.values().any(any))
    });
}

/// A negated operator does not hold for a value that it cannot read.
fn value_of_another_kind(policy: &mut Value, request: &mut Request) {
    let is_read = |operator: &str, value: &str| {
        if operator.contains("numeric") {
            value.parse::<f64>().is_ok()
        } else if operator.contains("date") {
            value.parse::<f64>().is_ok() || value.contains('T')
        } else if operator.contains("arn") {
            value.split(':').count() >= 6
        } else if operator.contains("ip") {
            value.parse::<std::net::IpAddr>().is_ok()
        } else {
            true
        }
    };
    drop_statements(policy, |s| {
        conditions(s).iter().any(|(operator, keys)| {
            operator.contains("not")
                && keys.keys().any(|key| {
                    let values = request.context.get(&key.to_ascii_lowercase());
                    values.is_some_and(|v| v.iter().any(|v| !is_read(operator, v)))
                })
        })
    });
}

/// `2026-06-01` is the number 2026.
fn number_with_a_tail(policy: &mut Value, request: &mut Request) {
    let mut numbers = Vec::new();
    for s in statements(policy) {
        for (operator, keys) in conditions(s) {
            if operator.contains("numeric") {
                numbers.extend(keys.keys().map(|k| k.to_ascii_lowercase()));
            }
        }
    }
    for key in numbers {
        for value in request.context.get_mut(&key).into_iter().flatten() {
            let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
            if end > 0 && value.parse::<f64>().is_err() {
                value.truncate(end);
            }
        }
    }
}

/// An operator without `ForAllValues` or `ForAnyValue` holds for no key that is a set: one that another condition of the policy reads
/// as a set, or one with several values in the request.
fn plain_operator_on_a_set(policy: &mut Value, request: &mut Request) {
    let mut sets: Vec<String> =
        request.context.iter().filter(|(_, v)| v.len() > 1).map(|(k, _)| k.clone()).collect();
    for s in statements(policy) {
        for (operator, keys) in conditions(s) {
            if operator.starts_with("for") {
                sets.extend(keys.keys().map(|k| k.to_ascii_lowercase()));
            }
        }
    }
    drop_statements(policy, |s| {
        conditions(s).iter().any(|(operator, keys)| {
            let is_plain = !operator.starts_with("for") && operator != "null";
            let is_set = |key: &String| {
                let key = key.to_ascii_lowercase();
                sets.contains(&key) && request.context.contains_key(&key)
            };
            is_plain && keys.keys().any(is_set)
        })
    });
}

/// `NotIpAddress` does not hold for an address when the policy has a single one (no network) of the other family.
fn single_address_of_other_family(policy: &mut Value, request: &mut Request) {
    let is_other = |value: &str, text: &str| !text.contains('/') && value.contains(':') != text.contains(':');
    drop_statements(policy, |s| {
        conditions(s).into_iter().any(|(operator, keys)| {
            operator.starts_with("notipaddress")
                && keys.iter().any(|(key, texts)| {
                    let values = request.context.get(&key.to_ascii_lowercase());
                    let texts: Vec<&str> = match texts {
                        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
                        one => one.as_str().into_iter().collect(),
                    };
                    values.into_iter().flatten().any(|v| texts.iter().any(|t| is_other(v, t)))
                })
        })
    });
}

/// `arn:aws:iam::111111111111` is an ARN whose last part is empty.
fn value_with_few_parts(policy: &mut Value, request: &mut Request) {
    let mut keys_of_arns = Vec::new();
    for s in statements(policy) {
        for (operator, keys) in conditions(s) {
            if operator.contains("arn") {
                keys_of_arns.extend(keys.keys().map(|k| k.to_ascii_lowercase()));
            }
        }
    }
    for key in keys_of_arns {
        for value in request.context.get_mut(&key).into_iter().flatten() {
            if value.starts_with("arn:") && value.split(':').count() == 5 {
                value.push(':');
            }
        }
    }
}

/// Roles of IAM Identity Center are changed by that service only, whatever a policy allows.
fn reserved_role(policy: &mut Value, request: &mut Request) {
    if request.action.to_ascii_lowercase().starts_with("iam:")
        && request.resource.contains(":role/aws-reserved/")
    {
        drop_statements(policy, |s| s["Effect"] == "Allow");
    }
}

/// `sts:GetCallerIdentity` cannot be denied.
fn who_am_i(policy: &mut Value, request: &mut Request) {
    if request.action.eq_ignore_ascii_case("sts:GetCallerIdentity") {
        *policy = serde_json::json!({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    }
}
