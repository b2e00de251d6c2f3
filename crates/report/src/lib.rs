//! Findings, controls and proofs go in; documents and pictures come out.
//!
//! Everything here is a function from data to text: no clock, no file, no network, no randomness (N3). The evidence of a finding is
//! inside the finding, so no event and no resource is ever seen here (N5).
//!
//! Four ideas:
//!
//! - **A picture is text.** [`sparkline`], [`bar`], [`columns`], [`ring`] and [`timeline`] return SVG made of presentation
//!   attributes only: no `style` attribute, no script, no font, so that the strictest content policy lets them through and the
//!   same bytes serve a page and a printed document. Each mark also has a class (`tone-high`), which a page may colour for its
//!   theme; the attribute is what stays without one.
//! - **A picture says what it shows.** Each takes a [`Label`] with a title and a description for screen readers. A value that
//!   nobody has is a gap, never a zero. More than [`MARKS_MAX`] values are merged, and the description says so.
//! - **One writer escapes.** All text passes [`Markup`], which makes controls and bidirectional marks visible and escapes the five
//!   characters of XML. There is no way round it but [`Markup::raw`], used only for what this crate drew itself.
//! - **What checks said is one type.** A [`Report`] knows neither policies nor findings; [`sarif`] and [`junit`] print it for code
//!   scanning and build servers, so that a check that fills it in has both.
//!
//! Truths: O1 (the same input twice gives the same bytes twice; every list is sorted or keeps the order given, tested with each
//! golden), O2 (a document holds its style and loads nothing), F1 (what could not be looked at has its own section in
//! [`summary_html`], is an error in [`junit`] and a failed run in [`sarif`], and is never left out).
//!
//! It does not decide what a number means, fetch anything, or know a route of the web interface.
//!
//! ```
//! let svg = report::sparkline(
//!     &report::Label { id: "rate", title: "events a minute", desc: "" },
//!     &[Some(1.0), None, Some(3.0)],
//!     report::Size { width: 60, height: 16 },
//! );
//! assert!(svg.starts_with("<svg ") && svg.contains("events a minute") && !svg.contains("style="));
//! ```
//!
//! Rejected: a chart crate (they embed fonts or inline style), a template engine (a second escaping rule beside this one), and
//! drawing in the browser only (a page without JavaScript would be blind, a printed report empty).

mod checked;
mod junit;
mod markup;
mod picture;
mod sarif;
mod summary;
mod words;

pub use checked::{Case, CaseResult, CheckRun, Level, Logical, Outcome, Position, Region, Report};
pub use junit::junit;
pub use markup::Markup;
pub use picture::{
    Column, Label, Lane, MARKS_MAX, Mark, Part, Size, Tone, bar, columns, ring, sparkline, timeline,
};
pub use sarif::sarif;
pub use summary::{
    ControlResult, Next, Stage, StageState, Summary, VaultSummary, Verdict, severity_tone, state_tone,
    summary_html,
};
pub use words::{ago, duration, group_digits, headline, headline_term};
