//! The engine: which combinations of statements can apply to one request (access.md 10).
//!
//! A request is a product of independent dimensions: action, resource, who asks, and each condition key. For each dimension we
//! compute the *masks* that its values have: one bit per statement, set when the statement's part of that dimension is met,
//! each with a value that has it. The masks of requests are the intersections over the dimensions, and whatever is asked about two
//! policies depends on the mask alone. So the answer is exact, and a "no" comes with a request.
//!
//! Where dimensions depend on each other (a variable in a pattern, a principal and the keys that follow from it) the outer loop
//! fixes what they share. Where that cannot be done exactly, Allow is widened and Deny is narrowed, and the verdict says so.

mod automaton;
mod cells;
mod covers;
mod differences;
mod dimensions;
mod hash;
mod implication;
mod keys;
mod mask;
mod parts;
mod patterns;
mod prefixes;
mod principals;
mod sections;
mod strings;
mod take;
mod values;

pub use cells::{ActionClasses, Cell, Cells, Row, TooLarge, cells};
pub use implication::{Verdict, implies};
pub use take::Take;
pub(crate) use take::may_differ;
