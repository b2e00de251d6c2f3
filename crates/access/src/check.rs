//! Checks for pipelines: no new access, access not granted (IAM access-analyzer-custom-policy-checks).

use crate::policy::{Document, DocumentError, Duplicates, parse};
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

/// Both readings of a document whose keys stand twice; one of any other.
///
/// # Errors
/// The text is no policy.
pub fn readings(text: &str) -> Result<Vec<Document>, DocumentError> {
    let last = parse(text, Duplicates::LastWins)?;
    if !last.has_duplicates {
        return Ok(vec![last]);
    }
    Ok(vec![last, parse(text, Duplicates::FirstWins)?])
}

/// Passes when every request that `new` allows is allowed by `existing`, in every reading of both.
#[must_use]
pub fn no_new_access(existing: &[Document], new: &[Document]) -> Outcome {
    let mut undecided = None;
    for (new, existing) in new.iter().flat_map(|n| existing.iter().map(move |e| (n, e))) {
        match implies(new, existing) {
            Verdict::Holds => {}
            Verdict::Fails(request) => {
                let statement = allowing(new, &request);
                return Outcome::Fail { request, statement };
            }
            Verdict::Undecided(why, request) => drop(undecided.get_or_insert((why, request))),
        }
    }
    undecided.map_or(Outcome::Pass, |(why, request)| Outcome::Undecided { why, request })
}

/// The first statement that allows a request.
fn allowing(document: &Document, request: &Request) -> Option<usize> {
    match crate::eval::outcome(document, request, crate::eval::Doubt::Allows) {
        crate::eval::Outcome::Allowed(by) => by.first().copied(),
        _ => None,
    }
}
