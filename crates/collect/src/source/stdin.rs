//! Lines of the standard input. Nothing is acknowledged here but the pipe's own flow control: when the vault does not take a batch,
//! reading stops, the pipe fills and the writer waits.

use super::Base;
use super::framing::Framer;
use super::stream::{Assembler, READ_BYTES, Stamp};
use super::syslog::hand_over;
use crate::config::StdinConfig;
use crate::feed::{Mode, Pipeline};
use crate::running::StartError;
use serde_json::{Map, Value};
use std::io::Read;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Reads that may wait between the reading thread and the source.
const READS: usize = 4;
/// Batches on their way to the vault at once.
const DEPTH: usize = 4;

pub(crate) fn start(
    config: &StdinConfig,
    base: Base,
    tasks: &mut JoinSet<()>,
) -> Result<Vec<String>, StartError> {
    read_from(std::io::stdin(), config, base, tasks)?;
    Ok(Vec::new())
}

/// A plain thread and not the runtime's pool: a read from a terminal cannot be interrupted, and would hold up the runtime's end.
fn read_from(
    mut input: impl Read + Send + 'static,
    config: &StdinConfig,
    base: Base,
    tasks: &mut JoinSet<()>,
) -> Result<(), StartError> {
    let (reads, taken) = mpsc::channel::<Vec<u8>>(READS);
    let name = base.feed.source.to_string();
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            let mut buf = vec![0; READ_BYTES];
            loop {
                match input.read(&mut buf) {
                    Ok(0) => break,
                    Ok(n) => {
                        if reads.blocking_send(buf.get(..n).unwrap_or(&[]).to_vec()).is_err() {
                            break;
                        }
                    }
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(e) => {
                        tracing::error!(error = %e, "standard input cannot be read");
                        break;
                    }
                }
            }
        })
        .map_err(|error| StartError::Thread { source_name: name, error })?;
    tasks.spawn(run(taken, config.max_line.bytes(), base));
    Ok(())
}

async fn run(mut reads: mpsc::Receiver<Vec<u8>>, max_line: usize, base: Base) {
    let origin = Map::from_iter([("listener".to_owned(), Value::from("stdin"))]);
    let stamp = Stamp::new(&base.dataset, base.provenance.clone(), origin);
    let mut assembler = Assembler::new(Framer::lines(max_line), stamp, Arc::clone(&base.feed.counters));
    let mut pipeline = Pipeline::new(DEPTH);
    loop {
        hand_over(&mut assembler, &mut pipeline, &base).await;
        let mode = base.feed.mode();
        if mode == Mode::Stop {
            break;
        }
        let may_read = !assembler.has_batch() && mode == Mode::Run;
        tokio::select! {
            biased;
            () = pipeline.progress(), if !pipeline.is_empty() => {}
            () = base.feed.interrupted(), if mode == Mode::Run => {}
            _ = base.feed.unpaused(), if mode == Mode::Pause => {}
            read = reads.recv(), if may_read => match read {
                Some(bytes) => {
                    assembler.room().extend_from_slice(&bytes);
                    assembler.filled(bytes.len());
                }
                None => break,
            },
        }
    }
    // What the thread has taken from the pipe already is ours to keep.
    while let Ok(bytes) = reads.try_recv() {
        assembler.room().extend_from_slice(&bytes);
        assembler.filled(bytes.len());
    }
    assembler.finish();
    while assembler.has_batch() {
        hand_over(&mut assembler, &mut pipeline, &base).await;
        if assembler.has_batch() {
            pipeline.progress().await;
        }
    }
    pipeline.drain().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Memory, base};
    use model::Flags;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_line_to_the_last() {
        let memory = Memory::new();
        let (base, _mode) = base("pipe", &memory);
        let mut tasks = JoinSet::new();
        let input = std::io::Cursor::new(b"one\n\ntwo\r\nxxxxxxxxxxxxxx\nlast".to_vec());
        read_from(input, &StdinConfig { max_line: crate::units::Size(10) }, base, &mut tasks).unwrap();
        while tasks.join_next().await.is_some() {}
        assert_eq!(memory.lines(), ["one", "two", "xxxxxxxxxx", "last"]);
        let flags: Vec<Flags> = memory.events().iter().map(|e| e.flags).collect();
        assert_eq!(flags, [Flags::default(), Flags::default(), Flags::TRUNCATED, Flags::PARTIAL]);
        assert_eq!(memory.events()[2].origin, r#"{"declared_bytes":14,"listener":"stdin"}"#);
    }
}
