use super::{
    Condition, Document, Duplicates, Effect, Level, Operator, PrincipalKind, Principals, Problem,
    STATEMENTS_MAX, Statement, Version, Word, Words,
};
use crate::json::{self, JsonError, Member, Node, Span, Value, line_column};
use crate::reading::{Reading, Switch, Switches};

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
    parse_in(
        text,
        match duplicates {
            Duplicates::LastWins => Reading::NONE,
            Duplicates::FirstWins => Reading::of(Switch::DuplicateKey),
        },
    )
}

/// All readings of a text that has more than one, the usual one first.
///
/// # Errors
/// As [`parse`].
pub fn readings(text: &str) -> Result<Vec<Document>, DocumentError> {
    let usual = parse_in(text, Reading::NONE)?;
    if usual.touches.is_empty() {
        return Ok(vec![usual]);
    }
    // Elements that are none in the one reading may stand twice in the other.
    let touches = usual.touches.or(parse_in(text, Reading::of(Switch::ElementNameCase))?.touches);
    let others = touches.combinations().skip(1).map(|reading| parse_in(text, reading));
    let mut all = std::iter::once(Ok(usual)).chain(others).collect::<Result<Vec<_>, _>>()?;
    all.iter_mut().for_each(|document| document.touches = touches);
    Ok(all)
}

/// Names of the elements of a policy, and of a statement.
const ELEMENTS: [&str; 3] = ["Version", "Id", "Statement"];
const OF_STATEMENT: [&str; 9] = [
    "Sid",
    "Effect",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Principal",
    "NotPrincipal",
    "Condition",
];
const OF_PRINCIPAL: [&str; 4] = ["AWS", "Service", "Federated", "CanonicalUser"];

/// Reads a policy in one reading of [`Switch::DuplicateKey`] and [`Switch::ElementNameCase`].
///
/// # Errors
/// As [`parse`].
pub fn parse_in(text: &str, reading: Reading) -> Result<Document, DocumentError> {
    let mut problems = Vec::new();
    let text = decoded(text, &mut problems);
    let root = json::read(&text).map_err(DocumentError::Json)?;
    let Value::Object(members) = &root.value else {
        let (line, column) = line_column(&text, root.span.start as usize);
        return Err(DocumentError::NotAnObject { line, column, kind: root.kind() });
    };
    let mut reader = Reader { reading, problems, touches: Switches::NONE, is_certain: true };
    let mut out = Document {
        text: String::new(),
        version: Version::default(),
        id: None,
        statements: Vec::new(),
        problems: Vec::new(),
        touches: Switches::NONE,
        reading,
    };
    let (mut has_version, mut has_statement) = (false, false);
    for (name, m) in reader.pick(members, &ELEMENTS) {
        match name {
            "Version" => {
                has_version = true;
                match m.value.scalar().as_deref() {
                    Some("2012-10-17") => out.version = Version::V2012,
                    Some("2008-10-17") => {}
                    _ => reader.error("version", "`Version` is 2012-10-17 or 2008-10-17", m.value.span),
                }
            }
            "Id" => out.id = m.value.scalar(),
            "Statement" => {
                has_statement = true;
                out.statements = reader.statements(&m.value)?;
            }
            _ => reader.unknown(m),
        }
    }
    if !has_version && text.contains("${") {
        let what = "without `Version` variables are plain text: `${…}` stands for itself here";
        reader.problem("variables_without_version", Level::Warning, what, root.span);
    }
    if !has_statement {
        reader.error("no_statement", "the document has no `Statement`", root.span);
    }
    out.problems = reader.problems;
    out.touches = reader.touches;
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
    reading: Reading,
    problems: Vec<Problem>,
    touches: Switches,
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

    /// The name that a key stands for: itself, or in one reading the element that it is in another case.
    fn name<'n>(&mut self, key: &'n str, names: &[&'static str]) -> &'n str {
        if names.contains(&key) {
            return key;
        }
        let Some(name) = names.iter().find(|name| name.eq_ignore_ascii_case(key)) else { return key };
        self.touches.insert(Switch::ElementNameCase);
        if self.reading.has(Switch::ElementNameCase) { name } else { key }
    }

    /// One member of each name, by the reading of duplicates, in the order of the document.
    fn pick<'n>(&mut self, members: &'n [Member], names: &[&'static str]) -> Vec<(&'n str, &'n Member)> {
        let mut out: Vec<(&str, &Member)> = Vec::with_capacity(members.len());
        for m in members {
            let name = self.name(&m.key, names);
            match out.iter_mut().find(|(other, _)| *other == name) {
                None => out.push((name, m)),
                Some((_, other)) => {
                    self.touches.insert(Switch::DuplicateKey);
                    // Certain in either reading; that they may differ is in `touches`.
                    self.problem(
                        "duplicate_key",
                        Level::Error,
                        format!("`{}` stands twice", m.key),
                        m.key_span,
                    );
                    if !self.reading.has(Switch::DuplicateKey) {
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
        for (name, m) in self.pick(members, &OF_STATEMENT) {
            match name {
                "Sid" => sid = m.value.scalar(),
                "Effect" => effect = Some(self.effect(&m.value)),
                "Action" | "NotAction" => self.once(&mut action, name, m),
                "Resource" | "NotResource" => self.once(&mut resource, name, m),
                "Principal" | "NotPrincipal" => {
                    if principal.is_some() {
                        self.error("both_forms", "`Principal` and `NotPrincipal` together", m.key_span);
                    }
                    principal = Some(self.principals(name, m));
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

    fn once(&mut self, slot: &mut Option<Words>, name: &str, m: &Member) {
        if slot.is_some() {
            self.error("both_forms", format!("`{}` beside its other form", m.key), m.key_span);
        }
        let values = self.words(&m.value, &m.key);
        *slot = Some(Words { negated: name.starts_with("Not"), values, span: m.value.span });
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

    fn principals(&mut self, name: &str, m: &Member) -> Principals {
        let mut values = Vec::new();
        match &m.value.value {
            Value::Object(kinds) => {
                for (name, kind) in self.pick(kinds, &OF_PRINCIPAL) {
                    let of = match name {
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
        Principals { negated: name == "NotPrincipal", values, span: m.value.span }
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
        for (_, o) in self.pick(operators, &[]) {
            let Some(operator) = Operator::read(&o.key) else {
                self.error("operator", format!("`{}` is no condition operator", o.key), o.key_span);
                continue;
            };
            let Value::Object(keys) = &o.value.value else {
                let what = format!("`{}` holds keys with values, this is {}", o.key, o.value.kind());
                self.error("condition_type", what, o.value.span);
                continue;
            };
            for (_, k) in self.pick(keys, &[]) {
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
