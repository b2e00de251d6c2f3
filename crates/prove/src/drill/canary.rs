//! The canary drill: marked events enter by the source's real door, and are looked for in the vault, by search, and at the sink by a
//! separate read credential. Proven: collected, routed, searchable there, unaltered, exactly once, within N seconds.
//!
//! It cannot pass by being told so: the sink's answer to the writer is never asked, only what a reader finds.

use super::{DrillError, Got, Intent, Recorder, Run, Start, Trouble, draw};
use crate::check::contains;
use crate::duration;
use crate::load::Entry;
use crate::record::hex;
use crate::token::{RunId, token};
use async_trait::async_trait;
use model::{DrillPlan, Instance, Proof, Time};
use serde_json::Value;
use std::collections::BTreeMap;

/// Most marked events of one run: a drill is a sample, not a load test.
pub const EVENTS_MAX: u32 = 100;
/// Pause between two looks: a tenth of the time waited so far, within these bounds. So a delay is measured to about a tenth, a fast
/// path finely and a slow one cheaply.
pub const POLL_MIN: i64 = 50_000;
pub const POLL_MAX: i64 = Time::SECOND;
/// After everything arrived the sink is looked at once more this much later: a doubled event often comes with the retry.
pub const SETTLE: i64 = 2 * Time::SECOND;
/// Looking goes on for this many times the limit, so that "late" and "missing" are told apart.
pub const LATE_FACTOR: i64 = 2;

/// Parameters of the drill.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Canary {
    pub events: u32,
    /// The events are spread over this time.
    pub spread: i64,
    pub within: i64,
    pub exactly: u32,
    /// Name of the read credential for the sink; not the writer's.
    pub credential: String,
    /// Index or topic in which they must be found, if the claim names one.
    pub place: Option<String>,
}

impl Canary {
    /// Reads the parameters of a control file.
    ///
    /// # Errors
    /// The parameter and what is wrong with it.
    pub fn read(plan: &DrillPlan) -> Result<Canary, String> {
        let p = &plan.parameters;
        let mut out =
            Canary { events: 3, spread: 0, within: 0, exactly: 1, credential: String::new(), place: None };
        if let Some(v) = p.get("events") {
            out.events = count("events", v)?;
        }
        if !(1..=EVENTS_MAX).contains(&out.events) {
            return Err(format!("`events` is from 1 to {EVENTS_MAX}"));
        }
        if let Some(v) = p.get("spread") {
            out.spread = time("spread", v)?;
        }
        let back =
            p.get("back_read").and_then(Value::as_object).ok_or("`back_read: { within: 60s }` is missing")?;
        for (name, value) in back {
            match name.as_str() {
                "within" => out.within = time("within", value)?,
                "exactly" => out.exactly = count("exactly", value)?,
                "credential" => out.credential = value.as_str().unwrap_or_default().to_owned(),
                "place" => out.place = value.as_str().map(str::to_owned),
                "reach" if value == "searchable" => {}
                "reach" => return Err("`reach` is `searchable`: nothing less is read back".into()),
                other => {
                    let near = model::nearest(other, ["within", "exactly", "credential", "place", "reach"]);
                    return Err(format!(
                        "unknown key `{other}` of `back_read`; nearest: {}",
                        near.join(", ")
                    ));
                }
            }
        }
        if out.within <= 0 {
            return Err("`back_read` needs `within`, the limit of the claim".into());
        }
        Ok(out)
    }
}

fn time(name: &str, v: &Value) -> Result<i64, String> {
    v.as_str()
        .and_then(duration::parse)
        .ok_or_else(|| format!("cannot read `{name}: {v}` as a duration; write `60s`"))
}

fn count(name: &str, v: &Value) -> Result<u32, String> {
    v.as_u64().and_then(|n| u32::try_from(n).ok()).ok_or_else(|| format!("`{name}: {v}` is no count"))
}

/// The open run as `shape` gets it: a candidate counts only if run, source, token and payload all fit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenRun {
    pub run: RunId,
    pub source: String,
    /// (counter, token, payload).
    pub planned: Vec<(u32, String, Vec<u8>)>,
    pub nonce: [u8; 32],
}

/// One copy of a canary in the vault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    pub seq: u64,
    pub source: String,
    pub raw: Vec<u8>,
    /// `av_canary` of the envelope.
    pub canary: Option<String>,
}

