//! `demo`: the main job on embedded defaults, on a fresh machine, with nothing else installed.

use crate::cli::Global;
use crate::demo::run::{Demo as Running, say, wait};
use crate::demo::summary;
use crate::problem::Problem;
use clap::Args;

#[derive(Args)]
pub struct Demo {
    /// End after the first full round (for scripts and tests)
    #[arg(long)]
    pub once: bool,
    /// Keep the data folder at the end
    #[arg(long)]
    pub keep: bool,
}

pub fn run(args: &Demo, global: &Global) -> Result<u8, Problem> {
    super::serve::log(false, global);
    super::runtime()?.block_on(async {
        let started = std::time::Instant::now();
        let mut demo = Running::start(global).await?;
        let fate = if args.keep { "kept" } else { "removed when you stop (--keep keeps it)" };
        say(&format!(
            "Avouch {} · made-up estate \"Harbour Bank\", 2 accounts · everything in {}, {fate}",
            env!("CARGO_PKG_VERSION"),
            demo.data.display()
        ));
        let result = async {
            tokio::select! {
                r = demo.round() => r?,
                _ = tokio::signal::ctrl_c() => return Err(interrupted()),
            }
            demo.invite(args.once, args.keep)?;
            if let (crate::answer::Form::Html, Some(path)) = (global.form(), &global.output) {
                let page = summary::of_node(&demo.node, &demo.stages);
                super::write(path, page.as_bytes())?;
                say(&format!("summary   {}", path.display()));
            }
            tracing::info!(seconds = started.elapsed().as_secs_f64(), "first round done");
            if args.once { Ok(()) } else { wait(&demo).await }
        }
        .await;
        let stopping = demo.stop(args.keep);
        tokio::select! {
            () = stopping => {}
            _ = tokio::signal::ctrl_c() => say("stopped   at once; nothing was removed"),
        }
        result.map(|()| 0)
    })
}

fn interrupted() -> Problem {
    Problem::new("demo.interrupted", "stopped before the first round was done")
        .hint(format!("let it run to its end, which takes seconds: {} demo", crate::cli::program()))
        .exit(130)
}
