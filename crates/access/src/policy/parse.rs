use super::{
    Condition, Document, Duplicates, Effect, Level, Operator, PrincipalKind, Principals, Problem,
    STATEMENTS_MAX, Statement, Version, Word, Words,
};
use crate::json::{self, JsonError, Member, Node, Span, Value, line_column};

/// Why a text is no policy at all.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("not JSON: {0}")]
    Json(JsonError),
    #[error("line {line}, column {column}: a policy is an object, this is {kind}")]
    NotAnObject { line: usize, column: usize, kind: &'static str },
    #[error("{0} statements, at most {STATEMENTS_MAX} are read")]
    Statements(usize),
}

/// Reads a policy. URL-encoded text (as IAM's API returns it), a byte order mark and white space around it are taken off.
///
/// # Errors
/// It is not JSON or no object, or it goes beyond a limit. Everything else is a [`Problem`] of the document.
pub fn parse(text: &str, duplicates: Duplicates) -> Result<Document, DocumentError> {
    let mut problems = Vec::new();
    let text = decoded(text, &mut problems);
    let root = json::read(&text).map_err(DocumentError::Json)?;
    let Value::Object(members) = &root.value else {
        let (line, column) = line_column(&text, root.span.start as usize);
        return Err(DocumentError::NotAnObject { line, column, kind: root.kind() });
    };
    let mut reader = Reader { duplicates, problems, has_duplicates: false, is_certain: true };
    let mut out = Document {
        text: String::new(),
        version: Version::default(),
        id: None,
        statements: Vec::new(),
        problems: Vec::new(),
        has_duplicates: false,
    };
    let mut has_version = false;
    for m in reader.pick(members) {
        match m.key.as_str() {
            "Version" => {
                has_version = true;
                match m.value.scalar().as_deref() {
                    Some("2012-10-17") => out.version = Version::V2012,
                    Some("2008-10-17") => {}
                    _ => reader.error("version", "`Version` is 2012-10-17 or 2008-10-17", m.value.span),
                }
            }
            "Id" => out.id = m.value.scalar(),
            "Statement" => out.statements = reader.statements(&m.value)?,
            _ => reader.unknown(m),
        }
    }
    if !has_version && text.contains("${") {
        let what = "without `Version` variables are plain text: `${…}` stands for itself here";
        reader.problem("variables_without_version", Level::Warning, what, root.span);
    }
    if !members.iter().any(|m| m.key == "Statement") {
        reader.error("no_statement", "the document has no `Statement`", root.span);
    }
    out.problems = reader.problems;
    out.has_duplicates = reader.has_duplicates;
    out.text = text;
    Ok(out)
}

fn decoded(text: &str, problems: &mut Vec<Problem>) -> String {
    let mut text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
    let is_encoded = ["%7B", "%7b"].iter().any(|brace| text.trim_start().starts_with(brace));
    if let Some(decoded) = percent_decoded(text.trim()).filter(|_| is_encoded) {
        text = decoded;
        problems.push(Problem {
            code: "url_encoded",
            level: Level::Info,
            message: "the document was URL-encoded".to_owned(),
            span: Span::default(),
        });
    }
    text
}

/// RFC 3986 2.1.
fn percent_decoded(text: &str) -> Option<String> {
    let (mut out, mut bytes) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        out.push(digit(bytes.next()?)? << 4 | digit(bytes.next()?)?);
    }
    String::from_utf8(out).ok()
}

struct Reader {
    duplicates: Duplicates,
    problems: Vec<Problem>,
    has_duplicates: bool,
    /// Of the statement that is being read.
    is_certain: bool,
}

impl Reader {
    fn problem(&mut self, code: &'static str, level: Level, message: impl Into<String>, span: Span) {
        self.problems.push(Problem { code, level, message: message.into(), span });
    }

