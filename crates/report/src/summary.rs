use crate::{
    Label, Lane, Mark, Markup, Part, Size, Tone, group_digits, headline, headline_term, ring, timeline,
};
use model::{ControlState, Evidence, Finding, Severity, Time, TimeRange};
use serde::Serialize;

/// Findings printed in full; the rest is counted, and the command that lists them all is printed.
const FINDINGS_MAX: usize = 50;
/// Evidence events printed per finding.
const EVIDENCE_MAX: usize = 3;

/// What a demo or a scan did, ready to print. Everything is data: times, words and commands come from the caller.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// `Avouch 0.1.0`.
    pub product: String,
    pub title: String,
    /// What was looked at: `made-up estate "Harbour Bank", 2 accounts`.
    pub subject: String,
    pub made: Time,
    /// Three to five plain sentences, the same questions in the same order every time.
    pub sentences: Vec<String>,
    pub stages: Vec<Stage>,
    pub findings: Vec<Finding>,
    /// Hidden on purpose; counted, so that the number of findings cannot look better than it is.
    pub suppressed: u64,
    pub controls: Vec<ControlResult>,
    pub vault: Option<VaultSummary>,
    /// What could not be looked at, each with what would let us look (F1).
    pub cannot_see: Vec<String>,
    pub next: Vec<Next>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    pub name: String,
    pub text: String,
    pub state: StageState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StageState {
    Done,
    /// It worked, and something in it needs a look.
    Warned,
    Failed,
    Skipped,
}

impl StageState {
    fn word(self) -> (&'static str, &'static str) {
        match self {
            StageState::Done => ("done", "✓ done"),
            StageState::Warned => ("warned", "! look"),
            StageState::Failed => ("failed", "✕ failed"),
            StageState::Skipped => ("skipped", "– left out"),
        }
    }
}

