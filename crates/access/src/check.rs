//! Checks for pipelines: no new access, access not granted (IAM access-analyzer-custom-policy-checks).

use crate::catalog;
use crate::eval::{Doubt, outcome};
use crate::json::Span;
use crate::policy::{Document, DocumentError, Effect, Statement, Version, Word, Words};
use crate::reading::{Reading, Switches, depends_on};
use crate::request::Request;
use crate::symbolic::{Verdict, implies};

/// The outcome of a check.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    Pass,
    /// With a request that is allowed and should not be, and the statement of the document that allows it.
    Fail {
        request: Box<Request>,
        statement: Option<usize>,
    },
    /// Why, and a request that may be allowed where one was found.
    Undecided {
        why: String,
        request: Option<Box<Request>>,
    },
}

/// All readings of a document that can be read in several ways by its keys; one of any other.
///
/// # Errors
/// The text is no policy.
pub fn readings(text: &str) -> Result<Vec<Document>, DocumentError> {
    crate::policy::readings(text)
}

/// Passes when every request that `new` allows is allowed by `existing`, in every reading of both; fails when one is not, in any.
#[must_use]
pub fn no_new_access(existing: &[Document], new: &[Document]) -> Outcome {
    let mut undecided: Option<(String, Option<Box<Request>>)> = None;
    let mut failed: Option<(Box<Request>, Option<usize>)> = None;
    let (mut holds, mut touches) = (false, Switches::NONE);
    let pairs = new.iter().flat_map(|n| existing.iter().map(move |e| (n, e)));
    for (new, existing) in pairs.filter(|(new, existing)| is_one_reading(new, existing)) {
        touches = touches.or(new.touches).or(existing.touches);
        match implies(new, existing) {
            Verdict::Holds => holds = true,
            Verdict::Fails(request) => {
                let request = Box::new(named(*request, new, existing));
                let statement = allowing(new, &request);
                failed.get_or_insert((request, statement));
            }
            Verdict::Undecided(why, request) => drop(undecided.get_or_insert((why, request))),
        }
    }
    match (failed, undecided) {
        (Some((request, _)), _) if holds => {
            Outcome::Undecided { why: depends_on(touches), request: Some(request) }
        }
        (Some((request, statement)), _) => Outcome::Fail { request, statement },
        (None, Some((why, request))) => Outcome::Undecided { why, request },
        (None, None) => Outcome::Pass,
    }
}

/// Whether both documents are read alike in what both leave open.
fn is_one_reading(one: &Document, other: &Document) -> bool {
    let both = one.touches.and(other.touches);
    one.reading.and(both) == other.reading.and(both)
}

/// The same request with an action that exists, where one of the service's does as well.
fn named(request: Request, new: &Document, existing: &Document) -> Request {
    if catalog::action(&request.action).is_some() {
        return request;
    }
    let service = request.action.split(':').next().unwrap_or_default();
    let differs = |request: &Request| {
        outcome(new, request, Doubt::Allows).is_allowed()
            && !outcome(existing, request, Doubt::Forbids).is_allowed()
    };
    catalog::actions(service)
        .iter()
        .map(|action| Request { action: action.full_name().to_owned(), ..request.clone() })
        .find(differs)
        .unwrap_or(request)
}

/// Something that must not be granted: any of these actions on any of these resources, wildcards included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    pub actions: Vec<String>,
    pub resources: Vec<String>,
}

/// Passes when no request that `document` allows is one of `access`, in every reading. An empty list of actions or resources means all.
#[must_use]
pub fn not_granted(access: &[Access], document: &[Document]) -> Outcome {
    // Everything but that: what the document allows beyond it, it must not.
    no_new_access(&[everything_but(access)], document)
}

