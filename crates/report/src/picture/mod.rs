//! One picture per file. All share size, label, tones and number format.

mod bar;
mod ring;
mod sparkline;
mod timeline;

pub use bar::{Column, bar, columns};
pub use ring::ring;
pub use sparkline::sparkline;
pub use timeline::{Lane, Mark, timeline};

use crate::Markup;

/// Marks in one picture. More cannot be told apart at the sizes used here, and a page stays under its byte budget.
pub const MARKS_MAX: usize = 200;

/// What a screen reader says, and the prefix that keeps its ids unique on a page.
#[derive(Clone, Copy, Debug)]
pub struct Label<'a> {
    pub id: &'a str,
    pub title: &'a str,
    /// One or two sentences with the figures; empty when the title says all.
    pub desc: &'a str,
}

/// In CSS pixels; the picture scales by its `viewBox`.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

/// What a mark means. The class lets a page colour it for its theme; the fill is what a document without a theme prints.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tone {
    Critical,
    High,
    Medium,
    Low,
    Info,
    Good,
    Unknown,
    Quiet,
    Accent,
}

impl Tone {
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Tone::Critical => "tone-critical",
            Tone::High => "tone-high",
            Tone::Medium => "tone-medium",
            Tone::Low => "tone-low",
            Tone::Info => "tone-info",
            Tone::Good => "tone-good",
            Tone::Unknown => "tone-unknown",
            Tone::Quiet => "tone-quiet",
            Tone::Accent => "tone-accent",
        }
    }
    /// Mid tones with at least 3:1 on white and on near-black (WCAG 1.4.11).
    #[must_use]
    pub fn fill(self) -> &'static str {
        match self {
            Tone::Critical => "#cf3a4c",
            Tone::High => "#c8641b",
            Tone::Medium => "#9a7a12",
            Tone::Low => "#4a7fb5",
            Tone::Info => "#7b8794",
            Tone::Good => "#2f8f5b",
            Tone::Unknown => "#8a6fb0",
            Tone::Quiet => "#808a94",
            Tone::Accent => "#4d6fd6",
        }
    }
}

/// A named share of a [`bar`] or [`ring`].
#[derive(Clone, Debug)]
pub struct Part {
    pub name: String,
    pub value: u64,
    pub tone: Tone,
}

/// At most two decimals, without trailing zeros: short, and the same on every machine.
fn number(n: f64) -> String {
    let n = if n.is_finite() { n } else { 0.0 };
    let text = format!("{n:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[expect(clippy::cast_precision_loss, reason = "a picture is a few hundred pixels wide; 53 bits are enough")]
fn float(n: u64) -> f64 {
    n as f64
}

fn index(n: usize) -> f64 {
    float(n as u64)
}

/// Opens `<svg>` with title and description; the caller draws and finishes.
fn canvas(label: &Label<'_>, kind: &str, size: Size) -> Markup {
    let (w, h) = (size.width.max(1).to_string(), size.height.max(1).to_string());
    let view = format!("0 0 {w} {h}");
    let (title, desc) = (format!("{}-title", label.id), format!("{}-desc", label.id));
    let names = if label.desc.is_empty() { title.clone() } else { format!("{title} {desc}") };
    let class = format!("picture {kind}");
    let mut attributes = vec![
        ("class", class.as_str()),
        ("role", "img"),
        ("aria-labelledby", &names),
        ("viewBox", &view),
        ("width", &w),
        ("height", &h),
    ];
    // Rectangles may be stretched to the width of their place; circles and text may not.
    if matches!(kind, "bar" | "columns") {
        attributes.push(("preserveAspectRatio", "none"));
    }
    let mut m = Markup::new();
    m.open("svg", &attributes);
    m.element("title", &[("id", &title)], label.title);
    if !label.desc.is_empty() {
        m.element("desc", &[("id", &desc)], label.desc);
    }
    m
}

/// Joins neighbours until at most [`MARKS_MAX`] are left, keeping order.
fn merge<T, U>(items: &[T], join: impl Fn(&[T]) -> U) -> Vec<U> {
    let step = items.len().div_ceil(MARKS_MAX).max(1);
    items.chunks(step).map(join).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (n, expect) in
            [(1.0, "1"), (1.005, "1"), (2.5, "2.5"), (-0.001, "0"), (f64::NAN, "0"), (10.126, "10.13")]
        {
            assert_eq!(number(n), expect);
        }
    }

    #[test]
    fn long_series_are_merged_not_cut() {
        let series: Vec<u64> = (0..1_001).collect();
        let merged = merge(&series, |c| c.iter().sum::<u64>());
        assert!(merged.len() <= MARKS_MAX);
        assert_eq!(merged.iter().sum::<u64>(), series.iter().sum::<u64>());
        assert!(merge(&[], |c: &[u64]| c.len()).is_empty());
    }
}
