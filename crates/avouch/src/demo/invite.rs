//! What to do next: every command in it works as it stands.

use super::run::{Demo, say};
use crate::cli;
use crate::node::now;
use crate::problem::Problem;

impl Demo {
    /// The lines that say what to do next. `once`: nothing runs any more when they are read; `keep`: its folder is still there then.
    ///
    /// # Errors
    /// No link can be made.
    pub fn invite(&self, once: bool, keep: bool) -> Result<(), Problem> {
        let p = cli::program();
        if once && !keep {
            say(&format!(
                "look      {p} demo      keeps running: a sign-in link, commands to type, damage to try; with --keep the folder stays"
            ));
            return Ok(());
        }
        // What runs is found by itself.
        let at = if once { format!(" --data-dir {}", self.data.display()) } else { String::new() };
        if let (Some(page), false) = (self.pipeline.page.get(), once) {
            let token = self.node.signin.link(true)?;
            say(&format!(
                "open      http://{page}/first/{token}      valid while this runs; Enter prints a new one"
            ));
        }
        say(&format!(
            "look      an attack: password guessing, root sign-in, trail stopped, key made, secrets and files read → {p} findings list --severity high+{at}"
        ));
        if let Some(event) = self.staged_event() {
            say(&format!("          one event in six lines → {p} event show {event}{at}"));
        }
        say(&format!(
            "          who outside can reach what, with the request that shows it → {}",
            self.reach_command()
        ));
        say(&format!("          what is claimed, and whether it holds → {p} controls list --system M{at}"));
        if let Some((file, offset, byte)) = self.tamper_place() {
            let vault = self.node.vault_dir.display();
            say(&format!(
                "try       cp -r {vault} try-it && printf {byte} | dd of=try-it/{file} bs=1 seek={offset} conv=notrunc status=none"
            ));
            say(&format!(
                "          {p} verify try-it --data-key {}      → exit 4: names the file, the place, the events in it",
                self.data.join("secret/kek").display()
            ));
        }
        if !once {
            say("stop      Ctrl-C");
        }
        Ok(())
    }

    /// The stopped trail of the attack.
    fn staged_event(&self) -> Option<String> {
        let state = self.node.hub.state();
        let filter = findings::Filter::parse([("rule", "trail_stopped"), ("state", "all")]).ok()?;
        let list = state.list(&filter, now()).ok()?;
        Some(list.rows.first()?.entry.finding().evidence.first()?.event_id.to_string())
    }

    /// A byte inside the first CloudTrail segment's pages, and another one to put in its place.
    fn tamper_place(&self) -> Option<(String, u64, char)> {
        let snapshot = self.node.snapshot();
        let segment = snapshot.segments().iter().find(|s| &*s.dataset == "aws.cloudtrail")?;
        let offset = segment.bytes / 2;
        let mut there = [0];
        let file = std::fs::File::open(self.node.vault_dir.join(&segment.info.path)).ok()?;
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut there, offset).ok()?;
        Some((segment.info.path.clone(), offset, another(there[0])))
    }
}

/// A letter that is not `there`: one byte in 256 is an X already, and writing it again would damage nothing.
const fn another(there: u8) -> char {
    if there == b'X' { 'Y' } else { 'X' }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_byte_to_try_with_is_never_the_one_that_is_there() {
        assert!((0..=255u8).all(|b| super::another(b) != char::from(b)));
    }
}
