//! Shell completions, manual pages and `help more`, all from the same clap definition as `--help`.

use crate::cli;
use crate::problem::Problem;
use clap::Args;
use std::io::Write;
use std::path::PathBuf;

#[derive(Args)]
pub struct Completions {
    /// bash, zsh, fish or powershell
    pub shell: clap_complete::Shell,
}

#[derive(Args)]
pub struct Man {
    /// Folder to write one page per command into
    #[arg(default_value = ".")]
    pub dir: PathBuf,
}

#[derive(Args)]
pub struct Help {
    /// `more` for every command, or the name of one
    pub topic: Option<String>,
}

pub fn completions(args: &Completions) -> Result<u8, Problem> {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut cli::definition(), "avouch", &mut out);
    super::print(&out)
}

pub fn man(args: &Man) -> Result<u8, Problem> {
    let failed = |e: std::io::Error| {
        Problem::new("man.not_written", format!("cannot write manual pages into `{}`", args.dir.display()))
            .because(&e)
            .hint("name a folder that exists and that you may write: `avouch man /tmp/man`")
    };
    clap_mangen::generate_to(cli::definition(), &args.dir).map_err(failed)?;
    Ok(0)
}

/// `help` prints the eight first commands, `help more` all of them, `help NAME` one page.
pub fn help(args: &Help) -> Result<u8, Problem> {
    let mut definition = cli::definition();
    let text = match args.topic.as_deref() {
        None => definition.render_help().to_string(),
        Some("more") => more(&definition),
        Some(name) => match definition.find_subcommand_mut(name) {
            Some(command) => command.render_long_help().to_string(),
            None => {
                let names: Vec<String> =
                    definition.get_subcommands().map(|c| c.get_name().to_owned()).collect();
                let near = model::nearest(name, names.iter().map(String::as_str));
                let hint = near.first().map_or_else(
                    || "`avouch help more` lists all".to_owned(),
                    |n| format!("did you mean `{n}`?"),
                );
                return Err(Problem::new("usage.unknown_command", format!("no command `{name}`")).hint(hint));
            }
        },
    };
    super::print(text.as_bytes())
}

fn more(definition: &clap::Command) -> String {
    let mut out = String::from("All commands; `avouch COMMAND --help` says more about one.\n\n");
    for c in definition.get_subcommands().filter(|c| !["help", "docs"].contains(&c.get_name())) {
        let about = c.get_about().map(ToString::to_string).unwrap_or_default();
        let inner: Vec<&str> =
            c.get_subcommands().map(clap::Command::get_name).filter(|n| *n != "help").collect();
        let forms = if inner.is_empty() { String::new() } else { format!("  ({})", inner.join("|")) };
        out.push_str(&format!("  {:<12} {about}{forms}\n", c.get_name()));
    }
    out.push_str(&format!("\n{}\n", cli::EXIT_CODES));
    out
}

/// Prints an answer's bytes; a closed pipe ends quietly.
pub fn write_out(bytes: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