/// One copy of a canary at the sink.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivered {
    /// The original bytes, where the sink keeps them.
    pub raw: Option<Vec<u8>>,
    /// Index, topic or file in which it was found.
    pub place: String,
    /// The sink's own answer, cut by the host; its word, not ours.
    pub answer: String,
}

/// Where and as whom the sink is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackRead {
    pub sink: String,
    pub credential: String,
}

/// What the drill does in the world.
#[async_trait]
pub trait World: Recorder {
    /// One harmless event in the source's own format that holds `token`: the bytes as the vault must hold them.
    fn payload(&self, source: &str, token: &str, at: Time) -> Result<Vec<u8>, Trouble>;
    /// Lets intake recognise the run, before the first event is sent.
    async fn open(&self, run: &OpenRun) -> Result<(), Trouble>;
    async fn close(&self, run: RunId);
    /// Sends through the source's real entry, framing added; answers the receipt.
    async fn emit(&self, source: &str, payload: &[u8]) -> Result<String, Trouble>;
    /// Every durable event whose raw bytes hold `token`, from whatever source.
    async fn find_in_vault(&self, token: &str) -> Result<Vec<Stored>, Trouble>;
    /// Positions that the ordinary search finds for `token`.
    async fn search(&self, token: &str) -> Result<Vec<u64>, Trouble>;
    /// Every copy that a reader finds at the sink.
    async fn find_at_sink(&self, at: &BackRead, token: &str) -> Result<Vec<Delivered>, Trouble>;
}

/// One event of the run.
struct Sent {
    counter: u32,
    token: String,
    payload: Vec<u8>,
    at: Time,
}

/// Runs the drill for one instance. The instance names the source, and the sink where the claim has one.
///
/// # Errors
/// Only when nothing could be recorded or the control holds no canary drill; every other outcome is a proof.
pub async fn run<W: World + ?Sized>(
    world: &W,
    entry: &Entry,
    instance: &Instance,
    start: &Start,
) -> Result<Proof, DrillError> {
    let job = |cause: String| DrillError::Job { control: entry.control.id.clone(), cause };
    let plan = entry
        .control
        .drill
        .as_ref()
        .filter(|d| d.kind == "canary")
        .ok_or_else(|| job("its drill is no canary".into()))?;
    let canary = Canary::read(plan).map_err(job)?;
    let source = instance.0.get("source").cloned().ok_or_else(|| job("its scope names no source".into()))?;
    let sink =
        instance.0.get("sink").map(|s| BackRead { sink: s.clone(), credential: canary.credential.clone() });

    let (nonce, run_id) = draw(world);
    let mut sent = Vec::new();
    for counter in 0..canary.events {
        let token = token(&nonce, run_id, &source, counter);
        let payload = world.payload(&source, &token, world.now()).map_err(|t| job(t.to_string()))?;
        if !contains(&payload, token.as_bytes()) {
            return Err(job(format!("the payload for `{source}` does not hold its token")));
        }
        sent.push(Sent { counter, token, payload, at: Time::NONE });
    }
    let intent = Intent {
        steps: step_names(canary.events, sink.is_some()),
        payloads: sent.iter().map(|s| model::sha256_hex(&s.payload)).collect(),
        at_most: canary
            .within
            .saturating_mul(LATE_FACTOR * 3)
            .saturating_add(canary.spread)
            .saturating_add(SETTLE + Time::MINUTE),
    };
    let run = Run::start(world, (entry, instance), start, (nonce, run_id), intent).await?;
    let open = OpenRun {
        run: run_id,
        source: source.clone(),
        planned: sent.iter().map(|s| (s.counter, s.token.clone(), s.payload.clone())).collect(),
        nonce,
    };
    let drill = Drill { world, canary, source, sink, run };
    let opened = world.open(&open).await;
    let proof = drill.walk(opened, sent).await;
    world.close(run_id).await;
    proof
}

fn step_names(events: u32, sink: bool) -> Vec<String> {
    let mut out: Vec<String> = (1..=events).map(|n| format!("emit {n}")).collect();
    out.extend(["in the vault", "searchable"].map(str::to_owned));
    if sink {
        out.push("at the sink".into());
    }
    out.extend(["once", "in time"].map(str::to_owned));
    out
}

