//! A shell script of AWS CLI calls that writes an estate folder, made from the table of calls.
//!
//! The script needs the AWS CLI and what POSIX gives (no `jq`). It only lists, gets and describes. What a call answers is put into
//! the file as it came; what was denied is put there as the error, so that nobody takes it for what is not there.

use crate::calls::{Asked, Call, Kind, Scope, kinds};
use std::fmt::Write as _;

/// What the script collects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Empty: all regions that are enabled in the account, asked when the script runs.
    pub regions: Vec<String>,
    /// Accounts, their place in the tree, and the policies of the organisation.
    pub organization: bool,
    /// Types of resources (`AWS::S3::Bucket`); empty: all of the table.
    pub kinds: Vec<String>,
}

/// The script. Types that the table does not know collect nothing; [`kinds`] has those it knows.
#[must_use]
pub fn collect_script(options: &Options) -> String {
    let wanted = |k: &&Kind| options.kinds.is_empty() || options.kinds.iter().any(|w| w == k.name);
    let mut s = String::from(HEAD);
    if options.regions.is_empty() {
        s.push_str(ALL_REGIONS);
    } else {
        let regions: Vec<String> = options.regions.iter().map(|r| quoted(r)).collect();
        let _ = writeln!(s, "printf '%s\\n' {} >\"$work/regions\"", regions.join(" "));
    }
    for kind in kinds().iter().filter(wanted).filter(|k| !k.lists.is_empty()) {
        collect_kind(&mut s, kind);
    }
    if options.organization {
        s.push_str(ORGANIZATION);
    }
    if let Some(kind) = kinds().iter().find(|k| k.lists.is_empty()) {
        collect_account(&mut s, kind);
    }
    s.push_str(TAIL);
    s
}

const HEAD: &str = include_str!("collect/head.sh");
const ORGANIZATION: &str = include_str!("collect/organization.sh");
const TAIL: &str = include_str!("collect/tail.sh");
const ALL_REGIONS: &str = r#"if ! rows "$work/regions" ec2 describe-regions --query 'Regions[].[RegionName]' --region "$home"; then
  say 'collect: cannot list the regions; name them when the script is made'
  exit 1
fi
"#;

/// A function per type, and its calls in the regions it is asked in.
fn collect_kind(s: &mut String, kind: &Kind) {
    let function = format!("collect_{}", kind.name.replace("::", "_"));
    let where_ = if kind.scope == Scope::Global { "global" } else { "$region" };
    let _ = writeln!(s, "\n# {}\n{function}() {{", kind.name);
    let last = kind.lists.len().saturating_sub(1);
    for (depth, list) in kind.lists.iter().enumerate() {
        let command = words(list);
        let how = if list.asked == Asked::Pages { "pages" } else { "rows" };
        let _ = writeln!(s, "  list {} \"{where_}\" {how} \"$work/rows{depth}\" {command}", list.operation);
        let names = if depth == last { "id second" } else { "outer rest" };
        let _ = writeln!(s, "  while IFS=\"$tab\" read -r {names}; do");
    }
    let _ = writeln!(s, "  begin");
    if kind.region.is_some() {
        let _ = writeln!(s, "  region=$home");
    }
    let name = match kind.called.split_once(" after ") {
        Some((from, text)) => format!("\"${{{from}##*{}}}\"", quoted(text)),
        None => format!("\"${}\"", kind.called),
    };
    let _ = writeln!(s, "  name={name}");
    let _ = writeln!(s, "  arn={}", quoted(kind.arn));
    let mut keys: Option<&Call> = None;
    for call in &kind.calls {
        match call.asked {
            Asked::Keys => keys = Some(call),
            Asked::PerKey => ask_per_key(s, keys.take(), call),
            _ => {
                let _ = writeln!(s, "  call {} {} {}", call.operation, quoted(call.none), words(call));
            }
        }
        if let Some((operation, key)) = kind.region
            && operation == call.operation
        {
            let _ = writeln!(s, "  where=$(region_in {})\n  region=${{where:-$home}}", quoted(key));
        }
    }
    let _ = writeln!(s, "  write {} \"$arn\" {} \"$name\"", quoted(kind.name), region_of(kind));
    for depth in (0..kind.lists.len()).rev() {
        let _ = writeln!(s, "  done <\"$work/rows{depth}\"");
    }
    let _ = writeln!(s, "}}");
    let _ = writeln!(s, "say {}", quoted(kind.name));
    let _ = match kind.scope {
        Scope::Global => writeln!(s, "region=$home\n{function}"),
        Scope::Regional => {
            writeln!(s, "while read -r region; do {function}; done <\"$work/regions\"")
        }
        Scope::In(region) => writeln!(s, "region={}\n{function}", quoted(region)),
    };
}

