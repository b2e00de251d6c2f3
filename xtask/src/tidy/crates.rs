//! T1–T4 and T10: the crate table, the edge table, the never-edges N1–N7, purity, and the reasons for dependencies.

use super::{Breach, Verdict, between, files, read, relative};
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Crates in flow order, as the architecture page lists them. Those without content yet have no folder.
pub const FLOW: [&str; 17] = [
    "model",
    "collect",
    "shape",
    "vault",
    "query",
    "forward",
    "aws",
    "inventory",
    "detect",
    "assess",
    "access",
    "findings",
    "alert",
    "prove",
    "report",
    "web",
    "avouch",
];

/// N3: synchronous, no files, no network, no clock.
const PURE: [&str; 6] = ["shape", "detect", "assess", "access", "findings", "report"];

/// The workspace as cargo sees it.
pub struct Graph {
    /// crate → its workspace dependencies, (normal, dev).
    pub edges: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>,
    /// crate → its direct third-party dependencies.
    pub outside: BTreeMap<String, BTreeSet<String>>,
    pub descriptions: BTreeMap<String, String>,
    /// Member manifests with a `features` or `default-features` key of a dependency.
    manifests: BTreeMap<String, String>,
}

impl Graph {
    pub fn read(root: &Path) -> Result<Graph> {
        let out = crate::cargo(root)
            .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
            .current_dir(root)
            .output()
            .context("cannot run cargo metadata")?;
        let out = if out.status.success() {
            out
        } else {
            crate::cargo(root)
                .args(["metadata", "--no-deps", "--format-version", "1"])
                .current_dir(root)
                .output()?
        };
        anyhow::ensure!(out.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
        Graph::parse(&serde_json::from_slice(&out.stdout)?)
    }

    pub fn parse(meta: &Value) -> Result<Graph> {
        let mut g = Graph {
            edges: BTreeMap::new(),
            outside: BTreeMap::new(),
            descriptions: BTreeMap::new(),
            manifests: BTreeMap::new(),
        };
        let packages = meta["packages"].as_array().context("no packages")?;
        let members: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
        for p in packages {
            let name = p["name"].as_str().unwrap_or_default().to_owned();
            g.descriptions.insert(name.clone(), p["description"].as_str().unwrap_or_default().to_owned());
            if let Some(path) = p["manifest_path"].as_str() {
                g.manifests.insert(name.clone(), std::fs::read_to_string(path).unwrap_or_default());
            }
            let (normal, dev) = g.edges.entry(name.clone()).or_default();
            let outside = g.outside.entry(name.clone()).or_default();
            for d in p["dependencies"].as_array().into_iter().flatten() {
                let dep = d["name"].as_str().unwrap_or_default().to_owned();
                let is_dev = d["kind"].as_str() == Some("dev");
                if members.contains(dep.as_str()) && d["path"].is_string() {
                    if is_dev {
                        dev.insert(dep)
                    } else {
                        normal.insert(dep)
                    };
                } else if !is_dev {
                    outside.insert(dep);
                }
            }
        }
        Ok(g)
    }

    fn built(&self) -> Vec<&str> {
        FLOW.iter().copied().filter(|c| self.edges.contains_key(*c)).collect()
    }

    fn depth(&self, name: &str) -> usize {
        self.edges.get(name).map_or(0, |(n, _)| n.iter().map(|d| 1 + self.depth(d)).max().unwrap_or(0))
    }
}

/// T1: the crate table equals the folders, in flow order, and each line equals the crate's description.
pub fn table(root: &Path, graph: &Graph) -> Result<Verdict> {
    let text = read(&root.join("ARCHITECTURE.md"))?;
    let want: Vec<String> = graph
        .built()
        .iter()
        .map(|c| {
            format!("| `{c}` | {} |", graph.descriptions.get(*c).map(String::as_str).unwrap_or_default())
        })
        .collect();
    let got = between(&text, "crates")?;
    let rows: Vec<&str> = got.lines().filter(|l| l.starts_with("| `")).collect();
    let mut breaches = Vec::new();
    if rows != want {
        breaches.push(Breach {
            rule: "T1",
            place: "ARCHITECTURE.md".into(),
            what: "the crate table differs from the folders under crates/ and their descriptions".into(),
            way_out: format!("put these rows between the `crates` marks:\n{}", want.join("\n")),
        });
    }
    for c in
        graph.edges.keys().filter(|c| root.join("crates").join(c).is_dir() && !FLOW.contains(&c.as_str()))
    {
        breaches.push(Breach {
            rule: "T1",
            place: format!("crates/{c}"),
            what: "not one of the 17 crates of the house".into(),
            way_out:
                "a new crate is an architecture change: add it to FLOW and to ARCHITECTURE.md with the reason"
                    .into(),
        });
    }
    Ok(Verdict { rule: "T1", proved: format!("crate table: {} crates", want.len()), breaches })
}

/// T2: the edge table equals cargo's, normal and dev edges apart.
pub fn edges(root: &Path, graph: &Graph) -> Result<Verdict> {
    let text = read(&root.join("ARCHITECTURE.md"))?;
    let built = graph.built();
    let list = |s: &BTreeSet<String>| {
        let v: Vec<&str> = built.iter().copied().filter(|c| s.contains(*c)).collect();
        if v.is_empty() { "–".to_owned() } else { v.join(" ") }
    };
    let want: Vec<String> = built
        .iter()
        .filter_map(|c| graph.edges.get(*c).map(|(n, d)| format!("| `{c}` | {} | {} |", list(n), list(d))))
        .collect();
    let got = between(&text, "edges")?;
    let rows: Vec<&str> = got.lines().filter(|l| l.starts_with("| `")).collect();
    let mut breaches = Vec::new();
    if rows != want {
        breaches.push(Breach {
            rule: "T2",
            place: "ARCHITECTURE.md".into(),
            what: "the edge table differs from cargo metadata".into(),
            way_out: format!(
                "a new edge is an architecture change; if it is meant, the rows are:\n{}",
                want.join("\n")
            ),
        });
    }
    let count: usize = built.iter().filter_map(|c| graph.edges.get(*c)).map(|(n, _)| n.len()).sum();
    let depth = built.iter().map(|c| graph.depth(c)).max().unwrap_or(0);
    let per = count as f64 / built.len().max(1) as f64;
    if per > 2.5 || depth > 6 {
        breaches.push(Breach {
            rule: "T2",
            place: "crates/".into(),
            what: format!("{per:.1} edges per crate (limit 2.5), depth {depth} (limit 6)"),
            way_out: "define a trait where the need is and implement it in avouch".into(),
        });
    }
    Ok(Verdict { rule: "T2", proved: format!("edges: {count}, {per:.1} per crate, depth {depth}"), breaches })
}

/// T3, the part that the graph shows: N1, N2, N3, N4, N5, N6, N7.
pub fn forbidden(graph: &Graph) -> Verdict {
    let mut breaches = Vec::new();
    let mut breach = |krate: &str, dep: &str, rule: &str, why: &str| {
        breaches.push(Breach {
            rule: "T3",
            place: format!("crates/{krate}/Cargo.toml"),
            what: format!("{rule}: `{krate}` must not depend on `{dep}`: {why}"),
            way_out: "define a trait in this crate and implement it in avouch, or move the code to the crate that may".into(),
        });
    };
    let confined: [(&[&str], &[&str], &str); 7] = [
        (&["datafusion"], &["query"], "its build sits on one short rebuild cone"),
        (&["arrow", "parquet"], &["vault", "query"], "batches are model::Batch, one arena and plain columns"),
        (&["axum", "maud"], &["web"], "pages are drawn in one crate"),
        (&["sqlx"], &["avouch"], "mutable state is the host's; others define storage traits"),
        (
            &["clap", "clap_complete", "clap_mangen", "anyhow"],
            &["avouch", "xtask", "e2e", "avouch-e2e", "avouch-bench"],
            "libraries have typed errors and no command line",
        ),
        (
            &["aws-config", "aws-sdk-s3", "aws-sdk-sqs", "aws-sdk-kinesis", "aws-sigv4"],
            &["aws"],
            "one crate names AWS SDKs",
        ),
        (&["object_store"], &["vault", "query"], "evidence is stored by the vault alone"),
    ];
    for (krate, outside) in &graph.outside {
        for dep in outside {
            for (names, allowed, why) in &confined {
                if names.contains(&dep.as_str()) && !allowed.contains(&krate.as_str()) {
                    breach(krate, dep, "N2", why);
                }
            }
            if krate == "model"
                && ["tokio", "async-trait", "hyper", "futures", "axum", "sqlx", "object_store", "rustls"]
                    .contains(&dep.as_str())
            {
                breach(krate, dep, "N1", "the nouns know no runtime, store, cloud or web library");
            }
            if PURE.contains(&krate.as_str())
                && ["tokio", "hyper", "hyper-util", "socket2", "rustix", "async-trait", "reqwest", "tracing"]
                    .contains(&dep.as_str())
            {
                breach(krate, dep, "N3", "pure crates are functions over data: no IO, no clock, no async");
            }
        }
    }
    for (krate, (normal, _)) in &graph.edges {
        for dep in normal {
            let k = krate.as_str();
            if k == "model" {
                breach(k, dep, "N1", "model depends on no crate of ours");
            }
            if ["detect", "assess", "access"].contains(&k)
                && ["detect", "assess", "access", "findings", "alert", "vault", "query"]
                    .contains(&dep.as_str())
            {
                breach(
                    k,
                    dep,
                    "N4",
                    "the three analyses never see each other, nor what happens to their findings, nor the store",
                );
            }
            if ["alert", "report"].contains(&k)
                && ["collect", "shape", "vault", "query", "inventory"].contains(&dep.as_str())
            {
                breach(k, dep, "N5", "the evidence is inside the finding");
            }
            if k == "web" && !["model", "report"].contains(&dep.as_str()) {
                breach(k, dep, "N6", "web acts through its own trait only");
            }
            if dep == "avouch" {
                breach(k, dep, "N7", "nobody depends on the binary");
            }
        }
    }
    Verdict { rule: "T3", proved: "never-edges N1-N7 hold in the dependency graph".into(), breaches }
}

/// T3, the part that only source paths show: N5, N6, V4's reader half, N7's re-exports.
pub fn paths(root: &Path) -> Result<Verdict> {
    let mut breaches = Vec::new();
    let rules: [(&str, &[&str], &str, &str); 4] = [
        (
            "crates/alert/src",
            &["model::Batch", "model::Row", "Batch,", "model::Resource"],
            "N5",
            "alert never sees an Event or a Resource",
        ),
        (
            "crates/report/src",
            &["model::Batch", "model::Row", "Batch,", "model::Resource"],
            "N5",
            "report never sees an Event or a Resource",
        ),
        (
            "crates/web/src",
            &["std::fs", "tokio::fs", "tokio::net::TcpStream", "std::process"],
            "N6",
            "web acts through its trait only",
        ),
        (
            "crates/vault/src/verify",
            &["crate::writer", "super::writer"],
            "V4",
            "the reader half never imports the writer half",
        ),
    ];
    let mut look = |dir: &str, needles: &[&str], rule: &'static str, why: &str| -> Result<()> {
        for file in files(&root.join(dir), &[".rs"])? {
            for (i, line) in read(&file)?.lines().enumerate() {
                let code = line.trim_start();
                if code.starts_with("//") {
                    continue;
                }
                if let Some(n) = needles.iter().find(|n| code.contains(**n)) {
                    breaches.push(Breach {
                        rule: "T3",
                        place: format!("{}:{}", relative(root, &file), i + 1),
                        what: format!("{rule}: `{n}`: {why}"),
                        way_out: "pass what is needed inside the finding, or through the crate's trait"
                            .into(),
                    });
                }
            }
        }
        Ok(())
    };
    for (dir, needles, rule, why) in rules {
        look(dir, needles, rule, why)?;
    }
    for half in ["read", "merkle", "format"] {
        look(
            &format!("crates/vault/src/{half}"),
            &["crate::writer", "super::writer"],
            "V4",
            "the reader half never imports the writer half",
        )?;
    }
    look(
        "crates/vault/src/proof.rs",
        &["crate::writer"],
        "V4",
        "the reader half never imports the writer half",
    )
    .ok();
    for krate in FLOW {
        for file in files(&root.join("crates").join(krate).join("src"), &[".rs"])? {
            for (i, line) in read(&file)?.lines().enumerate() {
                let names_ours = FLOW.iter().any(|c| {
                    line.trim_start().starts_with(&format!("pub use {c}::"))
                        || line.trim() == format!("pub use {c};")
                });
                if names_ours {
                    breaches.push(Breach {
                        rule: "T3",
                        place: format!("{}:{}", relative(root, &file), i + 1),
                        what: "N7: re-export of another crate of the workspace".into(),
                        way_out: "let the user import it from where it is defined".into(),
                    });
                }
            }
        }
    }
    Ok(Verdict {
        rule: "T3",
        proved: "never-edges that only source paths show: N5, N6, N7, reader half".into(),
        breaches,
    })
}

