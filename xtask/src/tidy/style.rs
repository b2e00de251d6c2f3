//! T8 and T9: the web rules that make the content policy hold, and the exceptions that need a reason.

use super::{Breach, Verdict, files, read, relative};
use anyhow::Result;
use std::path::Path;

/// T8: no inline script or style, no htmx feature that needs eval, no asset from elsewhere, unescaped HTML only where allowed.
pub fn web(root: &Path) -> Result<Verdict> {
    const RAW_HTML_ALLOWED: [&str; 2] = ["crates/web/src/page/mod.rs", "crates/web/src/page/picture.rs"];
    let mut breaches = Vec::new();
    let mut n = 0;
    for file in files(&root.join("crates/web/src"), &[".rs"])? {
        n += 1;
        let place = relative(root, &file);
        for (i, line) in read(&file)?.lines().enumerate() {
            let code = line.trim_start();
            if code.starts_with("//") {
                continue;
            }
            let mut breach = |what: &str, way_out: &str| {
                breaches.push(Breach {
                    rule: "T8",
                    place: format!("{place}:{}", i + 1),
                    what: what.into(),
                    way_out: way_out.into(),
                });
            };
            if code.contains(" style=") || code.contains("style {") {
                breach(
                    "inline style breaks the content policy",
                    "use a class of app.css or an SVG presentation attribute",
                );
            }
            if !code.starts_with('"')
                && ["hx-on", "hx-ext", "js:", "onclick"].iter().any(|b| code.contains(b))
            {
                breach("needs eval or inline script", "plain hx-get/hx-post/hx-target, or app.js");
            }
            if ["src=\"http", "href=\"http://", "url(http"].iter().any(|b| code.contains(b)) {
                breach("asset from outside the binary (O2)", "embed it under crates/web/assets");
            }
            if code.contains("PreEscaped(") && !RAW_HTML_ALLOWED.contains(&place.as_str()) {
                breach(
                    "unescaped HTML outside the two allowed files",
                    "render it as text, or move it to layout.rs or picture.rs with its reason",
                );
            }
        }
    }
    Ok(Verdict {
        rule: "T8",
        proved: format!("{n} web files without inline script, style or foreign asset"),
        breaches,
    })
}

/// T9: `#[expect]` has a reason, `TODO(topic)` its form, no junk-drawer modules, no `#[allow]`, large files listed, no path of the compiling
/// checkout.
pub fn exceptions(root: &Path) -> Result<Verdict> {
    let list = std::fs::read_to_string(root.join("xtask/size-exceptions.txt")).unwrap_or_default();
    let mut breaches = Vec::new();
    let mut large = 0;
    for file in ["crates", "xtask", "tests"]
        .iter()
        .map(|d| files(&root.join(d), &[".rs"]))
        .collect::<Result<Vec<_>>>()?
        .concat()
    {
        let text = read(&file)?;
        let place = relative(root, &file);
        let stem = file.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        if ["common", "utils", "util", "shared", "misc", "helpers"].contains(&stem) {
            breaches.push(Breach {
                rule: "T9",
                place: place.clone(),
                what: "a junk-drawer module".into(),
                way_out: "name it after its one subject".into(),
            });
        }
        let body = text.split("#[cfg(test)]\nmod ").next().unwrap_or(&text);
        let in_tests = stem == "tests" || file.components().any(|c| c.as_os_str() == "tests");
        if !in_tests && body.lines().count() > 500 {
            large += 1;
            if !list.lines().any(|l| l.split_whitespace().next() == Some(place.as_str())) {
                breaches.push(Breach {
                    rule: "T9",
                    place: place.clone(),
                    what: format!(
                        "{} lines without tests (advice is 500) and not on the list",
                        body.lines().count()
                    ),
                    way_out: "split it by subject, or add `path  reason` to xtask/size-exceptions.txt".into(),
                });
            }
        }
        for (i, line) in text.lines().enumerate() {
            let mut breach = |what: &str, way_out: &str| {
                breaches.push(Breach {
                    rule: "T9",
                    place: format!("{place}:{}", i + 1),
                    what: what.into(),
                    way_out: way_out.into(),
                });
            };
            let code = line.trim_start();
            if (code.starts_with("#[allow(") || code.starts_with("#![allow(")) && !in_tests {
                breach("`allow` in library code", "`#[expect(lint, reason = \"…\")]` on the smallest item");
            }
            if code.contains(concat!("env!(\"CARGO_MANIFEST", "_DIR\")")) {
                breach(
                    "the folder of the checkout that compiled it: wrong as soon as a build cache serves two",
                    "`std::env::var(\"CARGO_MANIFEST_DIR\")` when the test runs",
                );
            }
            if code.starts_with("//")
                && code.contains("TODO")
                && !code.contains("TODO(")
                && !place.starts_with("xtask/")
            {
                breach("TODO without a topic", "`TODO(topic): a sentence that a stranger understands`");
            }
        }
    }
    Ok(Verdict {
        rule: "T9",
        proved: format!(
            "exceptions have reasons; {large} files over 500 lines; {} marks open",
            marks(root)?.len()
        ),
        breaches,
    })
}

/// Open `TODO(topic)` and `BUG` marks, one a line.
pub fn marks(root: &Path) -> Result<Vec<String>> {
    let mut out = Vec::new();
    for file in files(&root.join("crates"), &[".rs"])? {
        for (i, line) in read(&file)?.lines().enumerate() {
            if let Some((_, comment)) = line.split_once("//")
                && (comment.contains("TODO(") || comment.contains("BUG:") || comment.contains("BUG("))
            {
                out.push(format!("{}:{}: {}", relative(root, &file), i + 1, comment.trim()));
            }
        }
    }
    Ok(out)
}
