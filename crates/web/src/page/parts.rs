//! Small pieces that every page is made of. Text from outside passes [`outside`]; nothing else prints it.

use crate::ask::Ask;
use crate::url::{Key, View};
use crate::value::Value;
use crate::view::Facet;
use crate::words::{Said, Tone};
use maud::{Markup, html};
use model::{ControlState, LastProven, Severity, Time, escape_controls};
use report::ago;

/// Longest text of one cell; the whole is on the page of the thing.
const CELL_CHARS_MAX: usize = 160;

/// Text with controls and bidirectional marks visible. maud escapes markup.
pub(crate) fn visible(text: &str) -> String {
    escape_controls(text)
}

/// Text from outside: visible, inert, and isolated from the direction of its neighbours.
pub(crate) fn outside(text: &str) -> Markup {
    html! { bdi { (escape_controls(text)) } }
}

/// As [`outside`], cut for a table cell, whole on hover.
pub(crate) fn cell(text: &str) -> Markup {
    let escaped = escape_controls(text);
    if escaped.chars().count() <= CELL_CHARS_MAX {
        return html! { bdi { (escaped) } };
    }
    let short: String = escaped.chars().take(CELL_CHARS_MAX).collect();
    let whole: String = escaped.chars().take(CELL_CHARS_MAX * 10).collect();
    html! { bdi title=(whole) { (short) "…" } }
}

/// A moment in full; the script may turn it to the reader's zone.
pub(crate) fn moment(t: Time) -> Markup {
    let Some(t) = t.known() else { return html! { span .soft { "time unknown" } } };
    html! { time datetime=(t) { (clock_text(t)) } }
}

fn clock_text(t: Time) -> String {
    let (y, mo, d, h, m, s, _) = t.parts();
    format!("{y:04}-{mo:02}-{d:02} {h:02}:{m:02}:{s:02} UTC")
}

/// How long ago, with the moment on hover and for screen readers.
pub(crate) fn age(now: Time, t: Time) -> Markup {
    let Some(t) = t.known() else { return html! { span .soft { "time unknown" } } };
    html! { time .age datetime=(t) title=(clock_text(t)) data-age { (ago(now, t)) } }
}

pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [(&str, u64); 4] =
        [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match UNITS.iter().find(|(_, size)| n >= *size) {
        Some((unit, size)) if n / size < 10 => format!("{}.{} {unit}", n / size, n % size * 10 / size),
        Some((unit, size)) => format!("{} {unit}", n / size),
        None => format!("{n} B"),
    }
}

/// 16 × 16 shapes, drawn with the text's colour. Meaning is never in the shape alone: a word stands beside each.
pub(crate) fn icon(name: &str) -> Markup {
    let path = match name {
        "critical" => "M8 1l7 7-7 7-7-7z",
        "high" => "M8 2l7 12H1z",
        "medium" => "M8 3a5 5 0 100 10A5 5 0 008 3z",
        "info" => "M8 6.5a1.5 1.5 0 100 3 1.5 1.5 0 000-3z",
        "low" => "M8 2.5a5.5 5.5 0 100 11 5.5 5.5 0 000-11zm0 2a3.5 3.5 0 110 7 3.5 3.5 0 010-7z",
        "cross" => "M3.4 2L8 6.6 12.6 2 14 3.4 9.4 8l4.6 4.6-1.4 1.4L8 9.4 3.4 14 2 12.6 6.6 8 2 3.4z",
        "check" => "M6.2 13.2L1.4 8.4l1.5-1.5 3.3 3.3 6.9-6.9 1.5 1.5z",
        "question" => {
            "M8 1.5c-2.4 0-4 1.5-4 3.8h2c0-1.2.8-1.9 2-1.9s1.9.7 1.9 1.7c0 .8-.4 1.2-1.3 1.8C7.4 7.7 7 8.5 7 9.9v.3h2v-.2c0-.8.2-1.2 1.2-1.9C11.3 7.4 12 6.5 12 5.1c0-2.2-1.7-3.6-4-3.6zM7 12v2.2h2V12z"
        }
        "bell" => "M8 1a4.5 4.5 0 00-4.5 4.5V9L2 11v1h12v-1l-1.5-2V5.5A4.5 4.5 0 008 1zM6 13a2 2 0 004 0z",
        "hidden" => "M2 7h12v2H2z",
        "person" => "M8 2a3 3 0 100 6 3 3 0 000-6zM2.5 14c0-3 2.5-5 5.5-5s5.5 2 5.5 5z",
        "split" => "M2 3h5v2H2zM9 3h5v2H9zM2 7h5v2H2zM9 11h5v2H9zM2 11h3v2H2z",
        "seal" => {
            "M8 1l1.9 1.4 2.3-.1.7 2.2L14.7 6 14 8.2l.7 2.2-1.8 1.4-.7 2.2-2.3 0L8 15.3 6.1 14l-2.3 0-.7-2.2L1.3 10.4 2 8.2 1.3 6l1.8-1.5.7-2.2 2.3.1zM7.2 10.8l4-4-1.1-1.1-2.9 2.9-1.4-1.4-1.1 1.1z"
        }
        _ => "",
    };
    html! {
        svg .icon viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false" {
            path d=(path) fill="currentColor" fill-rule="evenodd" {}
        }
    }
}

/// Severity as word, shape and colour.
pub(crate) fn severity(s: Severity) -> Markup {
    html! { span class={ "sev " (s.band()) } title=(format!("severity {s}")) { (icon(s.band())) (s.band()) } }
}

pub(crate) fn band(word: &'static str) -> Markup {
    html! { span class={ "sev " (word) } { (icon(word)) (word) } }
}

