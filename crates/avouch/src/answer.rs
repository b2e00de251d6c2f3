//! What every command gives back: items in a defined order for machines, a table in plain words for people, and how whole the
//! answer is. Printing happens in one place, so every command has every form.

use crate::problem::Problem;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io::{self, Write};
use unicode_width::UnicodeWidthStr;

/// Output form, `-o`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// For people.
    #[default]
    Table,
    /// One object: schema, query, complete, unknown, items, next, run.
    Json,
    /// One item a line; the last line is `{"end": …}`.
    Jsonl,
    /// RFC 4180; cells that a spreadsheet would run get a leading `'`.
    Csv,
    /// Self-contained page (commands that say so).
    Html,
    /// SARIF 2.1.0, for code scanning (checks).
    Sarif,
    /// JUnit XML, for build servers (checks).
    Junit,
}

/// The answer of a command.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// `avouch.<command>/<n>`.
    pub schema: String,
    pub query: Value,
    /// What could not be looked at; not empty means exit 3 unless accepted.
    pub unknown: Vec<String>,
    pub items: Vec<Value>,
    /// Column headings and rows for people; empty headings mean that `text` is the whole answer.
    pub headings: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// Lines for people before and after the table.
    pub text: Vec<String>,
    pub after: Vec<String>,
    /// Cursor of the next page.
    pub next: Option<String>,
    /// What differs between two identical runs (clock, host, duration).
    pub run: Map<String, Value>,
    /// 0, or the worst that holds (`interface.md` 1.3).
    pub exit: u8,
    /// Files that the command, not the daemon, writes for the caller.
    pub files: Vec<(std::path::PathBuf, String)>,
    /// A whole document for the forms `html` and `md`.
    pub document: Option<String>,
    /// The whole answer for the forms `sarif` and `junit`.
    #[serde(default)]
    pub sarif: Option<String>,
    #[serde(default)]
    pub junit: Option<String>,
    /// Bytes in base64 that are the whole answer in the form for people, written as they are: no line end is added and nothing is
    /// made printable.
    #[serde(default)]
    pub bytes: Option<String>,
}

/// The form `json`, written as it stands: a copy of large answers would take as much memory again.
#[derive(Serialize)]
struct Whole<'a> {
    complete: bool,
    items: &'a [Value],
    next: &'a Option<String>,
    query: &'a Value,
    run: &'a Map<String, Value>,
    schema: &'a str,
    unknown: &'a [String],
}

impl Answer {
    pub fn new(schema: &str) -> Answer {
        Answer { schema: schema.to_owned(), query: Value::Object(Map::new()), ..Answer::default() }
    }
    pub fn query(mut self, query: impl Serialize) -> Answer {
        self.query = serde_json::to_value(query).unwrap_or_default();
        self
    }
    pub fn table(mut self, headings: &[&str]) -> Answer {
        self.headings = headings.iter().map(|h| (*h).to_owned()).collect();
        self
    }
    pub fn line(&mut self, text: impl Into<String>) {
        self.text.push(text.into());
    }
    pub fn item(&mut self, item: impl Serialize, row: Vec<String>) {
        self.items.push(serde_json::to_value(item).unwrap_or_default());
        self.rows.push(row);
    }
    /// Raises the exit code to `code` if it is worse: 2, 4, 3, 1 in that order.
    pub fn worse(&mut self, code: u8) {
        const ORDER: [u8; 6] = [130, 2, 4, 3, 1, 0];
        let rank = |c: u8| ORDER.iter().position(|o| *o == c).unwrap_or(ORDER.len());
        if rank(code) < rank(self.exit) {
            self.exit = code;
        }
    }
    pub fn exit_code(&self, allow_incomplete: bool) -> u8 {
        match self.exit {
            0 if !self.unknown.is_empty() && !allow_incomplete => 3,
            3 if allow_incomplete => 0,
            e => e,
        }
    }

