//! Statements that apply wherever another one does, as their texts show. Most questions are about a document and the same document
//! after an edit: what stands in both needs no automaton.
//!
//! Only what is sure is said: two statements that mean the same in other words are left to the engine.

use super::dimensions::Part;
use crate::policy::{Base, Condition, Document, PrincipalKind, Principals, Statement, Word, Words};

/// Whether `wide` applies to every request with an action of both that `narrow` applies to.
pub(super) fn covers(wide: &Part<'_>, narrow: &Part<'_>) -> bool {
    let (w, n) = (wide.statement, narrow.statement);
    // What cannot be read for certain applies to other requests than its text says.
    if !(w.is_certain && n.is_certain) {
        return false;
    }
    let sides = Sides { is_one_language: wide.document.version == narrow.document.version };
    // Without the values of its variables a statement may be invalid, whatever else it lists.
    if has_variables(w) && !has_all(w, n) {
        return false;
    }
    let has_conditions =
        w.conditions.iter().all(|wide| n.conditions.iter().any(|narrow| sides.condition(wide, narrow)));
    has_conditions
        && sides.principals(w.principal.as_ref(), n.principal.as_ref())
        && sides.resources(wide.document, w.resource.as_ref(), n.resource.as_ref())
}

fn texts(statement: &Statement) -> impl Iterator<Item = &str> {
    let resources = statement.resource.iter().flat_map(|r| &r.values);
    resources.chain(statement.conditions.iter().flat_map(|c| &c.values)).map(|w| w.text.as_str())
}

fn has_variables(statement: &Statement) -> bool {
    texts(statement).any(|t| t.contains("${"))
}

/// Whether each text with a variable in `wide` is one of `narrow`.
fn has_all(wide: &Statement, narrow: &Statement) -> bool {
    texts(wide).filter(|t| t.contains("${")).all(|t| texts(narrow).any(|other| t == other))
}

struct Sides {
    /// `${…}` means the same in both documents.
    is_one_language: bool,
}

impl Sides {
    fn is_same(&self, a: &Word, b: &Word) -> bool {
        a.text == b.text && (self.is_one_language || !a.text.contains("${"))
    }

    /// Each of `some` is one of `all`.
    fn within(&self, some: &[Word], all: &[Word]) -> bool {
        some.iter().all(|a| all.iter().any(|b| self.is_same(a, b)))
    }

    fn resources(&self, document: &Document, wide: Option<&Words>, narrow: Option<&Words>) -> bool {
        let Some(wide) = wide else { return true };
        if !wide.negated && wide.values.iter().any(|w| w.text == "*" && document.syntax(true).wildcards) {
            return true;
        }
        match narrow {
            Some(narrow) if narrow.negated == wide.negated => match wide.negated {
                false => self.within(&narrow.values, &wide.values),
                true => self.within(&wide.values, &narrow.values),
            },
            _ => false,
        }
    }

    fn principals(&self, wide: Option<&Principals>, narrow: Option<&Principals>) -> bool {
        let Some(wide) = wide else { return true };
        if !wide.negated && wide.values.iter().any(|(kind, _)| *kind == PrincipalKind::Everyone) {
            return true;
        }
        let within = |some: &Principals, all: &Principals| {
            some.values
                .iter()
                .all(|(kind, word)| all.values.iter().any(|(k, w)| k == kind && w.text == word.text))
        };
        match narrow {
            Some(narrow) if narrow.negated == wide.negated => match wide.negated {
                false => within(narrow, wide),
                true => within(wide, narrow),
            },
            _ => false,
        }
    }