pub(crate) fn tone_icon(t: Tone) -> Markup {
    icon(match t {
        Tone::Good => "check",
        Tone::Bad => "cross",
        Tone::Unknown => "question",
        Tone::Quiet => "low",
    })
}

pub(crate) fn state_tone(s: ControlState) -> Tone {
    match s {
        ControlState::Failed => Tone::Bad,
        ControlState::Unknown => Tone::Unknown,
        ControlState::Proven => Tone::Good,
        ControlState::Stale | ControlState::Planned | ControlState::Configured | ControlState::Effective => {
            Tone::Quiet
        }
    }
}

/// The result of a control: one of four headlines, the exact term on hover.
pub(crate) fn result(state: ControlState, last: &LastProven, now: Time) -> Markup {
    let tone = state_tone(state);
    html! {
        span class={ "pill " (tone.class()) } title=(format!("state: {}", state.term())) {
            (tone_icon(tone)) (crate::words::result(state, last, now))
        }
    }
}

/// One of the three columns of a control.
pub(crate) fn said(s: &Said) -> Markup {
    html! {
        span class={ "said " (s.tone.class()) } title=(s.term) { (tone_icon(s.tone)) (visible(&s.word)) }
        @if !s.note.is_empty() { div .soft { (cell(&s.note)) } }
    }
}

/// A value in its state. The only place that shows one.
pub(crate) fn value(v: &Value, now: Time) -> Markup {
    html! {
        span class={ "value " (v.state()) } data-state=(v.state()) {
            span .figure { (v.figure()) }
            " "
            span .value-note { (outside(&v.note(now))) }
        }
    }
}

/// The command that does the same, to copy; without a script, to select.
pub(crate) fn cli(command: &str) -> Markup {
    html! {
        details .cli {
            summary { "Copy as CLI" }
            (code(command))
        }
    }
}

/// A command or address with a button that copies it.
pub(crate) fn code(text: &str) -> Markup {
    html! {
        div .copy {
            pre tabindex="0" { code { (visible(text)) } }
            button .js-only type="button" data-copy { "Copy" }
        }
    }
}

/// As [`code`], for text that has lines: each is made visible by itself, so that the breaks stay.
pub(crate) fn code_lines(text: &str) -> Markup {
    let lines: Vec<String> = text.lines().map(visible).collect();
    html! {
        div .copy {
            pre tabindex="0" { code { bdi { (lines.join("\n")) } } }
            button .js-only type="button" data-copy { "Copy" }
        }
    }
}

/// Facts as name and value.
pub(crate) fn facts(rows: &[(&str, Markup)]) -> Markup {
    html! {
        dl .facts {
            @for (name, value) in rows { div { dt { (name) } dd { (value) } } }
        }
    }
}

/// Links that change one filter, with counts, and what is chosen now as chips that remove it.
pub(crate) fn facets(
    path: &str,
    view: &View,
    facets: &[Facet],
    word: impl Fn(&str, &str) -> String,
) -> Markup {
    html! {
        @for f in facets {
            section .facet {
                h2 { (f.title) }
                ul {
                    @for v in &f.values {
                        @let chosen = view.has(f.key, &v.value);
                        li {
                            a href=(view.toggled(f.key, &v.value).href(path)) aria-current=[chosen.then_some("true")] {
                                span .facet-name { (cell(&word(f.key, &v.value))) }
                                span .count { (report::group_digits(v.count)) }
                            }
                        }
                    }
                    @if f.more > 0 { li .soft { (f.more) " more; write them into the address" } }
                }
            }
        }
    }
}

/// What the list is narrowed to; each chip takes its filter away.
pub(crate) fn chips(
    path: &str,
    keys: &'static [Key],
    view: &View,
    word: impl Fn(&str, &str) -> String,
) -> Markup {
    let chosen: Vec<(&'static str, &str)> = view.filters(keys).collect();
    html! {
        @if !chosen.is_empty() {
            ul .chips aria-label="Filters in force" {
                @for (key, value) in &chosen {
                    li {
                        a href=(view.toggled(key, value).href(path)) {
                            span .soft { (key) " " }
                            (cell(&word(key, value)))
                            span aria-hidden="true" { " ×" } span .hidden { ", remove" }
                        }
                    }
                }
                li { a .plain href=(path) { "Show everything" } }
            }
        }
    }
}

/// Hidden fields that keep the rest of a view when a form changes some keys.
pub(crate) fn keep(view: &View, keys: &'static [Key], changed: &[&str]) -> Markup {
    html! {
        @for k in keys.iter().filter(|k| !changed.contains(&k.name) && !matches!(k.name, "cursor" | "open" | "notice")) {
            @for v in view.values(k.name) { input type="hidden" name=(k.name) value=(v); }
        }
    }
}

/// A list without rows: what was looked at, and where to go.
pub(crate) fn empty(what: &str, next: Markup) -> Markup {
    html! { div .empty { p { strong { (what) } } p .soft { (next) } } }
}

/// One line for what a list could not see (F1).
pub(crate) fn not_whole(unknown: &[String]) -> Markup {
    html! {
        @if !unknown.is_empty() {
            div .unknown-note role="note" {
                p { (icon("question")) strong { "This list is not whole." } }
                ul { @for u in unknown { li { (outside(u)) } } }
            }
        }
    }
}

/// A button that writes, as a form of its own.
pub(crate) fn post(ask: &Ask, action: &str, class: &str, label: &str) -> Markup {
    html! {
        form method="post" action=(action) {
            (super::token_field(ask))
            button type="submit" class=(class) { (label) }
        }
    }
}

/// What is critical is hidden by two people.
pub(crate) fn second_person(form: &str) -> Markup {
    html! {
        label for={ (form) "-approver" } { "Who agrees: it is critical, so a second person" }
        input id={ (form) "-approver" } name="approver" required maxlength="200";
    }
}
