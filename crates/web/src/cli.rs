//! "Copy as CLI": the command that prints or does the same, safe to paste into a POSIX shell.

/// One word, quoted only where a shell would read more into it.
#[must_use]
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Words joined to a command line.
#[must_use]
pub fn line<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> String {
    words.into_iter().map(|w| quote(w.as_ref())).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, expect: &str) {
        assert_eq!(quote(word), expect);
    }

    #[test]
    fn a_shell_reads_back_what_was_meant() {
        check("high+", "high+");
        check("actor = alice", "'actor = alice'");
        check("", "''");
        check("it's $(rm -rf /) `x`", r"'it'\''s $(rm -rf /) `x`'");
        check("!new", "'!new'");
        assert_eq!(line(["avouch", "search", "a b"]), "avouch search 'a b'");
    }
}
