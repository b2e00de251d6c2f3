//! Words of a message: pure, and the same bytes for the same input (O1). Every text that came from outside is made visible
//! (`escape_controls`) before it stands where a person reads; the JSON keeps it as it is.

use crate::{Form, Item, Occasion};
use model::{Severity, Time, escape_controls};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Bytes of each part of a message: below the 256 KB that the narrowest receiver takes (SNS counts 262,144 with attributes).
pub const MESSAGE_BYTES_MAX: usize = 250_000;
/// Characters of a title: SNS and many ticket systems cut at 100.
pub const TITLE_CHARS_MAX: usize = 100;
/// Kept free for the closing line of a cut message.
const FOOT_BYTES: usize = 400;

/// A message ready to go: a channel takes the part that it can carry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Content {
    pub title: String,
    pub text: String,
    pub html: String,
    pub json: String,
}

/// What a message says besides its findings.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    pub id: &'a str,
    pub route: &'a str,
    pub label: Option<&'a str>,
    pub form: Form,
    pub created: Time,
}

#[must_use]
pub fn render(head: &Head<'_>, items: &[Item]) -> Content {
    let title = title(head, items);
    let intro = intro(head, items);
    Content {
        text: text(head, &title, &intro, items),
        html: html(head, &title, &intro, items),
        json: body(head, &title, items),
        title,
    }
}

fn upper_band(s: Severity) -> String {
    s.band().to_uppercase()
}

/// What is in it, by band, worst first: `1 critical, 2 high`; what is over is counted apart.
fn counts(items: &[Item]) -> Vec<(&'static str, usize)> {
    ["critical", "high", "medium", "low", "info"]
        .into_iter()
        .map(|b| {
            (b, items.iter().filter(|i| i.occasion != Occasion::Recovered && i.severity.band() == b).count())
        })
        .filter(|(_, n)| *n > 0)
        .collect()
}

fn recovered(items: &[Item]) -> usize {
    items.iter().filter(|i| i.occasion == Occasion::Recovered).count()
}

fn counted(items: &[Item]) -> String {
    let mut parts: Vec<String> = counts(items).into_iter().map(|(b, n)| format!("{n} {b}")).collect();
    let over = recovered(items);
    if over > 0 {
        parts.push(format!("{over} over"));
    }
    parts.join(", ")
}

fn title(head: &Head<'_>, items: &[Item]) -> String {
    let mut t = String::new();
    if items.iter().any(|i| i.drill.is_some()) {
        t.push_str("DRILL ");
    }
    if items.iter().any(|i| i.occasion == Occasion::Test) {
        t.push_str("TEST ");
    }
    if let Some(l) = head.label {
        let _ = write!(t, "[{}] ", escape_controls(l));
    }
    match (head.form, items) {
        (Form::Assessment, _) if !counts(items).is_empty() => t.push_str(&assessment_title(items)),
        (_, [one]) => {
            t.push_str(&mark(one));
            t.push(' ');
            t.push_str(&escape_controls(&one.title));
            let place = place(one);
            if !place.is_empty() {
                let _ = write!(t, " · {place}");
            }
        }
        (_, many) => {
            let _ = write!(t, "{} findings: {}", many.len(), counted(many));
        }
    }
    shorten(&t)
}

