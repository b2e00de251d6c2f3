//! The condition language: `or`, `and`, `not`, `1|any|all of x`, parentheses, loosest first; `not` binds to the next term only.

use super::yaml::{Position, Problem};

/// Deepest nesting of parentheses and `not`.
pub const NESTING_MAX: usize = 128;

/// A condition over selections by name; quantifiers are written out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    /// Index into [`super::rule::Rule::selections`].
    Selection(usize),
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    Open,
    Close,
    Word(String),
    /// `|`, `>` and other signs of the old aggregation language.
    Sign(char),
}

struct Parser<'a> {
    tokens: Vec<(Token, usize)>,
    at: usize,
    depth: usize,
    names: &'a [String],
    position: Position,
    /// Whether columns inside the text can be named (one unquoted line).
    is_plain: bool,
}

/// Parses `text`, which stands at `position`, over selections called `names`.
pub fn parse(text: &str, position: Position, is_plain: bool, names: &[String]) -> Result<Condition, Problem> {
    let mut p = Parser { tokens: tokens(text), at: 0, depth: 0, names, position, is_plain };
    p.refuse_aggregation()?;
    let c = p.or()?;
    match p.tokens.get(p.at) {
        None => Ok(c),
        Some((Token::Close, _)) => Err(p.problem(p.at, ")", "closes nothing")),
        Some((t, _)) => Err(p.problem(p.at, show(t), "expected `and`, `or` or the end")),
    }
}

fn tokens(text: &str) -> Vec<(Token, usize)> {
    let mut out = Vec::new();
    let mut chars = text.chars().enumerate().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '(' => out.push((Token::Open, at)),
            ')' => out.push((Token::Close, at)),
            c if c.is_whitespace() => {}
            c if is_word(c) => {
                let mut word = c.to_string();
                while let Some((_, c)) = chars.next_if(|(_, c)| is_word(*c)) {
                    word.push(c);
                }
                out.push((Token::Word(word), at));
            }
            c => out.push((Token::Sign(c), at)),
        }
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '*' | '.' | '?')
}

fn show(t: &Token) -> String {
    match t {
        Token::Open => "(".into(),
        Token::Close => ")".into(),
        Token::Word(w) => w.clone(),
        Token::Sign(c) => c.to_string(),
    }
}

