//! Statements that stand in no document: what the analyses ask about beside what the documents say.

use super::{Effect, Statement, Word, Words};

pub(crate) fn word(text: &str) -> Word {
    Word { text: text.to_owned(), span: Default::default() }
}

pub(crate) fn words(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Words {
    let values = texts.into_iter().map(|t| word(t.as_ref())).collect();
    Words { negated: false, values, span: Default::default() }
}

/// An Allow of everything to nobody named.
pub(crate) fn blank() -> Statement {
    Statement {
        index: 0,
        sid: None,
        effect: Effect::Allow,
        principal: None,
        action: words(["*"]),
        resource: None,
        conditions: Vec::new(),
        is_certain: true,
        span: Default::default(),
    }
}
