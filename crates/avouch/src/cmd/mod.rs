//! Commands: those that work on their own (demo, serve, scan, init, verify, config, completions) and the bridge to the operations of
//! [`crate::ops`], in process or through the daemon.

pub mod access;
pub mod completions;
pub mod config;
pub mod demo;
pub mod docs;
pub mod init;
pub mod scan;
pub mod serve;
pub mod verify;

use crate::answer::{Answer, Form};
use crate::cli::{Cli, Command, Global};
use crate::client;
use crate::node::Node;
use crate::ops::{self, Op};
use crate::problem::Problem;
use std::io::IsTerminal;

/// Runs a command; the exit code, or the problem to print.
pub fn run(cli: Cli) -> Result<u8, Problem> {
    let global = cli.global;
    let op = match cli.command {
        Command::Demo(a) => return demo::run(&a, &global),
        Command::Scan(a) => return scan::run(&a, &global),
        Command::Init(a) => return init::run(&a, &global),
        Command::Serve(a) => return serve::run(&a, &global),
        Command::Verify(a) => return verify::run(&a, &global),
        Command::Access(a) => return access::run(&a, &global),
        Command::Config(a) => return config::run(&a, &global),
        Command::Completions(a) => return completions::completions(&a),
        Command::Man(a) => return completions::man(&a),
        Command::Help(a) => return completions::help(&a),
        Command::Docs(a) => return docs::run(&a),
        Command::Search(a) => Op::Search(a),
        Command::Sql(a) => Op::Sql(a),
        Command::Event(a) => Op::Event(a),
        Command::Findings(a) => Op::Findings(a),
        Command::Alerts(a) => Op::Alerts(a),
        Command::Controls(a) => Op::Controls(a),
        Command::Prove(a) => Op::Prove(a),
        Command::Proof(a) => Op::Proof(a),
        Command::Vault(a) => Op::Vault(a),
        Command::Rule(a) => Op::Rule(a),
        Command::Source(a) => Op::Source(a),
        Command::Sink(a) => Op::Sink(a),
        Command::Redrive(a) => Op::Redrive(a),
        Command::Status(a) => Op::Status(a),
        Command::Doctor(a) => Op::Doctor(a),
        Command::Admin(a) => Op::Admin(a),
    };
    let op = op.made_absolute();
    let target = client::find(&global)?;
    let alone = match &target.socket {
        Some(_) if !ops::reads_own_files(&op) => None,
        _ => ops::alone(&op, &configuration(&target.data, &global)?),
    };
    let answer = match (&target.socket, alone) {
        (_, Some(reply)) => reply?,
        (Some(socket), None) => client::ask(socket, &op)?,
        (None, None) => {
            let runtime = runtime()?;
            runtime.block_on(async {
                let node = Node::offline(&target.data, &global).await?;
                let me = client::peer_name(rustix::process::geteuid().as_raw());
                let reply = ops::perform(&op, &node, &me).await;
                node.close().await;
                reply
            })?
        }
    };
    finish(&answer, &global)
}

/// The configuration of a data folder, or the defaults where there is none.
fn configuration(data: &std::path::Path, global: &Global) -> Result<crate::config::Config, Problem> {
    let path = global.config.clone().or_else(|| crate::config::find(data));
    let loaded =
        crate::config::load(path.as_deref(), &crate::config::environment()).map_err(config::refused)?;
    Ok(loaded.config)
}

/// Prints an answer where and how the user asked, and gives the exit code with its one line of explanation.
pub fn finish(answer: &Answer, global: &Global) -> Result<u8, Problem> {
    for (path, text) in &answer.files {
        write(path, text.as_bytes())?;
    }
    let form = global.form();
    let mut bytes = Vec::new();
    let colour = global.output.is_none() && crate::cli::colour(global);
    answer.write(form, width(global, form), colour, &mut bytes).map_err(|e| {
        Problem::new("usage.no_such_form", e.to_string())
            .hint("`-o table`, `-o json`, `-o jsonl` and `-o csv` always work")
    })?;
    match &global.output {
        Some(path) => write(path, &bytes)?,
        None => {
            print(&bytes)?;
        }
    }
    let code = answer.exit_code(global.allow_incomplete);
    if code == 3 {
        crate::cli::say(&format!(
            "exit 3: it worked, but {} could not be looked at (listed above); --allow-incomplete accepts that",
            match answer.unknown.len() {
                0 | 1 => "one thing".to_owned(),
                n => format!("{n} things"),
            }
        ));
    }
    Ok(code)
}

/// Writes a file that the user named.
pub fn write(path: &std::path::Path, bytes: &[u8]) -> Result<(), Problem> {
    std::fs::write(path, bytes).map_err(|e| {
        Problem::new("output.not_written", format!("cannot write `{}`", path.display()))
            .because(&e)
            .hint("name a file in a folder that exists and that you may write")
    })
}

/// Writes bytes to standard output; a closed pipe ends quietly with 0.
pub fn print(bytes: &[u8]) -> Result<u8, Problem> {
    completions::write_out(bytes).map(|()| 0).map_err(|e| {
        Problem::new("output.not_written", "cannot write to standard output")
            .because(&e)
            .hint("write it to a file instead: `--output FILE`")
    })
}

/// Terminal width for tables, none when the output is not a terminal or `--wide` is given.
fn width(global: &Global, form: Form) -> Option<usize> {
    if form != Form::Table || global.wide || global.output.is_some() || !std::io::stdout().is_terminal() {
        return None;
    }
    let fd = std::io::stdout();
    rustix::termios::tcgetwinsize(fd).ok().map(|w| usize::from(w.ws_col)).filter(|w| *w >= 40)
}

pub fn runtime() -> Result<tokio::runtime::Runtime, Problem> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| {
        Problem::new("internal.runtime", "cannot start the runtime")
            .because(&e)
            .hint("raise the limits of threads and open files: `ulimit -u`, `ulimit -n`")
    })
}
