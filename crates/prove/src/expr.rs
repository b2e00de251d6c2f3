//! What a probe expects, as a small strict part of CEL: comparisons of facts with literals, joined by `&&`.
//!
//! `sink.lag < duration('60s') && route(source, sink).enabled`
//!
//! A *fact* is a dotted path, calls included, given to the host as text; it answers with a typed value. No arithmetic, no `||`,
//! no loops: a claim with a choice in it is two claims. When crate `assess` brings the whole of CEL, these texts stay valid.

use crate::duration;

/// Longest expression that is read (characters). Probes are one line; anything longer is a mistake or an attack on the parser.
pub const EXPR_CHARS_MAX: usize = 1_024;

/// A typed answer of the host to one fact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fact {
    Bool(bool),
    Number(i64),
    /// Microseconds.
    Duration(i64),
    Text(String),
    /// It applies to nothing here: zero subjects.
    Nothing,
    /// It could not be read; what is missing, in words that can be acted on (F1).
    Missing(String),
}

impl Fact {
    /// The value as people read it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Fact::Bool(b) => if *b { "yes" } else { "no" }.to_owned(),
            Fact::Number(n) => n.to_string(),
            // Ages run on while they are read: parts of a second are noise from one second on.
            Fact::Duration(d) if *d >= model::Time::SECOND => duration::text(d - d % model::Time::SECOND),
            Fact::Duration(d) => duration::text(*d),
            Fact::Text(t) => t.clone(),
            Fact::Nothing => "0 subjects".to_owned(),
            Fact::Missing(m) => format!("unknown ({m})"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Term {
    path: String,
    op: Op,
    literal: Fact,
}

impl Term {
    /// Why it does not hold, for people: ``sink.lag is 3 d, wanted < 1 m``.
    fn broken(&self, fact: &Fact) -> String {
        if let Fact::Bool(_) = fact {
            return format!("{} is {}", self.path, fact.text());
        }
        let op = match self.op {
            Op::Eq => "",
            Op::Ne => "not ",
            Op::Lt => "< ",
            Op::Le => "at most ",
            Op::Gt => "> ",
            Op::Ge => "at least ",
        };
        format!("{} is {}, wanted {op}{}", self.path, fact.text(), self.literal.text())
    }
}

/// A parsed expectation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expr(Vec<Term>);

/// Why a text is no expectation, with the character where reading stopped.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{problem} at character {at} of `{text}`")]
pub struct ExprError {
    pub text: String,
    pub at: usize,
    pub problem: String,
}

/// What an expectation came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Judged {
    Holds(String),
    DoesNot(String),
    Nothing,
    Missing(String),
}

impl Expr {
    /// Reads an expectation.
    ///
    /// # Errors
    /// The first character that does not fit.
    pub fn parse(text: &str) -> Result<Expr, ExprError> {
        Parser { text, chars: text.chars().collect(), at: 0 }.all()
    }

    /// The facts it asks for, in order, each once.
    #[must_use]
    pub fn paths(&self) -> Vec<&str> {
        let mut out: Vec<&str> = Vec::new();
        for t in &self.0 {
            if !out.contains(&t.path.as_str()) {
                out.push(&t.path);
            }
        }
        out
    }

