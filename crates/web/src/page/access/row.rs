//! One way in: its sentence, and folded under it what shows it, what decides it and what to do.

use crate::action::Action;
use crate::ask::Ask;
use crate::page::findings::INTENDED_MAX;
use crate::page::parts::{self, cell, icon, outside};
use crate::page::token_field;
use crate::url::View;
use crate::view::{AccessClass, AccessGroup, AccessRow, FindingState};
use crate::words;
use maud::{Markup, html};
use model::Time;

/// Lists of a row are printed up to here; JSON and the command hold all.
const LIST_MAX: usize = 30;
/// Lines of a request or a diff, and characters of a line: a policy may be a megabyte long.
const LINES_MAX: usize = 200;
const LINE_CHARS_MAX: usize = 1_000;

pub(super) fn one(ask: &Ask, view: &View, r: &AccessRow) -> Markup {
    let is_unknown = r.class == AccessClass::Unknown;
    html! {
        li data-row .is-hidden[r.is_hidden()] {
            div .reach-mark { (parts::severity(r.severity)) }
            div .reach-what {
                a .claim href={ "/findings/" (r.id) } data-open { (cell(&r.sentence)) }
                p .soft {
                    span .said title=(format!("class: {}", r.class.term())) { @if is_unknown { (icon("question")) } (r.class.word()) }
                    " · " (outside(&r.resource_type)) " · " (outside(&r.account)) @if let Some(region) = &r.region { " " (outside(region)) }
                    @if !r.confirmed && !is_unknown { " · " span .flag { "maybe: no request could be confirmed" } }
                    @if r.state == FindingState::Notified { " · somebody was told" }
                    @if r.state == FindingState::Resolved { " · " span .flag { "marked as resolved, and still there" } }
                }
                (mark(r))
                @if is_unknown {
                    p { "It may be open: nobody could look." @if let Some(why) = r.risk.first() { " " (cell(why)) } }
                }
                details { summary { "Details" } (more(ask, view, r)) }
            }
        }
    }
}

/// What somebody decided about it.
fn mark(r: &AccessRow) -> Markup {
    let word = if r.intended { "Intended" } else { "Deliberately hidden" };
    html! {
        @if r.is_hidden() {
            p .intended-mark {
                span .said.quiet { (icon("hidden")) (word) }
                @if let Some(s) = &r.suppression { " until " (s.until.day()) ", " (outside(&s.owner)) " answers for it: " (cell(&s.reason)) }
                " " a href={ "/findings/" (r.id) } { "Change" }
            }
        }
    }
}

/// A list in which every line holds.
pub(super) fn all_of(list: &[String]) -> Markup {
    html! {
        ul .bare {
            @for line in list.iter().take(LIST_MAX) { li { (cell(line)) } }
            @if list.len() > LIST_MAX { li .soft { "and " (list.len() - LIST_MAX) " more" } }
        }
    }
}

fn titled(title: &str, list: &[String]) -> Markup {
    html! { @if !list.is_empty() { h3 { (title) } (all_of(list)) } }
}

fn more(ask: &Ask, view: &View, r: &AccessRow) -> Markup {
    let mut facts = vec![("Resource", html! { code { (outside(&r.resource)) } })];
    if !r.who.is_empty() {
        facts.push(("Who", html! { code { (outside(&r.who)) } }));
    }
    if !r.actions.is_empty() {
        facts.push(("Actions", all_of(&r.actions)));
    }
    if r.class.group().is_open() && r.conditions.is_empty() {
        facts.push(("Conditions", html! { "none" }));
    } else if !r.conditions.is_empty() {
        facts.push(("Conditions", all_of(&r.conditions)));
    }
    html! {
        (parts::facts(&facts))
        (shown_by(r))
        (titled("What decides it", &r.decided_by))
        @if !r.held_back_by.is_empty() {
            h3 { "What holds it back" }
            p .soft { "Take away any one line, and it is open." }
            (all_of(&r.held_back_by))
        }
        @if let Some(n) = &r.public_note { h3 { "Is it public?" } p { (outside(n)) } }
        @if let Some(e) = &r.exactness { h3 { "Not exact" } p { "It may cover more than is allowed, never less: " (outside(e)) } }
        (titled(if r.class == AccessClass::Unknown { "What is missing" } else { "Why this severity" }, &r.risk))
        @if !r.fix.is_empty() || r.patch.is_some() {
            h3 { "What to do" }
            p { (outside(&r.fix)) }
            @if let Some(p) = &r.patch {
                p .soft { "As a change of the document. With it this row is gone and nothing new is allowed: both were checked." }
                (diff(p))
            }
        }
        @if !r.is_hidden() && ask.may(Action::Triage) { (intend(ask, view, r)) }
    }
}