/// What stands in `region` of the file: nothing for what is global.
fn region_of(kind: &Kind) -> &'static str {
    match kind.scope {
        Scope::Regional => "\"$region\"",
        Scope::Global if kind.region.is_some() => "\"$where\"",
        // A multi-Region access point is asked in one region and stands in none.
        Scope::Global | Scope::In(_) => "''",
    }
}

fn ask_per_key(s: &mut String, keys: Option<&Call>, call: &Call) {
    let Some(keys) = keys else { return };
    let _ = writeln!(s, "  if rows \"$work/keys\" {}; then", words(keys));
    let _ = writeln!(s, "    map");
    let _ = writeln!(s, "    while IFS= read -r key; do");
    let _ = writeln!(s, "      ask {} {}", quoted(call.none), words(call));
    let _ = writeln!(s, "      entry \"$key\"");
    let _ = writeln!(s, "    done <\"$work/keys\"");
    let _ = writeln!(s, "    mapped; field {}", call.operation);
    let _ = writeln!(s, "  else field {}; fi", keys.operation);
}

/// The resource of the account itself comes last: failed listings stand in it.
fn collect_account(s: &mut String, kind: &Kind) {
    let _ = writeln!(s, "\n# {}\nsay {}\nbegin\nregion=$home", kind.name, quoted(kind.name));
    // A call that fails is told with it, not with the resource before.
    let _ = writeln!(s, "arn={}", quoted(kind.arn));
    for call in &kind.calls {
        if call.asked == Asked::PerRegion {
            let _ = writeln!(s, "while read -r region; do");
            let _ = writeln!(s, "  ask {} {}", quoted(call.none), words(call));
            let _ = writeln!(s, "  keep {} \"$region\"", call.operation);
            let _ = writeln!(s, "done <\"$work/regions\"\nregion=$home");
        } else {
            let _ = writeln!(s, "call {} {} {}", call.operation, quoted(call.none), words(call));
        }
    }
    let _ = writeln!(s, "kept\nwrite {} \"$arn\" '' \"$account\"", quoted(kind.name));
}

/// The words of a call for the shell, with the region.
fn words(call: &Call) -> String {
    let mut words: Vec<String> = call.command.split(' ').map(quoted).collect();
    if let Some(query) = call.query {
        words.push("--query".to_owned());
        // The first row of a page is the token of the next.
        let paged = (call.asked == Asked::Pages).then(|| format!("[[['+',NextToken]],{query}][]"));
        words.push(quoted(paged.as_deref().unwrap_or(query)));
    }
    words.push("--region \"$region\"".to_owned());
    words.join(" ")
}

/// One word for the shell; `{id}` and its like become variables.
fn quoted(word: &str) -> String {
    const VARIABLES: [&str; 8] = ["id", "second", "outer", "key", "name", "account", "region", "partition"];
    let plain = |t: &str| {
        let is_safe = |b: u8| b.is_ascii_alphanumeric() || b"-_./:".contains(&b);
        if !t.is_empty() && t.bytes().all(is_safe) {
            t.to_owned()
        } else {
            format!("'{}'", t.replace('\'', "'\\''"))
        }
    };
    let (mut out, mut rest) = (String::new(), word);
    while let Some((before, variable, after)) = rest.split_once('{').and_then(|(before, behind)| {
        let (variable, after) = behind.split_once('}')?;
        Some((before, variable, after))
    }) {
        if VARIABLES.contains(&variable) || variable == "arn" {
            if !before.is_empty() {
                out.push_str(&plain(before));
            }
            let _ = write!(out, "\"${variable}\"");
            rest = after;
        } else {
            // A brace of JMESPath: only the text up to it is done.
            let (head, tail) = rest.split_at(before.len() + 1);
            out.push_str(&plain(head));
            rest = tail;
        }
    }
    if !rest.is_empty() || out.is_empty() {
        out.push_str(&plain(rest));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, expect: &str) {
        assert_eq!(quoted(word), expect);
    }

    #[test]
    fn words_for_the_shell() {
        check("get-key-policy", "get-key-policy");
        check("", "''");
        check("{id}", "\"$id\"");
        check("arn:{partition}:s3:::{name}", "arn:\"$partition\":s3:::\"$name\"");
        check("a'b; rm", "'a'\\''b; rm'");
        check("{Tags:Tags}", "'{''Tags:Tags}'");
        check("[?n=='{id}']", "'[?n=='\\'''\"$id\"''\\'']'");
        check("{home}", "'{''home}'");
        check("$(x)", "'$(x)'");
    }
}