/// One control with its three columns as people read them.
#[derive(Clone, Debug, Serialize)]
pub struct ControlResult {
    pub id: String,
    pub claim: String,
    pub state: ControlState,
    pub configured: String,
    pub effective: String,
    pub last_proven: String,
    /// What stands behind the result: the measured figure, what does not hold, or what is missing.
    pub because: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct VaultSummary {
    pub verdict: Verdict,
    /// `4 segments sealed, checked from the files alone, nothing changed`.
    pub sentence: String,
    /// Folded facts: root, size, checkpoint, key.
    pub details: Vec<(String, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Intact,
    Damaged,
    Unknown,
}

/// A command that works as printed.
#[derive(Clone, Debug, Serialize)]
pub struct Next {
    pub what: String,
    pub command: String,
}

/// The tone of a severity's band.
#[must_use]
pub fn severity_tone(severity: Severity) -> Tone {
    match severity.band() {
        "critical" => Tone::Critical,
        "high" => Tone::High,
        "medium" => Tone::Medium,
        "low" => Tone::Low,
        _ => Tone::Info,
    }
}

/// The tone of a control's headline.
#[must_use]
pub fn state_tone(state: ControlState) -> Tone {
    match state {
        ControlState::Failed => Tone::Critical,
        ControlState::Unknown => Tone::Unknown,
        ControlState::Proven => Tone::Good,
        ControlState::Stale | ControlState::Planned | ControlState::Configured | ControlState::Effective => {
            Tone::Quiet
        }
    }
}

/// A self-contained page: its own style, no script, nothing loaded (O2). Findings are sorted worst first, then newest, then by
/// id (O1); everything else keeps the caller's order.
#[must_use]
pub fn summary_html(summary: &Summary) -> String {
    let mut findings: Vec<&Finding> = summary.findings.iter().collect();
    findings.sort_by(|a, b| (b.severity, b.last_seen, a.id).cmp(&(a.severity, a.last_seen, b.id)));
    let mut m = Markup::new();
    m.raw("<!doctype html>\n");
    m.open("html", &[("lang", "en")]);
    head(&mut m, summary);
    m.open("body", &[]).open("main", &[]);
    m.element("h1", &[], &summary.title);
    m.open("p", &[("class", "soft")]);
    m.outside(&summary.subject)
        .text(" · ")
        .text(&summary.product)
        .text(" · ")
        .text(&summary.made.to_string())
        .close();
    overview(&mut m, summary, &findings);
    stages(&mut m, &summary.stages);
    finding_list(&mut m, summary, &findings);
    controls(&mut m, &summary.controls);
    vault(&mut m, summary.vault.as_ref());
    cannot_see(&mut m, &summary.cannot_see);
    next(&mut m, &summary.next);
    m.element(
        "footer",
        &[],
        "Every figure here was counted by this run. This page holds its style and loads nothing.",
    );
    m.line();
    let mut out = m.finish();
    out.push('\n');
    out
}

fn head(m: &mut Markup, summary: &Summary) {
    m.open("head", &[]).empty("meta", &[("charset", "utf-8")]);
    m.empty("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]);
    // Belt and braces: even a slip in escaping could not run or load anything.
    m.empty(
        "meta",
        &[
            ("http-equiv", "Content-Security-Policy"),
            ("content", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"),
        ],
    );
    m.element("title", &[], &format!("{} · {}", summary.title, summary.product));
    m.open("style", &[]).raw(include_str!("summary.css")).close().close().line();
}

fn overview(m: &mut Markup, summary: &Summary, findings: &[&Finding]) {
    let parts: Vec<Part> = [
        ("critical", Tone::Critical),
        ("high", Tone::High),
        ("medium", Tone::Medium),
        ("low", Tone::Low),
        ("info", Tone::Info),
    ]
    .into_iter()
    .map(|(band, tone)| Part {
        name: band.to_owned(),
        value: findings.iter().filter(|f| f.severity.band() == band).count() as u64,
        tone,
    })
    .collect();
    let desc: Vec<String> = parts.iter().map(|p| format!("{} {}", p.value, p.name)).collect();
    m.open("div", &[("class", "card top")]);
    m.raw(&ring(
        &Label { id: "by-severity", title: "Findings by severity", desc: &desc.join(", ") },
        &parts,
        &findings.len().to_string(),
        "findings",
        Size { width: 128, height: 128 },
    ));
    m.open("div", &[]);
    for s in &summary.sentences {
        m.open("p", &[("class", "lead")]).outside(s).close();
    }
    let hidden = match summary.suppressed {
        0 => String::new(),
        n => format!(" · {n} deliberately hidden"),
    };
    m.element("p", &[("class", "soft")], &format!("{}{hidden}", desc.join(" · ")));
    m.close().close().line();
}

fn stages(m: &mut Markup, stages: &[Stage]) {
    if stages.is_empty() {
        return;
    }
    m.element("h2", &[], "What ran");
    table(m, "Each stage that this run has, in order", &["Stage", "What it did", "Result"]);
    for s in stages {
        let (class, word) = s.state.word();
        m.open("tr", &[]).element("th", &[("scope", "row")], &s.name);
        m.open("td", &[("data-label", "What it did")]).outside(&s.text).close();
        m.open("td", &[("data-label", "Result")]).element(
            "span",
            &[("class", &format!("word {class}"))],
            word,
        );
        m.close().close().line();
    }
    m.close().close().line();
}

fn finding_list(m: &mut Markup, summary: &Summary, findings: &[&Finding]) {
    m.element("h2", &[], "What is wrong, and what to do about it");
    if findings.is_empty() {
        m.element("p", &[], "Nothing was found in what could be looked at.");
        return;
    }
    findings_timeline(m, findings);
    for f in findings.iter().take(FINDINGS_MAX) {
        finding(m, f);
    }
    let rest = findings.len().saturating_sub(FINDINGS_MAX);
    if rest > 0 {
        let list = summary.next.iter().find(|n| n.command.contains("findings list"));
        m.open("p", &[]).text(&format!("{rest} more are not printed here"));
        if let Some(n) = list {
            m.text(": ").element("code", &[], &n.command);
        }
        m.close();
    }
}

fn findings_timeline(m: &mut Markup, findings: &[&Finding]) {
    let times = findings.iter().flat_map(|f| [f.first_seen, f.last_seen]).filter_map(Time::known);
    let (Some(from), Some(to)) = (times.clone().min(), times.max()) else { return };
    if to <= from {
        return;
    }
    let lanes: Vec<Lane> = ["critical", "high", "medium", "low", "info"]
        .into_iter()
        .map(|band| Lane {
            name: band.to_owned(),
            marks: findings
                .iter()
                .filter(|f| f.severity.band() == band)
                .map(|f| Mark {
                    at: f.first_seen,
                    until: Some(f.last_seen).filter(|l| *l > f.first_seen),
                    tone: severity_tone(f.severity),
                    name: format!("{}: {} to {}", f.title, f.first_seen, f.last_seen),
                })
                .collect::<Vec<_>>(),
        })
        .filter(|l| !l.marks.is_empty())
        .collect();
    let height = u32::try_from(lanes.len()).unwrap_or(1).saturating_mul(20).saturating_add(16);
    m.open("div", &[("class", "card")]);
    m.raw(&timeline(
        &Label {
            id: "when",
            title: "When it happened",
            desc: "First to last sighting of each finding, by severity.",
        },
        TimeRange { from, to: to.plus(1) },
        &lanes,
        Size { width: 880, height },
    ));
    m.close().line();
}

/// Severity as word and shape, so that it survives without colour.
fn shape(severity: Severity) -> &'static str {
    match severity.band() {
        "critical" => "◆ critical",
        "high" => "▲ high",
        "medium" => "● medium",
        "low" => "○ low",
        _ => "· info",
    }
}

fn finding(m: &mut Markup, f: &Finding) {
    m.open("article", &[("class", "card")]);
    m.open("h3", &[]).element(
        "span",
        &[("class", &format!("word {}", f.severity.band()))],
        shape(f.severity),
    );
    m.text("  ").outside(&f.title).close();
    m.open("p", &[]).outside(&f.why).close();
    m.open("p", &[]).element("strong", &[], "What to do: ").outside(&f.fix).close();
    m.open("dl", &[]);
    pair(m, "seen", &format!("{} times, {} to {}", group_digits(f.count), f.first_seen, f.last_seen));
    for (name, value) in [("account", &f.account), ("region", &f.region), ("resource", &f.resource)] {
        if let Some(v) = value {
            pair(m, name, v);
        }
    }
    for (name, value) in &f.key {
        pair(m, name, value);
    }
    pair(m, "rule", &f.rule.name);
    pair(m, "id", &f.id.to_string());
    if let Some(run) = &f.drill {
        pair(m, "drill", &format!("made by our own test {run}"));
    }
    m.close();
    if !f.evidence.is_empty() {
        m.open("details", &[]);
        let shown = f.evidence.len().min(EVIDENCE_MAX);
        m.element(
            "summary",
            &[],
            &format!("Evidence: {shown} of {} events", group_digits(f.count.max(shown as u64))),
        );
        for e in f.evidence.iter().take(EVIDENCE_MAX) {
            evidence(m, e);
        }
        m.close();
    }
    m.close().line();
}

fn evidence(m: &mut Markup, e: &Evidence) {
    m.open("dl", &[]);
    pair(m, "event", &e.event_id.to_string());
    pair(m, "time", &e.event_time.to_string());
    pair(m, "dataset", &e.dataset);
    pair(m, "sequence", &format!("shard {}, number {}", e.shard, e.seq));
    for (name, value) in e.fields.iter() {
        pair(m, name, value);
    }
    m.close();
}

fn controls(m: &mut Markup, controls: &[ControlResult]) {
    if controls.is_empty() {
        return;
    }
    m.element("h2", &[], "What is claimed, and whether it holds");
    let caption =
        "Worst first where the register says so; a result of Tested comes only from a test that ran";
    table(m, caption, &["Control", "Set up?", "Working?", "Last tested", "Result"]);
    for c in controls {
        m.open("tr", &[]).open("th", &[("scope", "row")]).outside(&c.claim);
        m.open("div", &[("class", "soft")]).element("code", &[], &c.id).close().close();
        for (label, value) in
            [("Set up?", &c.configured), ("Working?", &c.effective), ("Last tested", &c.last_proven)]
        {
            m.open("td", &[("data-label", label)]).outside(value).close();
        }
        m.open("td", &[("data-label", "Result")]);
        let mark = match c.state {
            ControlState::Failed => "✕ ",
            ControlState::Unknown => "? ",
            ControlState::Proven => "✓ ",
            _ => "○ ",
        };
        m.element(
            "span",
            &[("class", &format!("word {}", headline_term(c.state))), ("title", c.state.term())],
            &format!("{mark}{}", headline(c.state)),
        );
        if !c.because.is_empty() {
            m.open("div", &[("class", "soft")]).outside(&c.because).close();
        }
        m.close().close().line();
    }
    m.close().close().line();
}

fn vault(m: &mut Markup, vault: Option<&VaultSummary>) {
    let Some(v) = vault else { return };
    m.element("h2", &[], "Whether the kept logs are complete and unchanged");
    let (class, mark) = match v.verdict {
        Verdict::Intact => ("intact", "✓ "),
        Verdict::Damaged => ("damaged", "✕ "),
        Verdict::Unknown => ("unknown", "? "),
    };
    m.open("div", &[("class", "card")]).open("p", &[("class", "lead")]);
    m.element("span", &[("class", &format!("word {class}"))], mark).outside(&v.sentence).close();
    if !v.details.is_empty() {
        m.open("details", &[]).element("summary", &[], "Details").open("dl", &[]);
        for (name, value) in &v.details {
            pair(m, name, value);
        }
        m.close().close();
    }
    m.close().line();
}

fn cannot_see(m: &mut Markup, list: &[String]) {
    m.element("h2", &[], "What could not be looked at");
    if list.is_empty() {
        m.element("p", &[], "Everything that was asked for could be looked at.");
        return;
    }
    m.open("ul", &[("class", "card")]);
    for line in list {
        m.open("li", &[]).outside(line).close();
    }
    m.close().line();
}

fn next(m: &mut Markup, commands: &[Next]) {
    if commands.is_empty() {
        return;
    }
    m.element("h2", &[], "Next");
    for n in commands {
        m.open("div", &[("class", "card")]).text(&n.what).open("pre", &[]).element("code", &[], &n.command);
        m.close().close().line();
    }
}

fn table(m: &mut Markup, caption: &str, headings: &[&str]) {
    m.open("table", &[]).element("caption", &[], caption).open("thead", &[]).open("tr", &[]);
    for h in headings {
        m.element("th", &[("scope", "col")], h);
    }
    m.close().close().open("tbody", &[]).line();
}

fn pair(m: &mut Markup, name: &str, value: &str) {
    m.open("dt", &[]).outside(name).close().open("dd", &[]).outside(value).close();
}
