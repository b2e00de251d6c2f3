//! The search language: `actor = alice and action ~ Delete* and not outcome = success`.
//!
//! Words standing alone must occur in the raw record. `field=value` without spaces is the short form; several terms without a word
//! between them are joined by `and`. Precedence, loosest first: `or`, `and`, `not`.

use std::fmt;

/// Longest query text; far above what a person writes.
pub const QUERY_BYTES_MAX: usize = 16 << 10;
/// Deepest nesting of parentheses and `not`.
pub const DEPTH_MAX: usize = 64;

/// A search as a tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// Everything.
    All,
    And(Vec<Query>),
    Or(Vec<Query>),
    Not(Box<Query>),
    /// The raw record holds this word, ignoring case.
    Word(String),
    Test {
        field: Field,
        op: Operator,
        values: Vec<String>,
    },
}

/// What a test looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A column, by its real name.
    Column(String),
    /// `raw.requestParameters.bucketName`: a path into the record.
    Path(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
    /// Glob: `*` any run, `?` one character, ignoring case.
    Like,
    In,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Short names for people and the columns they stand for.
pub const ALIASES: [(&str, &str); 14] = [
    ("time", "time"),
    ("dataset", "av_dataset"),
    ("source", "av_source"),
    ("sender", "av_sender"),
    ("account", "av_account"),
    ("region", "av_region"),
    ("user", "actor"),
    ("event", "action"),
    ("resource", "resources"),
    ("ip", "src_ip"),
    ("key", "credential"),
    ("id", "av_id"),
    ("seq", "av_seq"),
    ("received", "av_received"),
];

/// A query that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("unknown field `{field}` at character {at}")]
    UnknownField { field: String, at: usize, near: Vec<String> },
    #[error("{what} at character {at}")]
    Syntax { what: String, at: usize },
    #[error("the query has {0} bytes; the limit is {QUERY_BYTES_MAX}")]
    TooLong(usize),
}

impl QueryError {
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            QueryError::UnknownField { .. } => "search.unknown_field",
            QueryError::Syntax { .. } => "search.syntax",
            QueryError::TooLong(_) => "search.too_long",
        }
    }
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            QueryError::UnknownField { near, .. } if !near.is_empty() => format!("did you mean {}?", near.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" or ")),
            QueryError::UnknownField { .. } => "fields are time, dataset, source, account, region, user, event, service, resource, ip, key, outcome, error, id and every column of the dataset; `raw.a.b = x` looks into the record".to_owned(),
            QueryError::Syntax { .. } => "e.g. avouch search 'user = alice and event ~ Delete* and not outcome = success'".to_owned(),
            QueryError::TooLong(_) => "put long lists of values into several searches".to_owned(),
        }
    }
}

/// Reads a query. `columns` are the typed columns that exist beside the aliases.
///
/// # Errors
/// Unknown fields (with the nearest names) and syntax, with the place.
pub fn parse(text: &str, columns: &[&str]) -> Result<Query, QueryError> {
    if text.len() > QUERY_BYTES_MAX {
        return Err(QueryError::TooLong(text.len()));
    }
    let tokens = tokens(text)?;
    let mut p = Parser { tokens: &tokens, at: 0, columns, end: text.chars().count() };
    if tokens.is_empty() {
        return Ok(Query::All);
    }
    let query = p.or(0)?;
    match p.peek() {
        None => Ok(query),
        Some(t) => Err(QueryError::Syntax { what: format!("unexpected `{}`", t.kind), at: t.at }),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Word(String),
    /// In quotes: never a keyword or a field name.
    Quoted(String),
    Op(Operator),
    Open,
    Close,
    Comma,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Word(w) | Kind::Quoted(w) => f.write_str(w),
            Kind::Op(o) => f.write_str(o.text()),
            Kind::Open => f.write_str("("),
            Kind::Close => f.write_str(")"),
            Kind::Comma => f.write_str(","),
        }
    }
}

impl Operator {
    fn text(self) -> &'static str {
        match self {
            Operator::Equal => "=",
            Operator::NotEqual => "!=",
            Operator::Like => "~",
            Operator::In => "in",
            Operator::Less => "<",
            Operator::LessOrEqual => "<=",
            Operator::Greater => ">",
            Operator::GreaterOrEqual => ">=",
        }
    }
}

struct Token {
    kind: Kind,
    at: usize,
}