impl Parser<'_> {
    fn problem(&self, at: usize, construct: impl Into<String>, reason: &str) -> Problem {
        let column = match self.tokens.get(at).or(self.tokens.last()) {
            Some((_, c)) if self.is_plain => *c,
            _ => 0,
        };
        Problem::new(self.position.right(column), "rule.condition", construct, reason)
    }

    /// The aggregation language of old rules is recognised to name what replaces it.
    fn refuse_aggregation(&self) -> Result<(), Problem> {
        let Some(pipe) = self.tokens.iter().position(|(t, _)| *t == Token::Sign('|')) else { return Ok(()) };
        let words: Vec<String> = self
            .tokens
            .iter()
            .skip(pipe)
            .filter_map(|(t, _)| if let Token::Word(w) = t { Some(w.to_ascii_lowercase()) } else { None })
            .collect();
        let has_field = matches!(
            (self.tokens.get(pipe + 2), self.tokens.get(pipe + 3)),
            (Some((Token::Open, _)), Some((Token::Word(_), _)))
        );
        let replacement = match words.first().map(String::as_str) {
            Some("count") if has_field => "value_count",
            Some("count") => "event_count",
            Some("near") => "temporal",
            Some("sum") => "value_sum",
            Some("avg") => "value_avg",
            Some("min" | "max") => "value_percentile",
            _ => "",
        };
        let p = self.problem(pipe, "|", "aggregations left the specification in version 2");
        Err(if replacement.is_empty() {
            p
        } else {
            p.hint(format!("write a correlation of type `{replacement}`"))
        })
    }

    fn word(&self, expect: &str) -> bool {
        matches!(self.tokens.get(self.at), Some((Token::Word(w), _)) if w.eq_ignore_ascii_case(expect))
    }

    fn or(&mut self) -> Result<Condition, Problem> {
        let mut any = vec![self.and()?];
        while self.word("or") {
            self.at += 1;
            any.push(self.and()?);
        }
        Ok(one_or(any, Condition::Any))
    }

    fn and(&mut self) -> Result<Condition, Problem> {
        let mut all = vec![self.not()?];
        while self.word("and") {
            self.at += 1;
            all.push(self.not()?);
        }
        Ok(one_or(all, Condition::All))
    }

    fn deeper<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T, Problem>) -> Result<T, Problem> {
        if self.depth >= NESTING_MAX {
            return Err(self.problem(self.at, "condition", "nested deeper than 128 levels"));
        }
        self.depth += 1;
        let out = f(self);
        self.depth = self.depth.saturating_sub(1);
        out
    }

    fn not(&mut self) -> Result<Condition, Problem> {
        if self.word("not") {
            self.at += 1;
            return Ok(Condition::Not(Box::new(self.deeper(Self::not)?)));
        }
        self.term()
    }

    fn term(&mut self) -> Result<Condition, Problem> {
        let at = self.at;
        match self.tokens.get(at).cloned() {
            Some((Token::Open, _)) => {
                self.at += 1;
                let inner = self.deeper(Self::or)?;
                match self.tokens.get(self.at) {
                    Some((Token::Close, _)) => {
                        self.at += 1;
                        Ok(inner)
                    }
                    _ => Err(self.problem(at, "(", "is not closed")),
                }
            }
            Some((Token::Word(w), _)) => {
                self.at += 1;
                if self.word("of") {
                    self.at += 1;
                    return self.of(&w, at);
                }
                if matches!(w.to_ascii_lowercase().as_str(), "and" | "or" | "of" | "them") {
                    return Err(self.problem(at, w, "expected a selection"));
                }
                self.selection(&w, at)
            }
            Some((t, _)) => Err(self.problem(at, show(&t), "expected a selection")),
            None => Err(self.problem(at, "condition", "ends where a selection is expected")),
        }
    }

    fn selection(&self, name: &str, at: usize) -> Result<Condition, Problem> {
        match self.names.iter().position(|n| n == name) {
            Some(i) => Ok(Condition::Selection(i)),
            None => {
                // Any letter is near any other: a guess helps from three letters on.
                let near = model::nearest(name, self.names.iter().map(String::as_str));
                let hint = near
                    .first()
                    .filter(|_| name.len() > 2)
                    .map(|n| format!("did you mean `{n}`?"))
                    .unwrap_or_default();
                Err(self.problem(at, name, "there is no selection of this name").hint(hint))
            }
        }
    }

    fn of(&mut self, count: &str, at: usize) -> Result<Condition, Problem> {
        let is_all = match count.to_ascii_lowercase().as_str() {
            "1" | "any" => false,
            "all" => true,
            n => {
                let p = self.problem(at, format!("{n} of"), "only `1 of`, `any of` and `all of` exist");
                return Err(p.hint("to count events, write a correlation of type `event_count`; to count values, `value_count`"));
            }
        };
        let pattern = match self.tokens.get(self.at) {
            Some((Token::Word(w), _)) => w.clone(),
            _ => {
                return Err(self.problem(at, format!("{count} of"), "expected `them` or a pattern of names"));
            }
        };
        self.at += 1;
        let chosen: Vec<Condition> = self
            .names
            .iter()
            .enumerate()
            .filter(|(_, n)| {
                if pattern.eq_ignore_ascii_case("them") {
                    !n.starts_with('_')
                } else {
                    name_matches(&pattern, n)
                }
            })
            .map(|(i, _)| Condition::Selection(i))
            .collect();
        if chosen.is_empty() {
            return Err(self.problem(self.at.saturating_sub(1), pattern, "matches no selection"));
        }
        Ok(one_or(chosen, if is_all { Condition::All } else { Condition::Any }))
    }
}

fn one_or(mut many: Vec<Condition>, join: fn(Vec<Condition>) -> Condition) -> Condition {
    match many.pop() {
        Some(one) if many.is_empty() => one,
        Some(last) => {
            many.push(last);
            join(many)
        }
        None => join(many),
    }
}

