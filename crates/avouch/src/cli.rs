//! The command line: one definition per command drives parsing, `--help`, completions, man pages and the generated reference.

use crate::answer::Form;
use crate::cmd;
use crate::ops;
use crate::problem::Problem;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

macro_rules! exit_codes {
    () => {
        "exit codes: 0 worked, 1 the answer is bad, 2 did not work, 3 some things could not be looked at, 4 evidence damaged"
    };
}

/// Printed under every help page: what a script may rely on.
pub const EXIT_CODES: &str = exit_codes!();

#[derive(Parser)]
#[command(
    name = "avouch",
    version,
    about = "Security monitoring that proves itself",
    after_help = concat!("every command: avouch help more\n", exit_codes!()),
    disable_help_subcommand = true,
    propagate_version = true,
    max_term_width = 110
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug, Default)]
pub struct Global {
    /// Data folder [default: the running daemon's, else the running demo's, else /var/lib/avouch for root, else the XDG data folder]
    #[arg(long, global = true, env = "AVOUCH_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Configuration file
    #[arg(
        long,
        short = 'c',
        global = true,
        env = "AVOUCH_CONFIG",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub config: Option<PathBuf>,
    /// Output form: table, json, jsonl, csv; html where a command says so
    #[arg(
        long = "format",
        short = 'o',
        global = true,
        value_enum,
        hide_possible_values = true,
        value_name = "FORM"
    )]
    pub form: Option<Form>,
    /// Short for `-o json`
    #[arg(long, global = true, conflicts_with = "form")]
    pub json: bool,
    /// Write the answer to a file instead of standard output
    #[arg(long, short = 'O', global = true, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Do not shorten tables to the terminal
    #[arg(long, global = true)]
    pub wide: bool,
    /// Accept that some things could not be looked at (exit 0 instead of 3)
    #[arg(long, global = true)]
    pub allow_incomplete: bool,
    /// When to colour
    #[arg(long, global = true, value_enum, default_value_t)]
    pub color: Color,
    /// Less talk on standard error
    #[arg(long, short = 'q', global = true)]
    pub quiet: bool,
    /// More talk on standard error (repeat for more)
    #[arg(long, short = 'v', global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl Global {
    pub fn form(&self) -> Form {
        if self.json { Form::Json } else { self.form.unwrap_or_default() }
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

/// The eight commands a newcomer needs come first; the others are listed by `avouch help more`.
#[derive(Subcommand)]
pub enum Command {
    /// See the whole product on made-up data
    #[command(after_help = EXIT_CODES)]
    Demo(cmd::demo::Demo),
    /// Look at log files once, without a daemon
    #[command(after_help = EXIT_CODES)]
    Scan(cmd::scan::Scan),
    /// Write a commented configuration for your case
    #[command(after_help = EXIT_CODES)]
    Init(cmd::init::Init),
    /// Run it
    #[command(after_help = EXIT_CODES)]
    Serve(cmd::serve::Serve),
    /// What happened
    #[command(after_help = EXIT_CODES)]
    Search(ops::search::Search),
    /// What is wrong, and what to do about it
    #[command(after_help = EXIT_CODES, visible_alias = "finding")]
    Findings(ops::findings::Findings),
    /// What you claim: set up? working? last tested?
    #[command(after_help = EXIT_CODES, visible_alias = "control")]
    Controls(ops::controls::Controls),
    /// Check the evidence yourself, offline
    #[command(after_help = EXIT_CODES)]
    Verify(cmd::verify::Verify),

    /// Questions in SQL, over everything kept
    #[command(hide = true, after_help = EXIT_CODES)]
    Sql(ops::search::Sql),
    /// One event: six lines, envelope, fields, raw bytes, proof
    #[command(hide = true, after_help = EXIT_CODES, alias = "events")]
    Event(ops::event::Event),
    /// Exercise controls now, with evidence
    #[command(hide = true, after_help = EXIT_CODES)]
    Prove(ops::controls::Prove),
    /// Proofs: list, show, export for a third party
    #[command(hide = true, after_help = EXIT_CODES, alias = "proofs")]
    Proof(ops::controls::ProofCmd),
    /// Segments, checkpoints, retention
    #[command(hide = true, after_help = EXIT_CODES)]
    Vault(ops::vault::VaultCmd),
    /// Detection rules: list, show, test, explain
    #[command(hide = true, after_help = EXIT_CODES, alias = "rules")]
    Rule(ops::rule::Rule),
    /// Who can reach what: policy checks for pipelines
    #[command(hide = true, after_help = EXIT_CODES)]
    Access(cmd::access::Access),
    /// Where events come from
    #[command(hide = true, after_help = EXIT_CODES, alias = "sources")]
    Source(ops::pipeline::Source),
    /// Where events go
    #[command(hide = true, after_help = EXIT_CODES, alias = "sinks")]
    Sink(ops::pipeline::Sink),
    /// Dead letters: list, show, send again
    #[command(hide = true, after_help = EXIT_CODES)]
    Redrive(ops::pipeline::Redrive),
    /// Alerts and their delivery
    #[command(hide = true, after_help = EXIT_CODES, alias = "alert")]
    Alerts(ops::findings::Alerts),
    /// Health of every source, sink and cursor
    #[command(hide = true, after_help = EXIT_CODES)]
    Status(ops::pipeline::Status),
    /// Disk, ports, clock, keys, size and cost
    #[command(hide = true, after_help = EXIT_CODES)]
    Doctor(ops::doctor::Doctor),
    /// The configuration: check, schema, show
    #[command(hide = true, after_help = EXIT_CODES)]
    Config(cmd::config::ConfigCmd),
    /// Housekeeping on the host: sign-in links, intake keys
    #[command(hide = true, after_help = EXIT_CODES)]
    Admin(ops::admin::Admin),
    /// Shell completions
    #[command(hide = true, after_help = EXIT_CODES)]
    Completions(cmd::completions::Completions),
    /// Manual pages
    #[command(hide = true, after_help = EXIT_CODES)]
    Man(cmd::completions::Man),
    /// Generated documents (for `cargo xtask gen`)
    #[command(hide = true)]
    Docs(cmd::docs::Docs),
    /// Help: `avouch help more` lists every command
    #[command(hide = true)]
    Help(cmd::completions::Help),
}

pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // clap ends usage errors with 2 and help with 0, the codes of `interface.md` 1.3.
            let code = u8::try_from(e.exit_code()).unwrap_or(2);
            let _ = e.print();
            return ExitCode::from(code);
        }
    };
    let global = cli.global.clone();
    match cmd::run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(problem) => {
            report(&problem, global.form());
            ExitCode::from(problem.exit)
        }
    }
}

/// Prints a problem on standard error, as text or, for scripts, as JSON.
pub fn report(problem: &Problem, form: Form) {
    let text = match form {
        Form::Json | Form::Jsonl => problem.to_json().to_string(),
        _ => problem.render(),
    };
    say(&text);
}

/// One line of talk on standard error. A closed standard error is nobody listening, not a failure.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The program as the user started it, so that printed commands work as they stand (`interface.md` 1.7): shortened to `avouch`
/// only when the shell's PATH leads to this very file.
pub fn program() -> String {
    let started = std::env::args().next().unwrap_or_else(|| "avouch".to_owned());
    let me = std::env::current_exe().ok().and_then(|p| p.canonicalize().ok());
    let on_path = std::env::var_os("PATH").and_then(|paths| {
        std::env::split_paths(&paths)
            .map(|d| d.join("avouch"))
            .find(|p| p.is_file())
            .and_then(|p| p.canonicalize().ok())
    });
    if me.is_some() && me == on_path { "avouch".to_owned() } else { started }
}

pub fn colour(global: &Global) -> bool {
    match global.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            std::io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
                && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
        }
    }
}

/// The clap definition, for completions, manual pages and the generated reference.
pub fn definition() -> clap::Command {
    Cli::command()
}