fn tokens(text: &str) -> Result<Vec<Token>, QueryError> {
    let chars: Vec<char> = text.chars().collect();
    let get = |i: usize| chars.get(i).copied();
    let mut out = Vec::new();
    let mut i = 0;
    while let Some(c) = get(i) {
        let at = i;
        let mut push = |kind| out.push(Token { kind, at });
        match c {
            c if c.is_whitespace() => i += 1,
            '(' => {
                push(Kind::Open);
                i += 1;
            }
            ')' => {
                push(Kind::Close);
                i += 1;
            }
            ',' => {
                push(Kind::Comma);
                i += 1;
            }
            '=' | '~' => {
                push(Kind::Op(if c == '=' { Operator::Equal } else { Operator::Like }));
                i += if c == '=' && get(i + 1) == Some('=') { 2 } else { 1 };
            }
            '!' if get(i + 1) == Some('=') => {
                push(Kind::Op(Operator::NotEqual));
                i += 2;
            }
            '<' | '>' => {
                let or_equal = get(i + 1) == Some('=');
                push(Kind::Op(match (c, or_equal) {
                    ('<', false) => Operator::Less,
                    ('<', true) => Operator::LessOrEqual,
                    (_, false) => Operator::Greater,
                    (_, true) => Operator::GreaterOrEqual,
                }));
                i += 1 + usize::from(or_equal);
            }
            '"' | '\'' => {
                let mut word = String::new();
                i += 1;
                loop {
                    match get(i) {
                        None => return Err(QueryError::Syntax { what: "a quote is not closed".into(), at }),
                        Some(q) if q == c => break,
                        Some('\\') if get(i + 1).is_some() => {
                            word.extend(get(i + 1));
                            i += 2;
                        }
                        Some(other) => {
                            word.push(other);
                            i += 1;
                        }
                    }
                }
                i += 1;
                push(Kind::Quoted(word));
            }
            _ => {
                let mut word = String::new();
                while let Some(c) = get(i).filter(|c| !c.is_whitespace() && !"()=~<>,\"'".contains(*c)) {
                    if c == '!' && get(i + 1) == Some('=') {
                        break;
                    }
                    word.push(c);
                    i += 1;
                }
                push(Kind::Word(word));
            }
        }
    }
    Ok(out)
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    columns: &'a [&'a str],
    end: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn place(&self) -> usize {
        self.peek().map_or(self.end, |t| t.at)
    }

    fn syntax<T>(&self, what: impl Into<String>) -> Result<T, QueryError> {
        Err(QueryError::Syntax { what: what.into(), at: self.place() })
    }

    fn keyword(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Some(Token { kind: Kind::Word(w), .. }) if w.eq_ignore_ascii_case(word))
            && !matches!(self.tokens.get(self.at + 1), Some(Token { kind: Kind::Op(_), .. }));
        self.at += usize::from(is);
        is
    }

    fn or(&mut self, depth: usize) -> Result<Query, QueryError> {
        let mut parts = vec![self.and(depth)?];
        while self.keyword("or") {
            parts.push(self.and(depth)?);
        }
        Ok(one_or(parts, Query::Or))
    }

    fn and(&mut self, depth: usize) -> Result<Query, QueryError> {
        let mut parts = vec![self.not(depth)?];
        loop {
            let joined = self.keyword("and");
            match self.peek() {
                None if joined => return self.syntax("something must follow `and`"),
                None => break,
                Some(Token { kind: Kind::Close, .. }) if !joined => break,
                Some(Token { kind: Kind::Word(w), .. }) if !joined && w.eq_ignore_ascii_case("or") => break,
                Some(_) => parts.push(self.not(depth)?),
            }
        }
        Ok(one_or(parts, Query::And))
    }

    fn not(&mut self, depth: usize) -> Result<Query, QueryError> {
        if depth > DEPTH_MAX {
            return self.syntax(format!("nested deeper than {DEPTH_MAX}"));
        }
        if self.keyword("not") {
            return Ok(Query::Not(Box::new(self.not(depth + 1)?)));
        }
        self.term(depth)
    }

    fn term(&mut self, depth: usize) -> Result<Query, QueryError> {
        let at = self.place();
        let Some(token) = self.tokens.get(self.at) else { return self.syntax("the query ends too early") };
        self.at += 1;
        match &token.kind {
            Kind::Open => {
                let inner = self.or(depth + 1)?;
                match self.peek() {
                    Some(Token { kind: Kind::Close, .. }) => {
                        self.at += 1;
                        Ok(inner)
                    }
                    _ => self.syntax("a parenthesis is not closed"),
                }
            }
            Kind::Quoted(w) => Ok(Query::Word(w.clone())),
            Kind::Word(name) => match self.peek().map(|t| &t.kind) {
                Some(Kind::Op(op)) => {
                    let op = *op;
                    self.at += 1;
                    let field = self.field(name, at)?;
                    let value = self.value()?;
                    Ok(Query::Test { field, op, values: vec![value] })
                }
                Some(Kind::Word(w)) if w.eq_ignore_ascii_case("in") && self.is_list_or_value() => {
                    self.at += 1;
                    let field = self.field(name, at)?;
                    Ok(Query::Test { field, op: Operator::In, values: self.list()? })
                }
                _ => Ok(Query::Word(name.clone())),
            },
            other => Err(QueryError::Syntax { what: format!("unexpected `{other}`"), at: token.at }),
        }
    }

    /// After `name in`: a list in parentheses or one value. `in` as a plain word needs something else after it.
    fn is_list_or_value(&self) -> bool {
        matches!(
            self.tokens.get(self.at + 1).map(|t| &t.kind),
            Some(Kind::Open | Kind::Word(_) | Kind::Quoted(_))
        )
    }

    fn list(&mut self) -> Result<Vec<String>, QueryError> {
        if !matches!(self.peek().map(|t| &t.kind), Some(Kind::Open)) {
            return Ok(vec![self.value()?]);
        }
        self.at += 1;
        let mut values = vec![self.value()?];
        loop {
            match self.peek().map(|t| &t.kind) {
                Some(Kind::Comma) => {
                    self.at += 1;
                    values.push(self.value()?);
                }
                Some(Kind::Close) => {
                    self.at += 1;
                    return Ok(values);
                }
                _ => return self.syntax("expected `,` or `)` in the list"),
            }
        }
    }

    fn value(&mut self) -> Result<String, QueryError> {
        match self.peek().map(|t| &t.kind) {
            Some(Kind::Word(w) | Kind::Quoted(w)) => {
                let w = w.clone();
                self.at += 1;
                Ok(w)
            }
            _ => self.syntax("a value is missing"),
        }
    }

    fn field(&self, name: &str, at: usize) -> Result<Field, QueryError> {
        if let Some(path) = name.strip_prefix("raw.") {
            return Ok(Field::Path(path.to_owned()));
        }
        if let Some((_, column)) = ALIASES.iter().find(|(a, _)| *a == name) {
            return Ok(Field::Column((*column).to_owned()));
        }
        if self.columns.contains(&name) {
            return Ok(Field::Column(name.to_owned()));
        }
        let known = ALIASES.iter().map(|(a, _)| *a).chain(self.columns.iter().copied());
        let near = model::nearest(name, known).into_iter().map(str::to_owned).collect();
        Err(QueryError::UnknownField { field: name.to_owned(), at, near })
    }
}