    /// Judges the facts that `ask` gives. One part that does not hold decides, whatever else could not be read; then a missing
    /// fact makes the whole unknown (F1).
    pub fn judge(&self, mut ask: impl FnMut(&str) -> Fact) -> Judged {
        let (mut missing, mut nothing, mut seen, mut broken) = (None, false, Vec::new(), Vec::new());
        let single = self.paths().len() == 1;
        for term in &self.0 {
            let fact = ask(&term.path);
            let shown = if single { fact.text() } else { format!("{} {}", term.path, fact.text()) };
            match fact {
                Fact::Missing(m) => missing = missing.or(Some(m)),
                Fact::Nothing => nothing = true,
                ref f => match compare(f, term.op, &term.literal) {
                    Some(true) => {
                        if !seen.contains(&shown) {
                            seen.push(shown);
                        }
                    }
                    Some(false) => broken.push(term.broken(f)),
                    None => {
                        let m = format!(
                            "a usable value: `{}` is {shown}, which cannot be compared with {}",
                            term.path,
                            term.literal.text()
                        );
                        missing = missing.or(Some(m));
                    }
                },
            }
        }
        match (broken.is_empty(), missing, nothing) {
            (false, _, _) => Judged::DoesNot(broken.join(", ")),
            (true, Some(m), _) => Judged::Missing(m),
            (true, None, true) => Judged::Nothing,
            (true, None, false) => Judged::Holds(seen.join(", ")),
        }
    }
}

fn compare(fact: &Fact, op: Op, literal: &Fact) -> Option<bool> {
    let ordering = match (fact, literal) {
        (Fact::Number(a), Fact::Number(b)) | (Fact::Duration(a), Fact::Duration(b)) => a.cmp(b),
        (Fact::Text(a), Fact::Text(b)) if matches!(op, Op::Eq | Op::Ne) => a.cmp(b),
        (Fact::Bool(a), Fact::Bool(b)) if matches!(op, Op::Eq | Op::Ne) => a.cmp(b),
        _ => return None,
    };
    Some(match op {
        Op::Eq => ordering.is_eq(),
        Op::Ne => ordering.is_ne(),
        Op::Lt => ordering.is_lt(),
        Op::Le => ordering.is_le(),
        Op::Gt => ordering.is_gt(),
        Op::Ge => ordering.is_ge(),
    })
}

struct Parser<'a> {
    text: &'a str,
    chars: Vec<char>,
    at: usize,
}