/// T4: pure crates name no clock, file, environment, network or randomness.
pub fn pure(root: &Path) -> Result<Verdict> {
    const NEEDLES: [&str; 12] = [
        "std::fs",
        "File::open",
        "std::env",
        "std::net::Tcp",
        "std::net::Udp",
        "SystemTime::now",
        "Instant::now",
        "std::thread",
        "std::process",
        "SystemRandom",
        "async fn",
        "std::io::stdin",
    ];
    let mut breaches = Vec::new();
    for krate in PURE {
        for file in files(&root.join("crates").join(krate).join("src"), &[".rs"])? {
            let text = read(&file)?;
            if file.file_stem().is_some_and(|s| s == "tests") {
                continue;
            }
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or(&text);
            for (i, line) in code.lines().enumerate() {
                let line = line.trim_start();
                if line.starts_with("//") || line.contains("#[cfg(test)]") {
                    continue;
                }
                if let Some(n) = NEEDLES.iter().find(|n| line.contains(**n)) {
                    breaches.push(Breach {
                        rule: "T4",
                        place: format!("{}:{}", relative(root, &file), i + 1),
                        what: format!("N3: `{n}` in a pure crate"),
                        way_out: "take the time, bytes or seed as a value from the caller".into(),
                    });
                }
            }
        }
    }
    Ok(Verdict {
        rule: "T4",
        proved: "pure crates name no clock, file, network or randomness (N3)".into(),
        breaches,
    })
}