fn one_or(mut parts: Vec<Query>, many: fn(Vec<Query>) -> Query) -> Query {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, Some(last)) => {
            parts.push(last);
            many(parts)
        }
        (_, None) => Query::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COLUMNS: [&str; 6] = ["actor", "action", "service", "outcome", "error", "mfa"];

    fn show(q: &Query) -> String {
        match q {
            Query::All => "all".into(),
            Query::And(p) => format!("({})", p.iter().map(show).collect::<Vec<_>>().join(" & ")),
            Query::Or(p) => format!("({})", p.iter().map(show).collect::<Vec<_>>().join(" | ")),
            Query::Not(p) => format!("!{}", show(p)),
            Query::Word(w) => format!("`{w}`"),
            Query::Test { field, op, values } => {
                let f = match field {
                    Field::Column(c) => c.clone(),
                    Field::Path(p) => format!("/{p}"),
                };
                format!("{f}{}{}", op.text(), values.join(","))
            }
        }
    }

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let got = parse(text, &COLUMNS).map_or_else(|e| format!("{e}; {}", e.hint()), |q| show(&q));
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn terms_join_as_people_expect() {
        check("", "all");
        check("delete bucket", "(`delete` & `bucket`)");
        check(
            "user=alice event~Delete* and not outcome = success",
            "(actor=alice & action~Delete* & !outcome=success)",
        );
        check("a or b c", "(`a` | (`b` & `c`))");
        check("not (a or b)", "!(`a` | `b`)");
        check("ip in 10.0.0.0/8", "src_ipin10.0.0.0/8");
        check("event in (CreateUser, 'Delete User')", "actioninCreateUser,Delete User");
        check("raw.requestParameters.bucketName = x", "/requestParameters.bucketName=x");
        check("\"and\" \"user\"", "(`and` & `user`)");
        check("time >= 2026-01-01T00:00:00Z", "time>=2026-01-01T00:00:00Z");
        check("mfa != true", "mfa!=true");
        check("signed in", "(`signed` & `in`)");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        check("acter = x", "unknown field `acter` at character 0; did you mean `actor`?");
        check(
            "a and",
            "something must follow `and` at character 5; e.g. avouch search 'user = alice and event ~ Delete* and not outcome = success'",
        );
        check(
            "(a",
            "a parenthesis is not closed at character 2; e.g. avouch search 'user = alice and event ~ Delete* and not outcome = success'",
        );
        check(
            "user =",
            "a value is missing at character 6; e.g. avouch search 'user = alice and event ~ Delete* and not outcome = success'",
        );
        check(
            "\"x",
            "a quote is not closed at character 0; e.g. avouch search 'user = alice and event ~ Delete* and not outcome = success'",
        );
    }

    proptest! {
        #[test]
        fn any_text_never_panics(s in ".{0,80}") {
            let _ = parse(&s, &COLUMNS);
        }
        #[test]
        fn any_mix_of_tokens_never_panics(parts in proptest::collection::vec(prop_oneof![
            Just("("), Just(")"), Just("and"), Just("or"), Just("not"), Just("in"), Just("user"), Just("="), Just("~"), Just(","), Just("x"), Just("'y'")], 0..40)) {
            let _ = parse(&parts.join(" "), &COLUMNS);
        }
    }
}