/// All critical: "Critical Findings"; anything else says what is in it, never less.
fn assessment_title(items: &[Item]) -> String {
    let bands: Vec<&str> = counts(items).into_iter().map(|(b, _)| b).collect();
    let what = match bands.as_slice() {
        ["critical"] => "Critical".to_owned(),
        ["critical", "high"] | ["high"] => "Critical and High".to_owned(),
        several => {
            let words: Vec<String> = several.iter().map(|b| capital(b)).collect();
            match words.split_last() {
                Some((last, [])) => last.clone(),
                Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
                None => String::new(),
            }
        }
    };
    format!("Security Assessment - {what} Findings")
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

/// `[CRITICAL]`, `[HIGH, raised]`, `[RECOVERED]`.
fn mark(i: &Item) -> String {
    match i.occasion {
        Occasion::Opened | Occasion::Test => format!("[{}]", upper_band(i.severity)),
        Occasion::Raised => format!("[{}, raised]", upper_band(i.severity)),
        Occasion::Repeated => format!("[{}, still, {} times]", upper_band(i.severity), i.count),
        Occasion::Recovered => "[RECOVERED]".to_owned(),
    }
}

fn place(i: &Item) -> String {
    let parts: Vec<String> =
        [&i.account, &i.region].into_iter().flatten().map(|s| escape_controls(s)).collect();
    parts.join(" ")
}

fn shorten(t: &str) -> String {
    if t.chars().count() <= TITLE_CHARS_MAX {
        return t.to_owned();
    }
    let mut out: String = t.chars().take(TITLE_CHARS_MAX - 1).collect();
    out.push('…');
    out
}

fn intro(head: &Head<'_>, items: &[Item]) -> String {
    let drill = items.iter().find_map(|i| i.drill.as_deref());
    if let Some(run) = drill {
        return format!(
            "This is a drill (run {}). Nothing happened; treat it as if it had.",
            escape_controls(run)
        );
    }
    if items.iter().any(|i| i.occasion == Occasion::Test) {
        return format!("This is a test of the route `{}`. Nothing happened.", escape_controls(head.route));
    }
    match (head.form, items) {
        (Form::Assessment, _) => {
            let bands: Vec<&str> = counts(items).into_iter().map(|(b, _)| b).collect();
            let n = items.len() - recovered(items);
            if bands.iter().all(|b| matches!(*b, "critical" | "high")) && n > 0 {
                format!("Found {n} critical or high severity issues:")
            } else {
                format!("Found {n} issues: {}", counted(items))
            }
        }
        (_, [_]) => String::new(),
        (_, many) => format!("{} findings: {}.", many.len(), counted(many)),
    }
}

/// Adds one piece per item as long as it fits; returns how many did not.
fn fill(out: &mut String, items: &[Item], piece: impl Fn(usize, &Item) -> String) -> usize {
    for (n, item) in items.iter().enumerate() {
        let p = piece(n, item);
        if out.len() + p.len() + FOOT_BYTES > MESSAGE_BYTES_MAX {
            return items.len() - n;
        }
        out.push_str(&p);
    }
    0
}

fn rest(left_out: usize, head: &Head<'_>) -> String {
    format!("and {left_out} more: `avouch findings list` shows all of them (message {})", head.id)
}

fn text(head: &Head<'_>, title: &str, intro: &str, items: &[Item]) -> String {
    let mut out = format!("{title}\n");
    if !intro.is_empty() {
        let _ = write!(out, "\n{intro}\n");
    }
    let left_out = match head.form {
        Form::Assessment => {
            out.push('\n');
            fill(&mut out, items, |n, i| format!("{}. [{}] {}\n", n + 1, upper_band(i.severity), subject(i)))
        }
        Form::Plain => fill(&mut out, items, |_, i| text_item(i)),
    };
    if left_out > 0 {
        let _ = write!(out, "\n{}\n", rest(left_out, head));
    }
    let _ = write!(out, "\nAvouch, route {}, {}\n", escape_controls(head.route), head.created);
    out
}

fn text_item(i: &Item) -> String {
    let mut out = format!("\n{} {}\n", mark(i), escape_controls(&i.title));
    for (name, value) in lines(i) {
        let _ = writeln!(out, "  {:<11} {}", format!("{name}:"), escape_controls(&value));
    }
    out
}

/// What is said about a finding, in order: name, value.
fn lines(i: &Item) -> Vec<(&'static str, String)> {
    let mut out: Vec<(&'static str, String)> = Vec::new();
    let mut put = |name, value: &str| {
        if !value.is_empty() {
            out.push((name, value.to_owned()));
        }
    };
    if let Some(t) = i.told_first {
        put("First told", &t.to_string());
    }
    put("Severity", &format!("{} ({})", i.severity, i.severity.band()));
    put("Means", &i.why);
    if i.occasion != Occasion::Recovered {
        put("Do", &i.fix);
    }
    put("Type", &i.finding_type);
    put("Rule", &i.rule);
    put("Account", i.account.as_deref().unwrap_or_default());
    put("Region", i.region.as_deref().unwrap_or_default());
    put("Resource", i.resource.as_deref().unwrap_or_default());
    let joined = |pairs: &[(String, String)]| {
        pairs.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ")
    };
    put("Key", &joined(&i.key));
    let times = if i.count == 1 { "once".to_owned() } else { format!("{} times", i.count) };
    put("Seen", &format!("{times}, first {}, last {}", i.first_seen, i.last_seen));
    if let Some(e) = &i.evidence {
        put("Evidence", &format!("{} at {} ({}) {}", e.position, e.time, e.event, joined(&e.fields)));
    }
    put("Finding", &i.link.clone().unwrap_or_else(|| format!("avouch findings show {}", i.id)));
    put("Console", i.console.as_deref().unwrap_or_default());
    out
}

/// `IAM User: ana`: kind and name of what it is about.
fn subject(i: &Item) -> String {
    // `Purpose:ResourceKind/Detail`.
    let kind = i.finding_type.split_once(':').map_or("", |(_, r)| r);
    let kind = spaced(kind.split_once('/').map_or(kind, |(k, _)| k));
    let name = i.resource.as_deref().map(|r| r.rsplit(['/', ':']).next().unwrap_or(r));
    match name.filter(|n| !n.is_empty()) {
        Some(name) if !kind.is_empty() => format!("{}: {}", escape_controls(&kind), escape_controls(name)),
        _ => escape_controls(&i.title),
    }
}

/// `IAMUser` → `IAM User`.
fn spaced(kind: &str) -> String {
    let mut out = String::new();
    let chars: Vec<char> = kind.chars().collect();
    for (n, c) in chars.iter().enumerate() {
        let before = n.checked_sub(1).and_then(|p| chars.get(p));
        let is_next_lower = chars.get(n + 1).is_some_and(|x| x.is_lowercase());
        if c.is_uppercase() && before.is_some_and(|b| b.is_lowercase() || (b.is_uppercase() && is_next_lower))
        {
            out.push(' ');
        }
        out.push(*c);
    }
    out
}

fn html(head: &Head<'_>, title: &str, intro: &str, items: &[Item]) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title></head>\n<body>\n<h1>{0}</h1>\n",
        entities(title)
    );
    if !intro.is_empty() {
        let _ = writeln!(out, "<p>{}</p>", entities(intro));
    }
    let left_out = fill(&mut out, items, |_, i| html_item(i));
    if left_out > 0 {
        let _ = writeln!(out, "<p>{}</p>", entities(&rest(left_out, head)));
    }
    let _ = write!(out, "<p>Avouch, route {}, {}</p>\n</body></html>\n", entities(head.route), head.created);
    out
}

fn html_item(i: &Item) -> String {
    let mut out = format!("<h2>{} {}</h2>\n<table>\n", entities(&mark(i)), entities(&i.title));
    for (name, value) in lines(i) {
        let shown = entities(&value);
        let is_link = matches!(name, "Finding" | "Console") && value.starts_with("https://");
        let shown = if is_link { format!("<a href=\"{shown}\">{shown}</a>") } else { shown };
        let _ = writeln!(out, "<tr><th align=\"left\">{name}</th><td>{shown}</td></tr>");
    }
    out.push_str("</table>\n");
    out
}

/// Visible controls, then HTML's own characters.
fn entities(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for c in escape_controls(s).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// What a webhook gets. Keys are only ever added.
fn body(head: &Head<'_>, title: &str, items: &[Item]) -> String {
    let mut findings = Vec::new();
    let mut size = FOOT_BYTES + title.len();
    for i in items {
        let one = json_item(i);
        size += one.to_string().len() + 1;
        if size + FOOT_BYTES > MESSAGE_BYTES_MAX {
            break;
        }
        findings.push(one);
    }
    let counts: serde_json::Map<String, Value> =
        counts(items).into_iter().map(|(b, n)| (b.to_owned(), json!(n))).collect();
    json!({
        "schema": "avouch.alert/1",
        "id": head.id,
        "route": head.route,
        "created": head.created,
        "title": title,
        "drill": items.iter().find_map(|i| i.drill.as_deref()),
        "test": items.iter().any(|i| i.occasion == Occasion::Test),
        "counts": counts,
        "recovered": recovered(items),
        "omitted": items.len() - findings.len(),
        "findings": findings,
    })
    .to_string()
}

fn json_item(i: &Item) -> Value {
    let pairs = |list: &[(String, String)]| -> serde_json::Map<String, Value> {
        list.iter().map(|(k, v)| (k.clone(), json!(v))).collect()
    };
    json!({
        "id": i.id,
        "occasion": i.occasion,
        "severity": i.severity,
        "band": i.severity.band(),
        "type": i.finding_type,
        "title": i.title,
        "why": i.why,
        "fix": i.fix,
        "rule": i.rule,
        "account": i.account,
        "region": i.region,
        "resource": i.resource,
        "key": pairs(&i.key),
        "count": i.count,
        "first_seen": i.first_seen,
        "last_seen": i.last_seen,
        "drill": i.drill,
        "told_first": i.told_first,
        "evidence": i.evidence.as_ref().map(|e| json!({
            "position": e.position, "event": e.event, "time": e.time, "fields": pairs(&e.fields),
        })),
        "links": { "finding": i.link, "console": i.console },
    })
}
