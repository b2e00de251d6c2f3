use super::{Label, Size, Tone, canvas, float, index, merge, number};

/// A line over equal steps. `None` is a gap: nobody looked, which is not zero.
#[must_use]
pub fn sparkline(label: &Label<'_>, points: &[Option<f64>], size: Size) -> String {
    // The peak of merged neighbours: an average would hide the very spike one looks for.
    let points: Vec<Option<f64>> =
        merge(points, |c| c.iter().flatten().copied().filter(|v| v.is_finite()).reduce(f64::max));
    let peak = points.iter().flatten().copied().fold(0.0, f64::max);
    let (w, h) = (float(u64::from(size.width.max(1))), float(u64::from(size.height.max(1))));
    // One pixel stays free above and below, so that the stroke is not cut.
    let y = |v: f64| if peak > 0.0 { h - 1.0 - v.max(0.0) / peak * (h - 2.0) } else { h - 1.0 };
    let step = if points.len() > 1 { w / index(points.len() - 1) } else { 0.0 };
    let mut line = String::new();
    let mut dots: Vec<(f64, f64)> = Vec::new();
    let mut run = 0_usize;
    let mut last = None;
    for (i, p) in points.iter().enumerate() {
        if let Some(v) = p {
            let at = (index(i) * step, y(*v));
            line.push_str(if run == 0 { "M" } else { "L" });
            line.push_str(&format!("{} {}", number(at.0), number(at.1)));
            run += 1;
            last = Some(at);
        } else {
            // A value alone between gaps has no line; it is drawn as a dot.
            dots.extend(last.filter(|_| run == 1));
            run = 0;
            last = None;
        }
    }
    dots.extend(last.filter(|_| run == 1));
    let mut m = canvas(label, "sparkline", size);
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
            ("stroke-opacity", "0.4"),
        ],
    );
    if !line.is_empty() {
        m.empty(
            "path",
            &[
                ("class", "line tone-accent"),
                ("d", &line),
                ("fill", "none"),
                ("stroke", Tone::Accent.fill()),
                ("stroke-width", "1.5"),
                ("stroke-linejoin", "round"),
            ],
        );
    }
    for (x, y) in dots {
        m.empty(
            "circle",
            &[
                ("class", "tone-accent"),
                ("cx", &number(x)),
                ("cy", &number(y)),
                ("r", "1.5"),
                ("fill", Tone::Accent.fill()),
            ],
        );
    }
    m.finish()
}