fn everything_but(access: &[Access]) -> Document {
    let words = |texts: &[String]| Words {
        negated: false,
        values: match texts {
            [] => vec![Word { text: "*".to_owned(), span: Span::default() }],
            texts => texts.iter().map(|text| Word { text: text.clone(), span: Span::default() }).collect(),
        },
        span: Span::default(),
    };
    let statement = |index: usize, effect: Effect, actions: &[String], resources: &[String]| Statement {
        index,
        sid: None,
        effect,
        principal: None,
        action: words(actions),
        resource: Some(words(resources)),
        conditions: Vec::new(),
        is_certain: true,
        span: Span::default(),
    };
    let mut statements = vec![statement(0, Effect::Allow, &[], &[])];
    statements.extend(
        access.iter().enumerate().map(|(i, a)| statement(i + 1, Effect::Deny, &a.actions, &a.resources)),
    );
    Document {
        text: String::new(),
        version: Version::V2008,
        id: None,
        statements,
        problems: Vec::new(),
        touches: Switches::NONE,
        reading: Reading::NONE,
    }
}

/// The first statement that allows a request.
fn allowing(document: &Document, request: &Request) -> Option<usize> {
    match outcome(document, request, Doubt::Allows) {
        crate::eval::Outcome::Allowed(by) => by.first().copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Vec<Document> {
        readings(text).unwrap()
    }

    fn verdict(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Pass => "pass",
            Outcome::Fail { .. } => "fail",
            Outcome::Undecided { .. } => "undecided",
        }
    }

    #[test]
    fn access_that_must_not_be_granted() {
        let access = |actions: &[&str], resources: &[&str]| {
            let owned = |of: &[&str]| of.iter().map(|s| (*s).to_owned()).collect();
            [Access { actions: owned(actions), resources: owned(resources) }]
        };
        let gets =
            policy(r#"{"Statement":{"Effect":"Allow","Action":"s3:Get*","Resource":"arn:aws:s3:::a/*"}}"#);
        assert_eq!(verdict(&not_granted(&access(&["s3:PutObject"], &[]), &gets)), "pass");
        assert_eq!(verdict(&not_granted(&access(&["s3:GetObject"], &[]), &gets)), "fail");
        assert_eq!(verdict(&not_granted(&access(&[], &["arn:aws:s3:::b/*"]), &gets)), "pass");
        assert_eq!(verdict(&not_granted(&access(&[], &["arn:aws:s3:::*"]), &gets)), "fail");
        let Outcome::Fail { request, statement } = not_granted(&access(&["S3:getobject"], &["*"]), &gets)
        else {
            panic!()
        };
        assert_eq!((request.to_string().as_str(), statement), ("S3:getobject on arn:aws:s3:::a/", Some(0)));
    }

    /// With a key that stands twice both readings must pass, and what only one of them allows is open.
    #[test]
    fn both_readings_count() {
        let twice = |one: &str, two: &str| {
            policy(&format!(
                r#"{{"Statement":[{{"Effect":"{one}","Effect":"{two}","Action":"s3:GetObject","Resource":"*"}}]}}"#
            ))
        };
        let nothing = policy(r#"{"Statement":[]}"#);
        assert_eq!(twice("Allow", "Deny").len(), 2);
        for document in [twice("Allow", "Deny"), twice("Deny", "Allow")] {
            let Outcome::Undecided { why, .. } = no_new_access(&nothing, &document) else { panic!() };
            assert!(why.contains("duplicate_key"), "{why}");
            // The same text is read in the same way.
            assert_eq!(verdict(&no_new_access(&document, &document)), "pass");
        }
        assert_eq!(verdict(&no_new_access(&nothing, &twice("Allow", "Allow"))), "fail");
    }

    /// What cannot be read is taken to allow where that is worse, and to allow nothing where that is worse.
    #[test]
    fn an_uncertain_statement_never_helps() {
        let odd = policy(r#"{"Statement":[{"Effect":"allow","Action":"s3:GetObject","Resource":"*"}]}"#);
        let right = policy(r#"{"Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}"#);
        assert_eq!(odd[0].problems[0].code, "effect");
        assert_eq!(verdict(&no_new_access(&right, &odd)), "pass");
        assert_eq!(verdict(&no_new_access(&odd, &right)), "fail");
        let misspelt = policy(
            r#"{"Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{"StringEqual":{"aws:username":"a"}}}]}"#,
        );
        assert_eq!(verdict(&no_new_access(&misspelt, &right)), "fail");
        assert_eq!(verdict(&no_new_access(&right, &misspelt)), "pass");
    }
}