    fn condition(&self, wide: &Condition, narrow: &Condition) -> bool {
        // Tags of other cases may be other keys.
        let is_one_key = match wide.key.contains('/') {
            true => crate::request::spelled(&wide.key) == crate::request::spelled(&narrow.key),
            false => wide.key.eq_ignore_ascii_case(&narrow.key),
        };
        if wide.operator != narrow.operator || !is_one_key {
            return false;
        }
        let (some, all) = (&narrow.values, &wide.values);
        match (wide.operator.base, wide.operator.negated) {
            // One value more in a list of forbidden ones is a request less.
            (base, true) if base != Base::Null => self.within(all, some),
            _ => self.within(some, all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::{Doubt, Outcome, outcome};
    use crate::policy::{Duplicates, parse};
    use crate::symbolic::Take;

    fn document(version: &str, body: &str) -> Document {
        let text = format!(
            r#"{{"Version":"{version}","Statement":{{"Effect":"Allow","Action":"s3:GetObject",{body}}}}}"#
        );
        parse(&text, Duplicates::LastWins).unwrap()
    }

    fn is_covered(wide: &Document, narrow: &Document) -> bool {
        let part =
            |document| Part { bit: 0, document, statement: &document.statements[0], take: Take::default() };
        covers(&part(wide), &part(narrow))
    }

    #[test]
    fn what_the_texts_show() {
        let check = |wide: &str, narrow: &str, expected: [bool; 2]| {
            let (wide, narrow) = (document("2012-10-17", wide), document("2012-10-17", narrow));
            let found = [is_covered(&wide, &narrow), is_covered(&narrow, &wide)];
            assert_eq!(found, expected, "{}\n{}", wide.text, narrow.text);
        };
        let with = |condition: &str| format!(r#""Resource":"a","Condition":{{{condition}}}"#);
        check(r#""Resource":["a","b"]"#, r#""Resource":"a""#, [true, false]);
        check(r#""NotResource":"a""#, r#""NotResource":["a","b"]"#, [true, false]);
        check(r#""NotResource":"*""#, r#""Resource":"a""#, [false, false]);
        check(r#""Resource":"*""#, r#""NotResource":"a""#, [true, false]);
        check(
            r#""Principal":"*","Resource":"a""#,
            r#""Principal":{"AWS":"1"},"Resource":"a""#,
            [true, false],
        );
        check(r#""Resource":"a""#, &with(r#""StringEquals":{"k":"v"}"#), [true, false]);
        check(
            &with(r#""StringEquals":{"k":["v","w"]}"#),
            &with(r#""StringEquals":{"K":"v"}"#),
            [true, false],
        );
        check(
            &with(r#""StringNotEquals":{"k":"v"}"#),
            &with(r#""StringNotEquals":{"k":["v","w"]}"#),
            [true, false],
        );
        check(&with(r#""StringLike":{"k":"v"}"#), &with(r#""StringEquals":{"k":"v"}"#), [false, false]);
        check(&with(r#""Null":{"k":"true"}"#), &with(r#""Null":{"k":"false"}"#), [false, false]);
    }

    #[test]
    fn another_version_reads_variables_otherwise() {
        for (text, is_same) in [("${aws:username}", false), ("x", true)] {
            let body = format!(r#""Resource":"{text}""#);
            let (old, new) = (document("2008-10-17", &body), document("2012-10-17", &body));
            assert_eq!(is_covered(&old, &new), is_same);
            assert!(is_covered(&new, &new));
        }
    }

    /// What is said of the texts holds for requests; random conditions on one key, all values that tell them apart.
    #[test]
    fn said_of_texts_and_true_of_requests() {
        let operators = [
            "StringEquals",
            "StringNotEquals",
            "StringLikeIfExists",
            "StringNotLike",
            "ForAllValues:StringEquals",
            "ForAnyValue:StringEquals",
            "ForAllValues:StringNotEquals",
            "ForAnyValue:StringNotEquals",
            "Null",
        ];
        let lists: [&[&str]; 5] = [&["true"], &["a"], &["a", "b"], &["true", "false"], &["a", "true", "b*"]];
        let mut documents = Vec::new();
        for operator in operators {
            for list in lists {
                let body = format!(r#""Resource":"*","Condition":{{"{operator}":{{"k":{list:?}}}}}"#);
                documents.push(document("2012-10-17", &body));
            }
        }
        let sets: [&[&str]; 8] =
            [&[], &["a"], &["b"], &["true"], &["zz"], &["a", "b"], &["a", "zz"], &["true", "bb"]];
        for wide in &documents {
            for narrow in documents.iter().filter(|narrow| is_covered(wide, narrow)) {
                for set in sets {
                    let mut request = crate::Request {
                        principal: None,
                        action: "s3:GetObject".to_owned(),
                        resource: "*".to_owned(),
                        context: crate::Context::new(),
                    };
                    if !set.is_empty() {
                        request.context.insert("k".to_owned(), set.iter().map(|s| (*s).to_owned()).collect());
                    }
                    let is_allowed =
                        |d: &Document| matches!(outcome(d, &request, Doubt::Allows), Outcome::Allowed(_));
                    assert!(
                        !is_allowed(narrow) || is_allowed(wide),
                        "{}\n{}\n{set:?}",
                        wide.text,
                        narrow.text
                    );
                }
            }
        }
    }
}