    /// A part that cannot be read: the statement it stands in is uncertain.
    fn error(&mut self, code: &'static str, message: impl Into<String>, span: Span) {
        self.is_certain = false;
        self.problem(code, Level::Error, message, span);
    }

    fn unknown(&mut self, m: &Member) {
        let what = format!("`{}` is no element of a policy", m.key);
        self.problem("unknown_field", Level::Error, what, m.key_span);
    }

    /// One member of each key, by the reading of duplicates, in the order of the document.
    fn pick<'n>(&mut self, members: &'n [Member]) -> Vec<&'n Member> {
        let mut out: Vec<&Member> = Vec::with_capacity(members.len());
        for m in members {
            match out.iter_mut().find(|o| o.key == m.key) {
                None => out.push(m),
                Some(other) => {
                    self.has_duplicates = true;
                    // Certain in either reading; that they may differ is `has_duplicates`.
                    self.problem(
                        "duplicate_key",
                        Level::Error,
                        format!("`{}` stands twice", m.key),
                        m.key_span,
                    );
                    if self.duplicates == Duplicates::LastWins {
                        *other = m;
                    }
                }
            }
        }
        out
    }

    fn statements(&mut self, node: &Node) -> Result<Vec<Statement>, DocumentError> {
        let nodes = match &node.value {
            Value::Array(items) => items.as_slice(),
            Value::Object(_) => {
                self.problem("statement_object", Level::Info, "one statement, without a list", node.span);
                std::slice::from_ref(node)
            }
            _ => {
                self.error(
                    "statement_type",
                    format!("`Statement` is a list, this is {}", node.kind()),
                    node.span,
                );
                &[]
            }
        };
        if nodes.len() > STATEMENTS_MAX {
            return Err(DocumentError::Statements(nodes.len()));
        }
        Ok(nodes.iter().enumerate().filter_map(|(i, n)| self.statement(i, n)).collect())
    }

    fn statement(&mut self, index: usize, node: &Node) -> Option<Statement> {
        let Value::Object(members) = &node.value else {
            self.error(
                "statement_type",
                format!("a statement is an object, this is {}", node.kind()),
                node.span,
            );
            return None;
        };
        self.is_certain = true;
        let everything = || Words {
            negated: false,
            values: vec![Word { text: "*".to_owned(), span: node.span }],
            span: node.span,
        };
        let (mut sid, mut effect, mut principal, mut conditions) = (None, None, None, Vec::new());
        let (mut action, mut resource): (Option<Words>, Option<Words>) = (None, None);
        for m in self.pick(members) {
            match m.key.as_str() {
                "Sid" => sid = m.value.scalar(),
                "Effect" => effect = Some(self.effect(&m.value)),
                "Action" | "NotAction" => self.once(&mut action, m),
                "Resource" | "NotResource" => self.once(&mut resource, m),
                "Principal" | "NotPrincipal" => {
                    if principal.is_some() {
                        self.error("both_forms", "`Principal` and `NotPrincipal` together", m.key_span);
                    }
                    principal = Some(self.principals(m));
                }
                "Condition" => conditions = self.conditions(&m.value),
                // It restricts nothing: the rest of the statement means what it says.
                _ => self.unknown(m),
            }
        }
        if effect.is_none() {
            self.error("no_effect", "the statement has no `Effect`", node.span);
        }
        if action.is_none() {
            self.error("no_action", "the statement has neither `Action` nor `NotAction`", node.span);
        }
        if resource.is_none() && principal.is_none() {
            self.error("no_resource", "the statement has neither `Resource` nor `NotResource`", node.span);
        }
        Some(Statement {
            index,
            sid,
            effect: effect.unwrap_or(Effect::Allow),
            principal,
            action: action.unwrap_or_else(everything),
            resource,
            conditions,
            is_certain: self.is_certain,
            span: node.span,
        })
    }

    /// `Effect`. What is no word for it is read as the worse of the two it resembles, and the statement is uncertain.
    fn effect(&mut self, node: &Node) -> Effect {
        let text = node.scalar().unwrap_or_default();
        match text.as_str() {
            "Allow" => Effect::Allow,
            "Deny" => Effect::Deny,
            _ => {
                self.error("effect", format!("`Effect` is Allow or Deny, not `{text}`"), node.span);
                if text.trim().eq_ignore_ascii_case("deny") { Effect::Deny } else { Effect::Allow }
            }
        }
    }

    fn once(&mut self, slot: &mut Option<Words>, m: &Member) {
        if slot.is_some() {
            self.error("both_forms", format!("`{}` beside its other form", m.key), m.key_span);
        }
        let values = self.words(&m.value, &m.key);
        *slot = Some(Words { negated: m.key.starts_with("Not"), values, span: m.value.span });
    }

    /// A string or a list of strings.
    fn words(&mut self, node: &Node, of: &str) -> Vec<Word> {
        let nodes = match &node.value {
            Value::Array(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if nodes.is_empty() {
            self.problem("empty_list", Level::Warning, format!("`{of}` is an empty list"), node.span);
        }
        let mut out = Vec::with_capacity(nodes.len());
        for n in nodes {
            match n.scalar() {
                Some(text) => out.push(Word { text, span: n.span }),
                None => self.error("value_type", format!("`{of}` holds texts, this is {}", n.kind()), n.span),
            }
        }
        out
    }

    fn principals(&mut self, m: &Member) -> Principals {
        let mut values = Vec::new();
        match &m.value.value {
            Value::Object(kinds) => {
                for kind in self.pick(kinds) {
                    let of = match kind.key.as_str() {
                        "AWS" => PrincipalKind::Aws,
                        "Service" => PrincipalKind::Service,
                        "Federated" => PrincipalKind::Federated,
                        "CanonicalUser" => PrincipalKind::CanonicalUser,
                        _ => {
                            let what = format!("`{}` is no kind of principal", kind.key);
                            self.error("principal_kind", what, kind.key_span);
                            continue;
                        }
                    };
                    values.extend(self.words(&kind.value, &kind.key).into_iter().map(|w| (of, w)));
                }
            }
            _ => {
                for word in self.words(&m.value, &m.key) {
                    if word.text == "*" {
                        values.push((PrincipalKind::Everyone, word));
                    } else {
                        // AWS takes a bare ARN or account id in some services.
                        self.problem(
                            "bare_principal",
                            Level::Warning,
                            format!("`{}` stands without its kind; read as `AWS`", word.text),
                            word.span,
                        );
                        values.push((PrincipalKind::Aws, word));
                    }
                }
            }
        }
        Principals { negated: m.key == "NotPrincipal", values, span: m.value.span }
    }

    fn conditions(&mut self, node: &Node) -> Vec<Condition> {
        let Value::Object(operators) = &node.value else {
            self.error(
                "condition_type",
                format!("`Condition` is an object, this is {}", node.kind()),
                node.span,
            );
            return Vec::new();
        };
        let mut out: Vec<Condition> = Vec::new();
        for o in self.pick(operators) {
            let Some(operator) = Operator::read(&o.key) else {
                self.error("operator", format!("`{}` is no condition operator", o.key), o.key_span);
                continue;
            };
            let Value::Object(keys) = &o.value.value else {
                let what = format!("`{}` holds keys with values, this is {}", o.key, o.value.kind());
                self.error("condition_type", what, o.value.span);
                continue;
            };
            for k in self.pick(keys) {
                let values = self.words(&k.value, &k.key);
                let condition = Condition { operator, key: k.key.clone(), values, span: k.value.span };
                if out.iter().any(|c| c.operator == operator && c.key.eq_ignore_ascii_case(&condition.key)) {
                    let what = format!("`{}` stands twice under `{}`, in another case", k.key, o.key);
                    self.error("duplicate_condition", what, k.key_span);
                }
                out.push(condition);
            }
        }
        out
    }
}
