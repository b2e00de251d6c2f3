use super::{Label, Part, Size, Tone, canvas, float, index, merge, number};

/// Smallest width of a part that is not zero: one thing of ten thousand must still be seen.
const PART_WIDTH_MIN: f64 = 3.0;

/// One horizontal bar of shares, in the order given. Zero parts draw nothing; an empty whole draws the empty track.
#[must_use]
pub fn bar(label: &Label<'_>, parts: &[Part], size: Size) -> String {
    let mut m = canvas(label, "bar", size);
    let (w, h) = (float(u64::from(size.width.max(1))), number(float(u64::from(size.height.max(1)))));
    let shown: Vec<&Part> = parts.iter().filter(|p| p.value > 0).collect();
    let total: f64 = shown.iter().map(|p| float(p.value)).sum();
    if shown.is_empty() {
        m.empty(
            "rect",
            &[
                ("class", "track"),
                ("width", &number(w)),
                ("height", &h),
                ("rx", "2"),
                ("fill", "#8a949e"),
                ("fill-opacity", "0.25"),
            ],
        );
        return m.finish();
    }
    let gaps = index(shown.len().saturating_sub(1)) * 2.0;
    let room = (w - gaps - PART_WIDTH_MIN * index(shown.len())).max(0.0);
    let mut x = 0.0;
    for p in shown {
        let width = PART_WIDTH_MIN + room * float(p.value) / total;
        m.open(
            "rect",
            &[
                ("class", p.tone.class()),
                ("x", &number(x)),
                ("width", &number(width)),
                ("height", &h),
                ("rx", "2"),
                ("fill", p.tone.fill()),
            ],
        );
        m.element("title", &[], &format!("{}: {}", p.name, p.value)).close();
        x += width + 2.0;
    }
    m.finish()
}

/// One column of [`columns`]: a step of time with its shares, or `None` when nobody looked.
#[derive(Clone, Debug)]
pub struct Column {
    /// Said on hover: `14 Mar: 2 critical, 5 high`.
    pub name: String,
    /// Bottom first.
    pub parts: Option<Vec<(Tone, u64)>>,
}

/// Stacked columns over equal steps of time.
#[must_use]
pub fn columns(label: &Label<'_>, columns: &[Column], size: Size) -> String {
    let merged = merge(columns, join);
    let mut m = canvas(label, "columns", size);
    let (w, h) = (float(u64::from(size.width.max(1))), float(u64::from(size.height.max(1))));
    let sum = |c: &Column| c.parts.iter().flatten().map(|(_, n)| *n).fold(0_u64, u64::saturating_add);
    let peak = float(merged.iter().map(sum).max().unwrap_or(0).max(1));
    let step = w / index(merged.len().max(1));
    let width = number((step - if step > 6.0 { 2.0 } else { 0.5 }).max(0.5));
    for (i, c) in merged.iter().enumerate() {
        let x = number(index(i) * step);
        let Some(parts) = &c.parts else {
            // A gap: a dotted foot, so that it cannot be read as zero.
            let y = number(h - 2.0);
            m.open(
                "line",
                &[
                    ("class", "gap"),
                    ("x1", &x),
                    ("x2", &number(index(i) * step + step * 0.8)),
                    ("y1", &y),
                    ("y2", &y),
                    ("stroke", Tone::Unknown.fill()),
                    ("stroke-width", "2"),
                    ("stroke-dasharray", "2 2"),
                ],
            );
            m.element("title", &[], &format!("{}: nobody looked", c.name)).close();
            continue;
        };
        let mut top = h - 1.0;
        for (tone, n) in parts.iter().filter(|(_, n)| *n > 0) {
            let tall = (float(*n) / peak * (h - 2.0)).max(1.0);
            top = (top - tall).max(0.0);
            m.open(
                "rect",
                &[
                    ("class", tone.class()),
                    ("x", &x),
                    ("y", &number(top)),
                    ("width", &width),
                    ("height", &number(tall)),
                    ("fill", tone.fill()),
                ],
            );
            m.element("title", &[], &c.name).close();
        }
    }
    let base = number(h - 0.5);
    m.empty(
        "line",
        &[
            ("class", "axis"),
            ("x1", "0"),
            ("x2", &number(w)),
            ("y1", &base),
            ("y2", &base),
            ("stroke", "#8a949e"),
            ("stroke-opacity", "0.6"),
        ],
    );
    m.finish()
}

/// Neighbours as one column: the sum of what is known; a gap only where all of them are.
fn join(chunk: &[Column]) -> Column {
    let (first, last) = (chunk.first(), chunk.last());
    let name = match (first, last) {
        (Some(a), Some(b)) if chunk.len() > 1 => format!("{} to {}", a.name, b.name),
        (Some(a), _) => a.name.clone(),
        _ => String::new(),
    };
    let mut sums: Vec<(Tone, u64)> = Vec::new();
    for (tone, n) in chunk.iter().filter_map(|c| c.parts.as_ref()).flatten() {
        match sums.iter_mut().find(|(t, _)| t == tone) {
            Some((_, sum)) => *sum = sum.saturating_add(*n),
            None => sums.push((*tone, *n)),
        }
    }
    Column { name, parts: chunk.iter().any(|c| c.parts.is_some()).then_some(sums) }
}