impl Parser<'_> {
    fn fail<T>(&self, problem: &str) -> Result<T, ExprError> {
        Err(ExprError { text: self.text.to_owned(), at: self.at + 1, problem: problem.to_owned() })
    }
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }
    fn starts(&self, with: &str) -> bool {
        with.chars().enumerate().all(|(i, c)| self.chars.get(self.at + i) == Some(&c))
    }
    fn eat(&mut self, token: &str) -> bool {
        let is = self.starts(token);
        if is {
            self.at += token.chars().count();
        }
        is
    }
    fn blank(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn all(mut self) -> Result<Expr, ExprError> {
        if self.chars.len() > EXPR_CHARS_MAX {
            return self
                .fail(&format!("an expectation has at most {EXPR_CHARS_MAX} characters, reading stopped"));
        }
        let mut terms = Vec::new();
        loop {
            self.blank();
            terms.push(self.term()?);
            self.blank();
            if self.at == self.chars.len() {
                return Ok(Expr(terms));
            }
            if self.starts("||") {
                return self.fail("`||` is not allowed (write two probes)");
            }
            if !self.eat("&&") {
                return self.fail("`&&` or the end is expected");
            }
        }
    }

    fn term(&mut self) -> Result<Term, ExprError> {
        let negated = self.eat("!");
        let path = self.path()?;
        self.blank();
        const OPS: [(&str, Op); 6] =
            [("==", Op::Eq), ("!=", Op::Ne), ("<=", Op::Le), (">=", Op::Ge), ("<", Op::Lt), (">", Op::Gt)];
        for (token, op) in OPS {
            if self.eat(token) {
                if negated {
                    return self.fail("`!` stands before a statement without comparison only");
                }
                self.blank();
                let literal = self.literal()?;
                return Ok(Term { path, op, literal });
            }
        }
        Ok(Term { path, op: Op::Eq, literal: Fact::Bool(!negated) })
    }

    /// A path with its calls; blanks inside parentheses are taken out, so that one fact has one spelling.
    fn path(&mut self) -> Result<String, ExprError> {
        let mut out = String::new();
        if !self.peek().is_some_and(|c| c.is_ascii_alphabetic() || c == '_') {
            return self.fail("the name of a fact is expected");
        }
        while let Some(c) = self.peek() {
            match c {
                '(' => self.call(&mut out)?,
                c if c.is_ascii_alphanumeric() || c == '_' || c == '.' => {
                    out.push(c);
                    self.at += 1;
                }
                _ => break,
            }
        }
        if out.ends_with('.') { self.fail("a name after the dot is expected") } else { Ok(out) }
    }

    fn call(&mut self, out: &mut String) -> Result<(), ExprError> {
        let (mut depth, mut quoted) = (0_u32, false);
        while let Some(c) = self.peek() {
            self.at += 1;
            match c {
                '\'' => quoted = !quoted,
                '(' if !quoted => depth += 1,
                ')' if !quoted => depth = depth.saturating_sub(1),
                c if c.is_whitespace() && !quoted => continue,
                _ => {}
            }
            out.push(c);
            if depth == 0 {
                return Ok(());
            }
        }
        self.fail("the closing parenthesis is missing")
    }

    fn literal(&mut self) -> Result<Fact, ExprError> {
        if self.eat("true") {
            return Ok(Fact::Bool(true));
        }
        if self.eat("false") {
            return Ok(Fact::Bool(false));
        }
        if self.eat("duration(") {
            let text = self.quoted()?;
            if !self.eat(")") {
                return self.fail("the closing parenthesis is missing");
            }
            return match duration::parse(&text) {
                Some(d) => Ok(Fact::Duration(d)),
                None => self
                    .fail("a duration with its unit is expected, as in `duration('60s')`, before this place"),
            };
        }
        if self.peek() == Some('\'') {
            return Ok(Fact::Text(self.quoted()?));
        }
        let from = self.at;
        let mut number = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_ascii_digit() || (*c == '-' && self.at == from)) {
            number.push(c);
            self.at += 1;
        }
        match number.parse() {
            Ok(n) => Ok(Fact::Number(n)),
            Err(_) => self.fail("a number, `true`, `false`, a 'text' or duration('..') is expected"),
        }
    }

    fn quoted(&mut self) -> Result<String, ExprError> {
        if !self.eat("'") {
            return self.fail("a text in single quotes is expected");
        }
        let mut out = String::new();
        while let Some(c) = self.peek() {
            self.at += 1;
            if c == '\'' {
                return Ok(out);
            }
            out.push(c);
        }
        self.fail("the closing quote is missing")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, facts: &[(&str, Fact)], expect: &str) {
        let got = match Expr::parse(text) {
            Err(e) => e.to_string(),
            Ok(e) => format!(
                "{:?}",
                e.judge(|p| facts
                    .iter()
                    .find(|(n, _)| *n == p)
                    .map_or_else(|| Fact::Missing(format!("fact {p}")), |(_, f)| f.clone()))
            ),
        };
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn facts_are_compared_with_their_own_kind() {
        let lag = |s: i64| ("sink.lag", Fact::Duration(s * 1_000_000));
        check("sink.lag < duration('60s')", &[lag(59)], "Holds(\"59s\")");
        check("sink.lag < duration('60s')", &[lag(60)], "DoesNot(\"sink.lag is 1m, wanted < 1m\")");
        check("!listen.public", &[("listen.public", Fact::Bool(false))], "Holds(\"no\")");
        check(
            "sink.kind == 'splunk_hec'",
            &[("sink.kind", Fact::Text("syslog".into()))],
            "DoesNot(\"sink.kind is syslog, wanted splunk_hec\")",
        );
        check(
            "route(source,  sink).enabled",
            &[("route(source,sink).enabled", Fact::Bool(true))],
            "Holds(\"yes\")",
        );
        check("n >= 2 && n <= 5", &[("n", Fact::Number(4))], "Holds(\"4\")");
        check("n >= 2", &[("n", Fact::Nothing)], "Nothing");
    }

    #[test]
    fn one_part_that_does_not_hold_decides_over_one_that_cannot_be_read() {
        check("a && b", &[("b", Fact::Bool(false))], "DoesNot(\"b is no\")");
        check("a && b", &[("b", Fact::Bool(true))], "Missing(\"fact a\")");
        check(
            "a < 3",
            &[("a", Fact::Text("x".into()))],
            "Missing(\"a usable value: `a` is x, which cannot be compared with 3\")",
        );
    }

    #[test]
    fn a_mistake_names_its_place() {
        check("a || b", &[], "`||` is not allowed (write two probes) at character 3 of `a || b`");
        check(
            "a <",
            &[],
            "a number, `true`, `false`, a 'text' or duration('..') is expected at character 4 of `a <`",
        );
        check(
            "a < duration('60')",
            &[],
            "a duration with its unit is expected, as in `duration('60s')`, before this place at character 19 of `a < duration('60')`",
        );
        check("route(a", &[], "the closing parenthesis is missing at character 8 of `route(a`");
        check("", &[], "the name of a fact is expected at character 1 of ``");
    }

    proptest! {
        #[test]
        fn any_text_never_panics(s in "\\PC{0,60}") {
            if let Ok(e) = Expr::parse(&s) {
                let _ = e.judge(|_| Fact::Bool(true));
            }
        }
    }
}