/// All places at once, from the first event on: what arrives while later events are still being sent is seen when it arrives.
struct Watch {
    vault: (Where, Result<Found, Trouble>),
    search: (Where, Result<Found, Trouble>),
    sink: Option<(Where, Result<Found, Trouble>)>,
}

impl Watch {
    fn new(sink: Option<BackRead>) -> Watch {
        let new = |place| (place, Ok(Found::default()));
        Watch {
            vault: new(Where::Vault),
            search: new(Where::Search),
            sink: sink.map(|s| new(Where::Sink(s))),
        }
    }
    fn places(&mut self) -> impl Iterator<Item = &mut (Where, Result<Found, Trouble>)> {
        [&mut self.vault, &mut self.search].into_iter().chain(self.sink.as_mut())
    }
    /// Nothing more to wait for: everything was seen, or a place cannot be looked at.
    fn is_done(&mut self, sent: &[Sent]) -> bool {
        self.places().all(|(_, f)| f.as_ref().map_or(true, |f| f.first.len() == sent.len()))
    }
}

struct Drill<'a, W: ?Sized> {
    world: &'a W,
    canary: Canary,
    source: String,
    sink: Option<BackRead>,
    run: Run<'a, W>,
}

/// Where one looks.
enum Where {
    Vault,
    Search,
    Sink(BackRead),
}

/// What one finds there.
enum Sight {
    Stored(Stored),
    Hit(u64),
    Delivered(Delivered),
}

/// What was found of every event: copies by token at first sight, and when that was.
#[derive(Default)]
struct Found {
    copies: BTreeMap<String, Vec<Sight>>,
    first: BTreeMap<String, Time>,
}

impl Found {
    fn of(&self, s: &Sent) -> &[Sight] {
        self.copies.get(&s.token).map_or(&[], Vec::as_slice)
    }
    fn missing(&self, sent: &[Sent]) -> Vec<String> {
        let gone = sent.iter().filter(|s| !self.first.contains_key(&s.token));
        gone.map(|s| format!("event {} missing", s.counter + 1)).collect()
    }
}