/// The beginning of a long text, and how many lines it lacks.
fn beginning(text: &str) -> (Vec<String>, usize) {
    let cut = |line: &str| match line.char_indices().nth(LINE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
        None => line.to_owned(),
    };
    (text.lines().take(LINES_MAX).map(cut).collect(), text.lines().count().saturating_sub(LINES_MAX))
}

fn lacking(lines: usize) -> Markup {
    html! { @if lines > 0 { p .soft { "and " (words::count(lines as u64, "line", "lines")) " more; the JSON of this page has them" } } }
}

/// A request or any other text of several lines.
pub(super) fn lines(text: &str) -> Markup {
    let (lines, more) = beginning(text);
    html! { (parts::code_lines(&lines.join("\n"))) (lacking(more)) }
}

fn shown_by(r: &AccessRow) -> Markup {
    html! {
        @if let Some(w) = &r.witness {
            h3 { @if r.confirmed { "The request that shows it" } @else { "A request that may be allowed" } }
            (lines(w))
        }
        @if let Some(c) = &r.replay {
            p .soft { "Ask the evaluator about it, statement by statement:" }
            (parts::code(c))
        }
    }
}

/// A unified diff; the sign in front of each line carries the meaning, the colour repeats it.
fn diff(text: &str) -> Markup {
    let (lines, more) = beginning(text);
    html! {
        pre .diff tabindex="0" { code {
            @for line in &lines {
                @let shown = parts::visible(line);
                @match line.chars().next() {
                    Some('+') => { ins { (shown) } }
                    Some('-') => { del { (shown) } }
                    _ => { (shown) }
                }
                "\n"
            }
        } }
        (lacking(more))
    }
}

/// "This is intended": the same write as hiding a finding, told apart by one field. What nobody could look at cannot be meant.
fn intend(ask: &Ask, view: &View, r: &AccessRow) -> Markup {
    let id = r.id;
    let name = ask.caller.as_ref().map_or("", |c| c.name.as_str());
    let (from, to) = (ask.now.plus(Time::DAY).day(), ask.now.plus(INTENDED_MAX).day());
    html! {
        @if r.class.group().is_open() || r.class.group() == AccessGroup::HeldBack {
            details .decide {
                summary { "This is intended" }
                form method="post" action={ "/findings/" (id) "/suppress" } {
                    (token_field(ask))
                    input type="hidden" name="version" value=(r.version);
                    input type="hidden" name="intended" value="yes";
                    input type="hidden" name="view" value=(view.with("can", []).with("on", []).canonical());
                    @if r.class == AccessClass::Public { p { strong { "Anyone at all gets in here." } " Say so only if that is what it is for." } }
                    @else if !r.confirmed { p { strong { "Nobody has confirmed what this lets in." } " What you accept may be wider than you think." } }
                    p .soft { "It stays in the list, marked, with these three lines, and counts again from the day it ends." }
                    label for={ "owner-" (id) } { "Who answers for it" }
                    input id={ "owner-" (id) } name="owner" required maxlength="200" value=(name);
                    @if r.severity.band() == "critical" { (parts::second_person(&id.to_string())) }
                    label for={ "reason-" (id) } { "Why" }
                    input id={ "reason-" (id) } name="reason" required maxlength="2000";
                    label for={ "until-" (id) } { "Until, at most " (words::count(400, "day", "days")) " from now" }
                    input id={ "until-" (id) } type="date" name="until" required min=(from) max=(to);
                    button type="submit" { "This is intended" }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let long = format!("{}\n{}", "é".repeat(LINE_CHARS_MAX + 1), "+x\n".repeat(LINES_MAX + 6));
        let (shown, more) = beginning(&long);
        assert_eq!((shown.len(), more), (LINES_MAX, 7));
        assert_eq!(
            shown.first().map(|l| l.chars().count()),
            Some(LINE_CHARS_MAX + 1),
            "the last is the mark"
        );
        for html in [diff(&long).into_string(), lines(&long).into_string()] {
            assert!(html.contains("and 7 lines more") && html.contains("é…"), "{html}");
        }
        for html in [diff("+a\n-b\n c").into_string(), lines("a\nb").into_string()] {
            assert!(!html.contains(" more") && !html.contains('…'), "{html}");
        }
        assert!(diff("+a\n-b\n c").into_string().contains("<ins>+a</ins>\n<del>-b</del>\n c\n"));
    }
}
