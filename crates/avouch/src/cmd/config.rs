//! `config check|schema|show`.

use super::finish;
use crate::answer::Answer;
use crate::cli::Global;
use crate::client;
use crate::config;
use crate::problem::Problem;
use clap::{Args, Subcommand};
use serde_json::Value;
use std::path::PathBuf;

#[derive(Args)]
pub struct ConfigCmd {
    #[command(subcommand)]
    pub what: What,
}

#[derive(Subcommand)]
pub enum What {
    /// Every problem at once, with place and hint
    Check {
        /// File to check [default: the one that `serve` would use]
        file: Option<PathBuf>,
    },
    /// The JSON Schema of avouch.yaml
    Schema,
    /// Every value with where it comes from
    Show,
}

pub fn run(args: &ConfigCmd, global: &Global) -> Result<u8, Problem> {
    match &args.what {
        What::Schema => {
            let text = serde_json::to_string_pretty(&config::schema()).unwrap_or_default();
            super::print(format!("{text}\n").as_bytes())
        }
        What::Check { file } => check(file.clone(), global),
        What::Show => show(global),
    }
}

fn path(file: Option<PathBuf>, global: &Global) -> Option<PathBuf> {
    file.or_else(|| global.config.clone()).or_else(|| {
        let data = global.data_dir.clone().unwrap_or_else(client::default_data_dir);
        config::find(&data)
    })
}

fn check(file: Option<PathBuf>, global: &Global) -> Result<u8, Problem> {
    let Some(path) = path(file, global) else {
        return Err(Problem::new("config.none", "there is no configuration to check")
            .hint("`avouch init log-proxy` writes a commented one; or name it: `avouch config check FILE`"));
    };
    let mut answer =
        Answer::new("avouch.config.check/1").query(serde_json::json!({"file": path.display().to_string()}));
    match config::load(Some(&path), &config::environment()) {
        Ok(loaded) => {
            let c = &loaded.config;
            answer.line(format!(
                "{}: good: {} sources, {} sinks, {} alert routes, {} datasets with a policy of their own",
                path.display(),
                c.sources.len(),
                c.sinks.len(),
                c.alerts.routes.len(),
                c.datasets.len()
            ));
            if c.sources.is_empty() {
                answer.line("nothing is collected yet: add a source under `sources:`");
            }
            answer.line("next: avouch serve");
        }
        Err(problems) => {
            for p in &problems {
                answer.items.push(serde_json::to_value(p).unwrap_or_default());
                answer.line(format!("{}\n", p.render()));
            }
            answer.line(format!("{}: {} problem(s)", path.display(), problems.len()));
            answer.worse(2);
        }
    }
    finish(&answer, global)
}

/// A configuration that cannot be used: the first problem as the error, with the number of the others.
pub fn refused(problems: Vec<Problem>) -> Problem {
    let more = problems.len().saturating_sub(1);
    let mut all = problems.into_iter();
    let Some(first) = all.next() else {
        return Problem::new("internal.config", "an empty list of problems").defect();
    };
    match more {
        0 => first,
        n => first.and(&format!("and {n} more: `avouch config check` shows all")),
    }
}

fn show(global: &Global) -> Result<u8, Problem> {
    let path = path(None, global);
    let loaded = config::load(path.as_deref(), &config::environment()).map_err(refused)?;
    let mut answer = Answer::new("avouch.config.show/1").table(&["key", "value", "from"]);
    let whole = serde_json::to_value(&loaded.config).unwrap_or_default();
    walk(&whole, "", &mut |pointer, value| {
        let from = loaded.tree.origin(pointer).unwrap_or_else(|| "default".to_owned());
        let secret = ["token", "password", "secret", "key"]
            .iter()
            .any(|s| pointer.rsplit('/').next().is_some_and(|k| k.contains(s)));
        let shown = match value {
            Value::String(s) if secret && !s.starts_with("file:") && !s.starts_with("env:") => {
                "(hidden)".to_owned()
            }
            Value::String(s) => s.clone(),
            other => other.to_string(),
        };
        let key = config::tree::dotted(pointer);
        answer.item(
            serde_json::json!({"key": key, "value": shown, "from": from}),
            vec![key.clone(), shown.clone(), from.clone()],
        );
    });
    finish(&answer, global)
}

fn walk(value: &Value, pointer: &str, each: &mut dyn FnMut(&str, &Value)) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (k, v) in map {
                walk(v, &format!("{pointer}/{}", k.replace('~', "~0").replace('/', "~1")), each);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (i, v) in items.iter().enumerate() {
                walk(v, &format!("{pointer}/{i}"), each);
            }
        }
        leaf => each(pointer, leaf),
    }
}
