//! Paths with `*`, `?`, `[…]` in a component and `**` for any depth.

use std::fs;
use std::path::{Path, PathBuf};

/// Deepest folder that `**` enters: deeper trees are loops or accidents.
const DEPTH_MAX: usize = 32;

/// Files that match `pattern`, sorted and each once. A leading dot is matched only by a pattern that begins with one. What cannot
/// be listed matches nothing.
pub(crate) fn expand(pattern: &str) -> Vec<PathBuf> {
    let (root, rest) = match pattern.strip_prefix('/') {
        Some(rest) => (PathBuf::from("/"), rest),
        None => (PathBuf::new(), pattern),
    };
    let parts: Vec<&str> = rest.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    let mut out = Vec::new();
    walk(&root, &parts, 0, &mut out);
    out.sort_unstable();
    out.dedup();
    out
}

fn walk(dir: &Path, parts: &[&str], depth: usize, out: &mut Vec<PathBuf>) {
    let Some((part, rest)) = parts.split_first() else {
        if dir.is_file() {
            out.push(dir.to_path_buf());
        }
        return;
    };
    if depth > DEPTH_MAX {
        return;
    }
    if *part == "**" {
        walk(dir, rest, depth, out);
        for path in entries(dir) {
            // Symbolic links are not followed here: they make trees without an end.
            let is_dir = fs::symlink_metadata(&path).is_ok_and(|m| m.is_dir());
            if is_dir && !name(&path).starts_with(b".") {
                walk(&path, parts, depth + 1, out);
            }
        }
    } else if part.contains(['*', '?', '[']) {
        for path in entries(dir) {
            let n = name(&path);
            if matches(part.as_bytes(), n) && (part.starts_with('.') || !n.starts_with(b".")) {
                walk(&path, rest, depth + 1, out);
            }
        }
    } else {
        walk(&dir.join(part), rest, depth + 1, out);
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    fs::read_dir(dir).map(|d| d.flatten().map(|e| e.path()).collect()).unwrap_or_default()
}

fn name(path: &Path) -> &[u8] {
    path.file_name().map_or(&[], |n| n.as_encoded_bytes())
}

/// One component. Backtracks to the last `*` only, so it is linear in practice and quadratic at worst.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
                continue;
            }
            Some(b'?') => {
                p += 1;
                t += 1;
                continue;
            }
            Some(b'[') => {
                if let (Some(c), Some((hit, next))) =
                    (text.get(t), class(pattern, p, text.get(t).copied().unwrap_or(0)))
                    && (hit || (next == p + 1 && *c == b'['))
                {
                    p = next;
                    t += 1;
                    continue;
                }
            }
            Some(c) if text.get(t) == Some(c) => {
                p += 1;
                t += 1;
                continue;
            }
            _ => {}
        }
        let Some((sp, st)) = star else { return false };
        star = Some((sp, st + 1));
        p = sp + 1;
        t = st + 1;
    }
    pattern.get(p..).unwrap_or(&[]).iter().all(|c| *c == b'*')
}

/// Whether `c` is in the class that begins at `at`, and where the class ends. A `[` without an end is a plain character.
fn class(pattern: &[u8], at: usize, c: u8) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(at + 1), Some(b'!' | b'^'));
    let first = at + 1 + usize::from(negated);
    let Some(length) = pattern.get(first + 1..).and_then(|r| r.iter().position(|b| *b == b']')) else {
        return Some((false, at + 1));
    };
    let end = first + 1 + length;
    let set = pattern.get(first..end)?;
    let mut hit = false;
    let mut i = 0;
    while let Some(low) = set.get(i) {
        if let (Some(b'-'), Some(high)) = (set.get(i + 1), set.get(i + 2)) {
            hit |= *low <= c && c <= *high;
            i += 3;
        } else {
            hit |= *low == c;
            i += 1;
        }
    }
    Some((hit != negated, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        for t in yes {
            assert!(matches(pattern.as_bytes(), t.as_bytes()), "{pattern} should match {t}");
        }
        for t in no {
            assert!(!matches(pattern.as_bytes(), t.as_bytes()), "{pattern} should not match {t}");
        }
    }

    #[test]
    fn components() {
        check("*.log", &["a.log", ".log", "a.b.log"], &["a.log.1", "log"]);
        check("app?.log", &["app1.log"], &["app.log", "app12.log"]);
        check("app[0-9x].log", &["app1.log", "appx.log"], &["appy.log", "app.log"]);
        check("app[!0-9].log", &["appy.log"], &["app1.log"]);
        check("a[b", &["a[b"], &["ab"]);
        check("*a*b*", &["xaxbx", "ab"], &["ba", "a"]);
        check("", &[""], &["a"]);
        check("*", &["", "anything"], &[]);
    }
}
