//! What an account could not list: resources that nobody has seen may be open to anybody (F1).

use super::{Unread, blank};
use crate::bundle::Bundle;
use model::Resource;
use serde_json::Value;

/// A bundle of nothing but what is unknown; `None` where all was listed. Listings that failed stand under their operation, those of
/// one region under its name.
pub(super) fn account(resource: &Resource) -> Option<Bundle> {
    let is_listing = |operation: &&String| operation.starts_with("List") || operation.starts_with("Describe");
    let mut out = blank(resource, &[], false);
    for (operation, answer) in resource.config.iter().filter(|(operation, _)| is_listing(operation)) {
        out.unknown.extend(answer.get("error").map(|error| unread(operation, None, error)));
        let regions = answer.as_object().into_iter().flatten();
        out.unknown.extend(
            regions.filter_map(|(region, of)| Some(unread(operation, Some(region), of.get("error")?))),
        );
    }
    (!out.unknown.is_empty()).then_some(out)
}

fn unread(operation: &str, region: Option<&String>, error: &Value) -> Unread {
    let text = |name: &str| error.get(name).and_then(Value::as_str);
    // "User: … is not authorized to perform: kms:ListKeys on resource: …"
    let permission = text("message")
        .and_then(|m| m.split("perform: ").nth(1))
        .and_then(|m| m.split(|c: char| !(c.is_ascii_alphanumeric() || [':', '-'].contains(&c))).next())
        .filter(|p| p.contains(':'))
        .map(str::to_owned);
    let place = region.map(|r| format!(" in {r}")).unwrap_or_default();
    Unread {
        operation: format!("{operation}{place}"),
        permission,
        why: text("code").unwrap_or("it failed").to_owned(),
    }
}