impl<W: World + ?Sized> Drill<'_, W> {
    async fn walk(mut self, opened: Result<(), Trouble>, mut sent: Vec<Sent>) -> Result<Proof, DrillError> {
        if let Err(trouble) = opened {
            self.run.step("emit 1", "the run is open at intake", Got::from(trouble)).await?;
            return self.run.finish("not sent".into()).await;
        }
        let gap = self.canary.spread / i64::from(self.canary.events.saturating_sub(1).max(1));
        let mut watch = Watch::new(self.sink.clone());
        for n in 0..sent.len() {
            let Some(s) = sent.get_mut(n) else { break };
            s.at = self.world.now();
            let next = s.at.plus(gap);
            if !self.emit(s).await? {
                return self.run.finish(format!("{n} of {} sent", self.canary.events)).await;
            }
            let is_last = n + 1 == sent.len();
            let out = sent.get(..=n).unwrap_or_default();
            if is_last {
                let late = self.canary.within.saturating_mul(LATE_FACTOR);
                self.watch(&mut watch, out, self.world.now().plus(late), true).await;
            } else if gap > 0 {
                self.watch(&mut watch, out, next, false).await;
            }
        }
        let Some(stored) = self.in_vault(&sent, watch.vault.1).await? else { return self.stopped().await };
        let Some(mut first) = self.searchable(&sent, watch.search.1, &stored).await? else {
            return self.stopped().await;
        };
        if let (Some(sink), Some((_, found))) = (self.sink.clone(), watch.sink) {
            match self.at_sink(&sent, found, &sink).await? {
                Some(times) => first = times,
                None => return self.stopped().await,
            }
        }
        if !self.once(&sent).await? {
            return self.stopped().await;
        }
        let (figure, worst) = self.figure(&sent, &first);
        self.in_time(worst, &figure).await?;
        self.run.finish(figure).await
    }

    async fn stopped(self) -> Result<Proof, DrillError> {
        let figure = format!("{} sent, stopped", self.canary.events);
        self.run.finish(figure).await
    }

    async fn emit(&mut self, s: &Sent) -> Result<bool, DrillError> {
        let got = match self.world.emit(&self.source, &s.payload).await {
            Ok(receipt) => Got::yes(receipt),
            Err(trouble) => Got::from(trouble),
        };
        let got = got
            .with("source", &self.source)
            .with("counter", s.counter.to_string())
            .with("token", &s.token)
            .with("payload", hex(&s.payload));
        self.run.step(&format!("emit {}", s.counter + 1), "taken by the source's own entry", got).await
    }

    async fn look(&self, place: &Where, token: &str) -> Result<Vec<Sight>, Trouble> {
        Ok(match place {
            Where::Vault => self.world.find_in_vault(token).await?.into_iter().map(Sight::Stored).collect(),
            Where::Search => self.world.search(token).await?.into_iter().map(Sight::Hit).collect(),
            Where::Sink(at) => {
                self.world.find_at_sink(at, token).await?.into_iter().map(Sight::Delivered).collect()
            }
        })
    }

    /// Looks at every place for what was sent so far, until `until`, or until all of it was seen where `may_end` allows that.
    async fn watch(&self, watch: &mut Watch, sent: &[Sent], until: Time, may_end: bool) {
        let began = self.world.now();
        loop {
            for (place, found) in watch.places() {
                let Ok(f) = found else { continue };
                if let Err(trouble) = self.glance(place, f, sent).await {
                    *found = Err(trouble);
                }
            }
            let (now, is_done) = (self.world.now(), watch.is_done(sent));
            if now >= until || (is_done && may_end) {
                return;
            }
            let pause = (now.since(began) / 10).clamp(POLL_MIN, POLL_MAX);
            self.world.wait_until(if is_done { until } else { now.plus(pause).min(until) }).await;
        }
    }

    async fn glance(&self, place: &Where, found: &mut Found, sent: &[Sent]) -> Result<(), Trouble> {
        for s in sent {
            if found.first.contains_key(&s.token) {
                continue;
            }
            let copies = self.look(place, &s.token).await?;
            if !copies.is_empty() {
                found.first.insert(s.token.clone(), self.world.now());
                found.copies.insert(s.token.clone(), copies);
            }
        }
        Ok(())
    }

    async fn in_vault(
        &mut self,
        sent: &[Sent],
        found: Result<Found, Trouble>,
    ) -> Result<Option<Found>, DrillError> {
        let expected =
            "every event durable, its bytes as sent, from the planned source, marked in the envelope";
        let found = match found {
            Ok(f) => f,
            Err(t) => {
                self.run.step("in the vault", expected, Got::from(t)).await?;
                return Ok(None);
            }
        };
        let run = self.run.id().to_string();
        let mut wrong = found.missing(sent);
        let mut seqs = Vec::new();
        for s in sent {
            for copy in found.of(s) {
                let Sight::Stored(copy) = copy else { continue };
                seqs.push(copy.seq.to_string());
                if copy.raw != s.payload {
                    wrong.push(format!("event {} altered", s.counter + 1));
                } else if copy.source != self.source {
                    wrong.push(format!("event {} came in as source `{}`", s.counter + 1, copy.source));
                } else if copy.canary.as_deref() != Some(&run) {
                    wrong.push(format!("event {} is not marked as a canary", s.counter + 1));
                }
            }
        }
        let mut got = said(&wrong, format!("{} of {} durable", found.first.len(), sent.len()));
        if !seqs.is_empty() {
            got = got.with("seq", seqs.join(","));
        }
        let goes_on = self.run.step("in the vault", expected, got).await?;
        Ok(goes_on.then_some(found))
    }

    async fn searchable(
        &mut self,
        sent: &[Sent],
        found: Result<Found, Trouble>,
        stored: &Found,
    ) -> Result<Option<BTreeMap<String, Time>>, DrillError> {
        let expected = "the ordinary search finds each of them";
        let found = match found {
            Ok(f) => f,
            Err(t) => {
                self.run.step("searchable", expected, Got::from(t)).await?;
                return Ok(None);
            }
        };
        let mut wrong = found.missing(sent);
        for s in sent {
            let is_held = |hit: &Sight| {
                let Sight::Hit(seq) = hit else { return false };
                stored.of(s).iter().any(|c| matches!(c, Sight::Stored(c) if c.seq == *seq))
            };
            if !found.of(s).iter().all(is_held) {
                wrong.push(format!("event {} is found where the vault did not hold it", s.counter + 1));
            }
        }
        let got = said(&wrong, format!("{} of {} found", found.first.len(), sent.len()));
        let goes_on = self.run.step("searchable", expected, got).await?;
        Ok(goes_on.then_some(found.first))
    }

    async fn at_sink(
        &mut self,
        sent: &[Sent],
        found: Result<Found, Trouble>,
        sink: &BackRead,
    ) -> Result<Option<BTreeMap<String, Time>>, DrillError> {
        let expected = format!("a reader of `{}` finds each of them, unaltered", sink.sink);
        let found = match found {
            Ok(f) => f,
            Err(t) => {
                // Without a reader the reach is "acknowledged", which is less than this claim says: inconclusive.
                self.run.step("at the sink", &expected, Got::from(t).with("reach", "acknowledged")).await?;
                return Ok(None);
            }
        };
        let mut wrong = found.missing(sent);
        let (mut compared, mut first) = (0_u32, None);
        for s in sent {
            for copy in found.of(s) {
                let Sight::Delivered(copy) = copy else { continue };
                first = first.or(Some(copy));
                compared += u32::from(copy.raw.is_some());
                if copy.raw.as_ref().is_some_and(|r| *r != s.payload) {
                    wrong.push(format!("event {} altered at the sink", s.counter + 1));
                }
                if self.canary.place.as_ref().is_some_and(|p| *p != copy.place) {
                    wrong.push(format!("event {} is in `{}`", s.counter + 1, copy.place));
                }
            }
        }
        let text = format!("{} of {} found, bytes of {compared} compared", found.first.len(), sent.len());
        let got = said(&wrong, text)
            .with("reach", "searchable")
            .with("credential", &sink.credential)
            .with("place", first.map_or("", |d| &d.place))
            .with("sink_answer", first.map_or("", |d| &d.answer));
        let goes_on = self.run.step("at the sink", &expected, got).await?;
        Ok(goes_on.then_some(found.first))
    }

    /// Looks at every place once more after a while: a doubled event comes with the retry, not with the first copy.
    async fn once(&mut self, sent: &[Sent]) -> Result<bool, DrillError> {
        self.world.wait_until(self.world.now().plus(SETTLE)).await;
        let expected = format!("{} copy of each, everywhere", self.canary.exactly);
        match self.count(sent).await {
            Ok(wrong) => {
                let text = format!(
                    "{} of each, looked again after {}",
                    self.canary.exactly,
                    duration::figure(SETTLE)
                );
                self.run.step("once", &expected, said(&wrong, text)).await
            }
            Err(t) => self.run.step("once", &expected, Got::from(t)).await,
        }
    }

    async fn count(&self, sent: &[Sent]) -> Result<Vec<String>, Trouble> {
        let mut wrong = Vec::new();
        for s in sent {
            let mut places = vec![("vault", self.world.find_in_vault(&s.token).await?.len())];
            if let Some(sink) = &self.sink {
                places.push((&sink.sink, self.world.find_at_sink(sink, &s.token).await?.len()));
            }
            for (place, n) in places {
                if n != self.canary.exactly as usize {
                    wrong.push(format!("event {} stands {n} times in {place}", s.counter + 1));
                }
            }
        }
        Ok(wrong)
    }

    async fn in_time(&mut self, worst: i64, figure: &str) -> Result<(), DrillError> {
        let limit = self.canary.within;
        let got = if worst <= limit { Got::yes(figure) } else { Got::no(format!("late: {figure}")) };
        let got = got.with("delay_ms_max", (worst / 1_000).to_string());
        self.run.step("in time", &format!("within {}", duration::text(limit)), got).await?;
        Ok(())
    }

    /// `3 of 3 in 3.1 s`, the slowest event counting.
    fn figure(&self, sent: &[Sent], first: &BTreeMap<String, Time>) -> (String, i64) {
        let worst =
            sent.iter().filter_map(|s| Some(first.get(&s.token)?.since(s.at))).max().unwrap_or(i64::MAX);
        (format!("{} of {} in {}", first.len(), sent.len(), duration::figure(worst)), worst)
    }
}

fn said(wrong: &[String], fine: String) -> Got {
    if wrong.is_empty() { Got::yes(fine) } else { Got::no(wrong.join(", ")) }
}

#[cfg(test)]
mod tests;