    /// Writes the answer in `form`. Terminal width only shortens tables.
    pub fn write(
        &self,
        form: Form,
        width: Option<usize>,
        colour: bool,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        if let (Form::Table, Some(bytes)) = (form, &self.bytes) {
            use base64::Engine as _;
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(bytes)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            return out.write_all(&bytes);
        }
        match form {
            Form::Table => self.write_table(width, colour, out),
            Form::Json => {
                let whole = Whole {
                    complete: self.unknown.is_empty() && self.exit != 3,
                    items: &self.items,
                    next: &self.next,
                    query: &self.query,
                    run: &self.run,
                    schema: &self.schema,
                    unknown: &self.unknown,
                };
                serde_json::to_writer_pretty(&mut *out, &whole)?;
                writeln!(out)
            }
            Form::Jsonl => {
                for item in &self.items {
                    serde_json::to_writer(&mut *out, item)?;
                    writeln!(out)?;
                }
                let end = serde_json::json!({"end": {"items": self.items.len(), "complete": self.unknown.is_empty() && self.exit != 3, "unknown": self.unknown}});
                writeln!(out, "{end}")
            }
            Form::Csv => self.write_csv(out),
            Form::Html => match &self.document {
                Some(d) => out.write_all(d.as_bytes()),
                None => Err(io::Error::new(io::ErrorKind::Unsupported, "this command has no html form")),
            },
            Form::Sarif | Form::Junit => {
                let document = if form == Form::Sarif { &self.sarif } else { &self.junit };
                match document {
                    Some(d) => out.write_all(d.as_bytes()),
                    None => Err(io::Error::new(
                        io::ErrorKind::Unsupported,
                        "only checks have a sarif and a junit form",
                    )),
                }
            }
        }
    }

    fn write_csv(&self, out: &mut dyn Write) -> io::Result<()> {
        let keys: Vec<String> = match self.items.first().and_then(Value::as_object) {
            Some(first) => first.keys().cloned().collect(),
            None => self.headings.clone(),
        };
        writeln!(out, "{}", keys.iter().map(|k| csv_cell(k)).collect::<Vec<_>>().join(","))?;
        for item in &self.items {
            let cells: Vec<String> = keys
                .iter()
                .map(|k| match item.get(k) {
                    None | Some(Value::Null) => String::new(),
                    Some(Value::String(s)) => csv_cell(s),
                    Some(other) => csv_cell(&other.to_string()),
                })
                .collect();
            write!(out, "{}\r\n", cells.join(","))?;
        }
        Ok(())
    }

    fn write_table(&self, width: Option<usize>, colour: bool, out: &mut dyn Write) -> io::Result<()> {
        for line in &self.text {
            writeln!(out, "{line}")?;
        }
        if !self.headings.is_empty() {
            let shown: Vec<Vec<String>> =
                self.rows.iter().map(|r| r.iter().map(|c| model::escape_controls(c)).collect()).collect();
            let mut widths: Vec<usize> = self.headings.iter().map(|h| h.width()).collect();
            for row in &shown {
                for (w, cell) in widths.iter_mut().zip(row) {
                    *w = (*w).max(cell.width());
                }
            }
            if let Some(limit) = width {
                fit(&mut widths, limit);
            }
            let headings: Vec<String> = self.headings.iter().map(|h| h.to_uppercase()).collect();
            write_row(out, &headings, &widths, |_| colour.then_some("1"))?;
            for row in &shown {
                write_row(out, row, &widths, |cell| if colour { hue(cell) } else { None })?;
            }
        }
        for line in &self.after {
            writeln!(out, "{line}")?;
        }
        for u in &self.unknown {
            writeln!(out, "could not be looked at: {}", model::escape_controls(u))?;
        }
        Ok(())
    }
}

/// The colour of words that stand for good and bad. It repeats what the word says, and never says more.
fn hue(word: &str) -> Option<&'static str> {
    // A severity stands as `8.0 high`.
    match word.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' ')) {
        "critical" | "high" | "failing" | "failed" | "damaged" | "silent" | "held" | "stopped" => Some("31"),
        "medium" | "paused" | "can't tell" | "not tested" => Some("33"),
        "working" | "passed" | "ok" | "running" => Some("32"),
        _ => None,
    }
}