/// `*` anywhere in a pattern of selection names; names are case-sensitive.
fn name_matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for m in middle {
        match rest.split_once(m) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn render(c: &Condition, names: &[String]) -> String {
        let join = |v: &[Condition], sep: &str| {
            format!("({})", v.iter().map(|c| render(c, names)).collect::<Vec<_>>().join(sep))
        };
        match c {
            Condition::All(v) => join(v, " & "),
            Condition::Any(v) => join(v, " | "),
            Condition::Not(c) => format!("!{}", render(c, names)),
            Condition::Selection(i) => names[*i].clone(),
        }
    }

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let names: Vec<String> = ["a", "b", "c", "sel_1", "sel_2", "_h"].map(String::from).to_vec();
        let got = match parse(text, Position { line: 3, column: 10 }, true, &names) {
            Ok(c) => render(&c, &names),
            Err(p) => format!(
                "{} `{}`: {}{}",
                p.at.column,
                p.construct,
                p.reason,
                if p.hint.is_empty() { String::new() } else { format!("; {}", p.hint) }
            ),
        };
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn precedence() {
        check("a and b or c", "((a & b) | c)");
        check("a or b and c", "(a | (b & c))");
        check("not a and b", "(!a & b)");
        check("not (a or b) and c", "(!(a | b) & c)");
        check("not not a", "!!a");
        check("(a AND b) OR NOT c", "((a & b) | !c)");
    }

    #[test]
    fn quantifiers() {
        check("1 of sel_*", "(sel_1 | sel_2)");
        check("all of sel_*", "(sel_1 & sel_2)");
        check("any of *_1", "sel_1");
        check("1 of s*_2 and not a", "(sel_2 & !a)");
        check("all of them", "(a & b & c & sel_1 & sel_2)");
        check("not 1 of sel*", "!(sel_1 | sel_2)");
        check("1 of _h", "_h");
    }

    #[test]
    fn refusals_name_the_place() {
        check(
            "2 of sel_*",
            "10 `2 of`: only `1 of`, `any of` and `all of` exist; to count events, write a correlation of type `event_count`; to count values, `value_count`",
        );
        check("1 of x*", "15 `x*`: matches no selection");
        check("a and d", "16 `d`: there is no selection of this name");
        check("a and sel_3", "16 `sel_3`: there is no selection of this name; did you mean `sel_1`?");
        check("(a or b", "10 `(`: is not closed");
        check("a)", "11 `)`: closes nothing");
        check("a b", "12 `b`: expected `and`, `or` or the end");
        check("", "10 `condition`: ends where a selection is expected");
        check("a and", "12 `condition`: ends where a selection is expected");
        check(
            "a | count() by b > 5",
            "12 `|`: aggregations left the specification in version 2; write a correlation of type `event_count`",
        );
        check(
            "a | count(x) by b > 5",
            "12 `|`: aggregations left the specification in version 2; write a correlation of type `value_count`",
        );
        check(
            "a | near b",
            "12 `|`: aggregations left the specification in version 2; write a correlation of type `temporal`",
        );
    }

    #[test]
    fn deep_nesting_is_refused_not_overflowed() {
        let deep = format!("{}a{}", "(".repeat(5_000), ")".repeat(5_000));
        assert_eq!(
            parse(&deep, Position::default(), true, &["a".into()]).unwrap_err().reason,
            "nested deeper than 128 levels"
        );
        assert!(parse(&"not ".repeat(5_000), Position::default(), true, &["a".into()]).is_err());
    }

    proptest! {
        #[test]
        fn any_condition_never_panics(s in "\\PC{0,40}") {
            let _ = parse(&s, Position::default(), true, &["a".into(), "sel_1".into()]);
        }
        #[test]
        fn condition_like_text_never_panics(v in proptest::collection::vec(prop_oneof![
            Just("a"), Just("and"), Just("or"), Just("not"), Just("("), Just(")"), Just("1 of"), Just("all of"), Just("them"), Just("sel*"), Just("|")], 0..30)) {
            let _ = parse(&v.join(" "), Position::default(), true, &["a".into(), "sel_1".into()]);
        }
    }
}
