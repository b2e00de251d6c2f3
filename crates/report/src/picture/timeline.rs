use super::{Label, MARKS_MAX, Size, Tone, canvas, float, index, number};
use model::{Time, TimeRange};

/// One row of a [`timeline`].
#[derive(Clone, Debug)]
pub struct Lane {
    pub name: String,
    pub marks: Vec<Mark>,
}

/// A moment, or a stretch when `until` is set.
#[derive(Clone, Debug)]
pub struct Mark {
    pub at: Time,
    pub until: Option<Time>,
    pub tone: Tone,
    pub name: String,
}

/// Width kept for the names of lanes.
const NAMES_WIDTH: f64 = 112.0;
/// Height kept for the two times below.
const FOOT_HEIGHT: f64 = 16.0;
/// Characters of a lane's name that fit; the whole name is in the hover text.
const NAME_CHARS_MAX: usize = 18;

/// What happened when, one lane above the other. Marks outside the range are left out; beyond [`MARKS_MAX`] the least severe
/// go first and the last line says how many.
#[must_use]
pub fn timeline(label: &Label<'_>, range: TimeRange, lanes: &[Lane], size: Size) -> String {
    let inside: Vec<(usize, &Mark)> = lanes
        .iter()
        .enumerate()
        .flat_map(|(i, l)| l.marks.iter().map(move |m| (i, m)))
        .filter(|(_, m)| range.contains(m.at))
        .collect();
    let total = inside.len();
    let mut kept = inside;
    if total > MARKS_MAX {
        kept.sort_by(|a, b| (a.1.tone, b.1.at, a.0).cmp(&(b.1.tone, a.1.at, b.0)));
        kept.truncate(MARKS_MAX);
    }
    kept.sort_by_key(|(lane, m)| (*lane, m.at, m.tone));
    let left_out = total.saturating_sub(kept.len());
    let desc = match left_out {
        0 => label.desc.to_owned(),
        n => format!("{} {n} less severe marks are not drawn.", label.desc).trim_start().to_owned(),
    };
    let mut m = canvas(&Label { desc: &desc, ..*label }, "timeline", size);
    let (w, h) = (float(u64::from(size.width.max(1))), float(u64::from(size.height.max(1))));
    let plot = (w - NAMES_WIDTH).max(1.0);
    let row = (h - FOOT_HEIGHT).max(1.0) / index(lanes.len().max(1));
    let length = micros(range.to.since(range.from)).max(1.0);
    let x = |t: Time| NAMES_WIDTH + (micros(t.since(range.from)) / length).clamp(0.0, 1.0) * (plot - 4.0);
    for (i, lane) in lanes.iter().enumerate() {
        let mid = row * (index(i) + 0.5);
        let y = number(mid);
        m.open(
            "text",
            &[("x", "0"), ("y", &number(mid + 4.0)), ("font-size", "11"), ("fill", "currentColor")],
        );
        m.element("title", &[], &lane.name);
        let short: String = lane.name.chars().take(NAME_CHARS_MAX).collect();
        let cut = short.len() < lane.name.len();
        m.text(&if cut { format!("{short}…") } else { short }).close();
        m.empty(
            "line",
            &[
                ("class", "axis"),
                ("x1", &number(NAMES_WIDTH)),
                ("x2", &number(w)),
                ("y1", &y),
                ("y2", &y),
                ("stroke", "#8a949e"),
                ("stroke-opacity", "0.4"),
            ],
        );
    }
    for (lane, mark) in kept {
        let mid = row * (index(lane) + 0.5);
        let from = x(mark.at);
        let width = mark.until.map_or(4.0, |u| (x(u.min(range.to)) - from).max(4.0));
        let tall = (row * 0.6).clamp(4.0, 12.0);
        m.open(
            "rect",
            &[
                ("class", mark.tone.class()),
                ("x", &number(from)),
                ("y", &number(mid - tall / 2.0)),
                ("width", &number(width)),
                ("height", &number(tall)),
                ("rx", "1"),
                ("fill", mark.tone.fill()),
            ],
        );
        m.element("title", &[], &mark.name).close();
    }
    let foot = number(h - 3.0);
    let text = [("y", foot.as_str()), ("font-size", "11"), ("class", "scale"), ("fill", "currentColor")];
    m.element("text", &[&text[..], &[("x", &number(NAMES_WIDTH))]].concat(), &short_time(range.from));
    m.element(
        "text",
        &[&text[..], &[("x", &number(w)), ("text-anchor", "end")]].concat(),
        &short_time(range.to),
    );
    m.finish()
}

/// `2025-03-14 09:14 UTC`.
fn short_time(t: Time) -> String {
    let (y, mo, d, h, mi, ..) = t.parts();
    format!("{y:04}-{mo:02}-{d:02} {h:02}:{mi:02} UTC")
}

#[expect(clippy::cast_precision_loss, reason = "a position on a few hundred pixels")]
fn micros(n: i64) -> f64 {
    n as f64
}