/// T10: every direct dependency has its paragraph, and features are set in one place.
pub fn dependencies(root: &Path, graph: &Graph) -> Result<Verdict> {
    let text = read(&root.join("docs/dependencies.md"))?;
    let all: BTreeSet<&String> =
        graph.outside.iter().filter(|(k, _)| *k != "avouch-bench").flat_map(|(_, d)| d).collect();
    let mut breaches: Vec<Breach> = all
        .iter()
        .filter(|d| !text.contains(&format!("**{d}**")))
        .map(|d| Breach {
            rule: "T10",
            place: "docs/dependencies.md".into(),
            what: format!("no paragraph for `{d}`"),
            way_out: format!(
                "write `**{d}**` with: what, why this one, what was rejected, what removing it would take"
            ),
        })
        .collect();
    for (krate, manifest) in graph.manifests.iter().filter(|(k, _)| *k != "avouch-bench") {
        if manifest.lines().any(|l| {
            !l.trim_start().starts_with('#') && (l.contains("features =") || l.contains("default-features"))
        }) {
            breaches.push(Breach {
                rule: "T10",
                place: format!("{krate}/Cargo.toml"),
                what: "a member sets features of a dependency; the tests would then build it twice".into(),
                way_out: "move it to [workspace.dependencies]".into(),
            });
        }
    }
    Ok(Verdict {
        rule: "T10",
        proved: format!("{} direct dependencies, each with its reason", all.len()),
        breaches,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Each never-edge is tried on a scratch graph: adding the forbidden edge must name the rule.
    #[track_caller]
    fn check(krate: &str, dep: &str, ours: bool, rule: &str) {
        let mut dependency = json!({"name": dep, "kind": null});
        if ours {
            dependency["path"] = json!("/x");
        }
        let mut packages = vec![json!({"name": krate, "dependencies": [dependency]})];
        if ours {
            packages.push(json!({"name": dep, "dependencies": []}));
        }
        let graph = Graph::parse(&json!({"packages": packages})).unwrap();
        let found = forbidden(&graph).breaches;
        assert!(found.iter().any(|b| b.what.starts_with(rule)), "{krate} -> {dep} should break {rule}");
    }

    #[test]
    fn every_forbidden_edge_is_named() {
        check("model", "tokio", false, "N1");
        check("model", "shape", true, "N1");
        check("findings", "datafusion", false, "N2");
        check("collect", "axum", false, "N2");
        check("vault", "sqlx", false, "N2");
        check("prove", "anyhow", false, "N2");
        check("detect", "tokio", false, "N3");
        check("detect", "vault", true, "N4");
        check("assess", "access", true, "N4");
        check("alert", "vault", true, "N5");
        check("web", "query", true, "N6");
        check("query", "avouch", true, "N7");
    }

    #[test]
    fn an_allowed_edge_is_not_named() {
        let graph =
            Graph::parse(&json!({"packages": [{"name": "query", "dependencies": [{"name": "datafusion"}]}]}))
                .unwrap();
        assert!(forbidden(&graph).breaches.is_empty());
    }
}