fn write_row(
    out: &mut dyn Write,
    cells: &[String],
    widths: &[usize],
    style: impl Fn(&str) -> Option<&'static str>,
) -> io::Result<()> {
    let last = cells.len().saturating_sub(1);
    let mut line = String::new();
    for (i, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let cut = cut(cell, *width);
        match style(cell) {
            Some(code) => line.push_str(&format!("\u{1b}[{code}m{cut}\u{1b}[0m")),
            None => line.push_str(&cut),
        }
        if i < last {
            line.push_str(&" ".repeat(width.saturating_sub(cut.width()) + 2));
        }
    }
    writeln!(out, "{}", line.trim_end())
}

/// Shrinks the widest columns until the row fits, never below eight cells.
fn fit(widths: &mut [usize], limit: usize) {
    const NARROWEST: usize = 8;
    let gaps = widths.len().saturating_sub(1) * 2;
    while widths.iter().sum::<usize>() + gaps > limit {
        match widths.iter_mut().max() {
            Some(w) if *w > NARROWEST => *w -= 1,
            _ => break,
        }
    }
}

/// `text` cut to `width` cells with `…`.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    for c in text.chars() {
        if out.width() + unicode_width::UnicodeWidthChar::width(c).unwrap_or(0) + 1 > width {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

/// A cell that a spreadsheet would take for a formula gets a leading `'`
/// (<https://owasp.org/www-community/attacks/CSV_Injection>).
fn csv_cell(text: &str) -> String {
    let risky = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if risky { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

pub type Reply = Result<Answer, Problem>;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Answer {
        let mut a = Answer::new("avouch.test/1").table(&["name", "what"]);
        a.item(serde_json::json!({"name": "a", "what": "=cmd"}), vec!["a".into(), "x\u{1b}[31my".into()]);
        a.item(serde_json::json!({"name": "bb", "what": "q\"r"}), vec!["bb".into(), "long long long".into()]);
        a
    }

    #[track_caller]
    fn check(form: Form, width: Option<usize>, expect: expect_test::Expect) {
        let mut out = Vec::new();
        sample().write(form, width, false, &mut out).unwrap();
        expect.assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn each_form_of_the_same_answer() {
        check(
            Form::Table,
            None,
            expect_test::expect![[r#"
            NAME  WHAT
            a     x\u{1b}[31my
            bb    long long long
        "#]],
        );
        check(
            Form::Table,
            Some(14),
            expect_test::expect![[r#"
            NAME  WHAT
            a     x\u{1b}…
            bb    long lo…
        "#]],
        );
        check(Form::Csv, None, expect_test::expect![["name,what\na,'=cmd\r\nbb,\"q\"\"r\"\r\n"]]);
        check(
            Form::Jsonl,
            None,
            expect_test::expect![[r#"
            {"name":"a","what":"=cmd"}
            {"name":"bb","what":"q\"r"}
            {"end":{"complete":true,"items":2,"unknown":[]}}
        "#]],
        );
    }

    #[test]
    fn colour_marks_headings_and_words() {
        let mut a = Answer::new("avouch.test/1").table(&["name", "state"]);
        a.item(serde_json::json!({}), vec!["a".into(), "failing".into()]);
        let mut out = Vec::new();
        a.write(Form::Table, None, true, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "\u{1b}[1mNAME\u{1b}[0m  \u{1b}[1mSTATE\u{1b}[0m\na     \u{1b}[31mfailing\u{1b}[0m\n"
        );
    }

    #[test]
    fn the_worst_code_wins() {
        let mut a = Answer::new("x");
        a.worse(1);
        a.worse(3);
        assert_eq!(a.exit_code(false), 3);
        assert_eq!(a.exit_code(true), 0);
        a.worse(4);
        a.worse(3);
        assert_eq!(a.exit_code(true), 4);
    }
}
