use super::{Label, Part, Size, canvas, float, number};

/// Shares of a whole as a ring with the whole in the middle. `centre` is the figure and `below` the word under it.
#[must_use]
pub fn ring(label: &Label<'_>, parts: &[Part], centre: &str, below: &str, size: Size) -> String {
    let mut m = canvas(label, "ring", size);
    let (w, h) = (float(u64::from(size.width.max(1))), float(u64::from(size.height.max(1))));
    let (cx, cy) = (number(w / 2.0), number(h / 2.0));
    let thick = (w.min(h) / 9.0).max(2.0);
    let r = number((w.min(h) - thick) / 2.0);
    let thick = number(thick);
    m.empty(
        "circle",
        &[
            ("class", "track"),
            ("cx", &cx),
            ("cy", &cy),
            ("r", &r),
            ("fill", "none"),
            ("stroke", "#8a949e"),
            ("stroke-opacity", "0.25"),
            ("stroke-width", &thick),
        ],
    );
    let total: f64 = parts.iter().map(|p| float(p.value)).sum();
    let turn = format!("rotate(-90 {cx} {cy})");
    let mut from = 0.0;
    for p in parts.iter().filter(|p| p.value > 0) {
        let share = float(p.value) / total * 100.0;
        // Half a unit of the ground between two shares, so that they are told apart without colour.
        let drawn = (share - 0.8).max(0.4);
        m.open(
            "circle",
            &[
                ("class", &format!("arc {}", p.tone.class())),
                ("cx", &cx),
                ("cy", &cy),
                ("r", &r),
                ("fill", "none"),
                ("stroke", p.tone.fill()),
                ("stroke-width", &thick),
                ("pathLength", "100"),
                ("stroke-dasharray", &format!("{} {}", number(drawn), number(100.0 - drawn))),
                ("stroke-dashoffset", &number(-from)),
                ("transform", &turn),
            ],
        );
        m.element("title", &[], &format!("{}: {}", p.name, p.value)).close();
        from += share;
    }
    let middle = [("x", cx.as_str()), ("text-anchor", "middle"), ("fill", "currentColor")];
    let big = number(w.min(h) / 4.0);
    let small = number((w.min(h) / 10.0).max(9.0));
    let at = number(h / 2.0 + w.min(h) / 16.0);
    m.element(
        "text",
        &[&middle[..], &[("y", at.as_str()), ("font-size", &big), ("font-weight", "600")]].concat(),
        centre,
    );
    let at = number(h / 2.0 + w.min(h) / 5.0);
    m.element("text", &[&middle[..], &[("y", at.as_str()), ("font-size", &small)]].concat(), below);
    m.finish()
}
