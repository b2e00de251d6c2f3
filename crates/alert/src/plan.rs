//! Who is told what, now, later or not: pure.

use crate::{
    AlertRef, AlertsConfig, Book, Delta, DrillBudget, Head, Item, Notice, Occasion, Parcel, RouteConfig,
    Storm, Told, Waiting, render,
};
use model::{DeliveryState, FindingId, Time};
use std::collections::{BTreeMap, BTreeSet};

/// Messages per route within [`STORM_WINDOW`] before they become a digest: a person cannot read more.
pub const STORM_MAX: usize = 30;
pub const STORM_WINDOW: i64 = 5 * Time::MINUTE;
/// Drill messages per channel and UTC day (`needs.md` 4.5): more would teach people to look away.
pub const DRILLS_PER_DAY: u32 = 20;

/// What follows from `notices` at `now`. The book is not touched: store the delta, then apply it.
#[must_use]
pub fn plan(config: &AlertsConfig, book: &Book, notices: &[Notice], now: Time) -> Delta {
    let mut work = Work::new(config, book, now);
    for n in notices {
        work.take(n);
    }
    work.finish()
}

/// What is due at `now`: repeats whose interval is over, and held digests. `is_hidden` says what has been suppressed meanwhile.
#[must_use]
pub fn tick(config: &AlertsConfig, book: &Book, now: Time, is_hidden: &dyn Fn(FindingId) -> bool) -> Delta {
    let mut work = Work::new(config, book, now);
    for told in book.told.values() {
        let Some(waiting) = &told.waiting else { continue };
        let Some(route) = config.routes.get(&told.route) else {
            // The route is gone, so nobody is to be told; recovery would go nowhere either.
            work.forgotten.insert((told.route.clone(), told.finding));
            continue;
        };
        if now.since(told.last_sent) < route.every.0 {
            continue;
        }
        let mut told = told.clone();
        told.waiting = None;
        if is_hidden(told.finding) {
            work.skipped.push((told.finding, "suppressed"));
        } else {
            told.last_sent = now;
            work.say(&told.route, waiting.item.clone());
        }
        work.put(told);
    }
    work.finish()
}

/// When [`tick`] has something to do next.
#[must_use]
pub fn due(config: &AlertsConfig, book: &Book) -> Option<Time> {
    let repeats = book
        .told
        .values()
        .filter(|t| t.waiting.is_some())
        .map(|t| config.routes.get(&t.route).map_or(t.last_sent, |r| t.last_sent.plus(r.every.0)));
    let digests =
        book.storms.values().filter(|s| !s.held.is_empty()).map(|s| s.last_digest.plus(STORM_WINDOW));
    repeats.chain(digests).min()
}

struct Work<'a> {
    config: &'a AlertsConfig,
    book: &'a Book,
    now: Time,
    told: BTreeMap<(String, FindingId), Told>,
    forgotten: BTreeSet<(String, FindingId)>,
    /// To be said, by route, in the order of arrival.
    said: BTreeMap<String, Vec<Item>>,
    skipped: Vec<(FindingId, &'static str)>,
    parcels: Vec<Parcel>,
    drills: BTreeMap<String, DrillBudget>,
}

impl<'a> Work<'a> {
    fn new(config: &'a AlertsConfig, book: &'a Book, now: Time) -> Work<'a> {
        Work {
            config,
            book,
            now,
            told: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            said: BTreeMap::new(),
            skipped: Vec::new(),
            parcels: Vec::new(),
            drills: BTreeMap::new(),
        }
    }

    fn known(&self, route: &str, finding: FindingId) -> Option<Told> {
        let key = (route.to_owned(), finding);
        if self.forgotten.contains(&key) {
            return None;
        }
        self.told.get(&key).or_else(|| self.book.told.get(&key)).cloned()
    }

    fn put(&mut self, told: Told) {
        let key = (told.route.clone(), told.finding);
        self.forgotten.remove(&key);
        self.told.insert(key, told);
    }

    fn say(&mut self, route: &str, item: Item) {
        self.said.entry(route.to_owned()).or_default().push(item);
    }

    fn take(&mut self, n: &Notice) {
        let config = self.config;
        let id = n.finding.id;
        let mut is_routed = false;
        for (name, route) in &config.routes {
            let known = self.known(name, id);
            if n.occasion == Occasion::Recovered {
                // Whoever was told hears that it is over, whatever the route matches today.
                if let Some(told) = known {
                    is_routed = true;
                    self.recover(name, route, told, n);
                }
                continue;
            }
            if !route.matches.holds(&n.finding, n.severity) {
                continue;
            }
            is_routed = true;
            if n.is_suppressed {
                if let Some(told) = known.filter(|t| t.waiting.is_some()) {
                    self.put(Told { waiting: None, ..told });
                }
                continue;
            }
            self.tell(name, route, known, n);
        }
        if n.is_suppressed && n.occasion != Occasion::Recovered {
            self.skipped.push((id, "suppressed"));
        } else if !is_routed && n.occasion != Occasion::Recovered {
            self.skipped.push((id, "no_route"));
        }
    }

    fn tell(&mut self, name: &str, route: &RouteConfig, known: Option<Told>, n: &Notice) {
        let mut item = Item::of(n, self.config.link.as_deref());
        let Some(mut told) = known else {
            // Whatever the notice says, this route hears of it for the first time.
            item.occasion = Occasion::Opened;
            self.put(Told {
                route: name.to_owned(),
                finding: n.finding.id,
                first_sent: self.now,
                last_sent: self.now,
                severity: n.severity,
                channels: route.to.clone(),
                waiting: None,
            });
            return self.say(name, item);
        };
        let has_risen = told.severity < n.severity;
        let is_over_due = self.now.since(told.last_sent) >= route.every.0;
        if has_risen || is_over_due {
            item.occasion = if has_risen { Occasion::Raised } else { Occasion::Repeated };
            told.last_sent = self.now;
            told.severity = told.severity.max(n.severity);
            told.waiting = None;
            self.say(name, item);
        } else {
            item.occasion = Occasion::Repeated;
            let since = told.waiting.as_ref().map_or(self.now, |w| w.since);
            told.waiting = Some(Waiting { since, item });
        }
        self.put(told);
    }

    fn recover(&mut self, name: &str, route: &RouteConfig, told: Told, n: &Notice) {
        let key = (name.to_owned(), told.finding);
        self.told.remove(&key);
        self.forgotten.insert(key);
        if route.recovery {
            let item = Item { told_first: Some(told.first_sent), ..Item::of(n, self.config.link.as_deref()) };
            self.say(name, item);
        }
    }

    fn finish(mut self) -> Delta {
        let mut storms = Vec::new();
        let held = self.book.storms.values().filter(|s| !s.held.is_empty()).map(|s| s.route.clone());
        let routes: BTreeSet<String> = self.said.keys().cloned().chain(held).collect();
        for name in routes {
            let Some(route) = self.config.routes.get(&name) else {
                // Held for a route that was removed: nobody to tell, and it must not wait for ever.
                storms.push(Storm {
                    route: name,
                    recent: Vec::new(),
                    last_digest: self.now,
                    held: Vec::new(),
                });
                continue;
            };
            let said = self.said.remove(&name).unwrap_or_default();
            let (drills, real): (Vec<Item>, Vec<Item>) = said.into_iter().partition(|i| i.drill.is_some());
            if let Some(s) = self.send_real(&name, route, real) {
                storms.push(s);
            }
            for item in drills {
                self.send_drill(&name, route, item);
            }
        }
        Delta {
            told: self.told.into_values().collect(),
            forgotten: self.forgotten.into_iter().collect(),
            storms,
            drills: self.drills.into_values().collect(),
            parcels: self.parcels,
            receipts: Vec::new(),
            skipped: self.skipped,
        }
    }

    /// One message each while the route is calm; else everything goes into a digest, at most one per window. Returns the storm state
    /// if it moved.
    fn send_real(&mut self, name: &str, route: &RouteConfig, items: Vec<Item>) -> Option<Storm> {
        let before = self.book.storms.get(name);
        let mut storm = before.cloned().unwrap_or_else(|| Storm {
            route: name.to_owned(),
            recent: Vec::new(),
            last_digest: Time::NONE,
            held: Vec::new(),
        });
        storm.recent.retain(|t| self.now.since(*t) < STORM_WINDOW);
        let is_calm = storm.held.is_empty() && storm.recent.len() + items.len() <= STORM_MAX;
        if is_calm {
            for item in items {
                storm.recent.push(self.now);
                self.parcel(name, route, &[item], None);
            }
        } else {
            storm.held.extend(items);
            if self.now.since(storm.last_digest) >= STORM_WINDOW {
                let all = std::mem::take(&mut storm.held);
                self.parcel(name, route, &all, None);
                storm.last_digest = self.now;
                storm.recent.push(self.now);
            }
        }
        (before != Some(&storm)).then_some(storm)
    }

    /// Drills count nowhere but in their own daily budget per channel.
    fn send_drill(&mut self, name: &str, route: &RouteConfig, item: Item) {
        let day = self.now.day_number();
        let mut allowed = Vec::new();
        for channel in &route.to {
            let budget = self.drills.get(channel).or_else(|| self.book.drills.get(channel));
            let sent = budget.filter(|b| b.day == day).map_or(0, |b| b.sent);
            if sent >= DRILLS_PER_DAY {
                self.skipped.push((item.id, "drill_budget"));
                continue;
            }
            allowed.push(channel.clone());
            self.drills
                .insert(channel.clone(), DrillBudget { channel: channel.clone(), day, sent: sent + 1 });
        }
        if !allowed.is_empty() {
            self.parcel(name, route, &[item], Some(&allowed));
        }
    }

    /// The message for `items`, once per channel.
    fn parcel(&mut self, name: &str, route: &RouteConfig, items: &[Item], only: Option<&[String]>) {
        self.parcels.extend(parcels(name, route, items, only, self.now));
    }
}

/// Messages that tell `items` to the channels of `route`.
pub(crate) fn parcels(
    name: &str,
    route: &RouteConfig,
    items: &[Item],
    only: Option<&[String]>,
    now: Time,
) -> Vec<Parcel> {
    let Some(first) = items.first() else { return Vec::new() };
    let alerts: Vec<AlertRef> = items
        .iter()
        .map(|i| AlertRef { id: alert_id(name, i, now), finding: i.id, occasion: i.occasion })
        .collect();
    let joined: String = alerts.iter().map(|a| a.id.as_str()).collect::<Vec<_>>().join(",");
    let id = hex16(&format!("message\n{name}\n{joined}"));
    let head = Head { id: &id, route: name, label: route.label.as_deref(), form: route.form, created: now };
    let content = render(&head, items);
    // A digest is of one route and so holds real findings only; a drill travels alone.
    let drill = first.drill.clone();
    let mut channels: Vec<&String> = only.unwrap_or(&route.to).iter().collect();
    channels.dedup();
    channels
        .into_iter()
        .map(|channel| Parcel {
            id: format!("{id}-{channel}"),
            route: name.to_owned(),
            channel: channel.clone(),
            created: now,
            title: content.title.clone(),
            drill: drill.clone(),
            alerts: alerts.clone(),
            content: Some(content.clone()),
            state: DeliveryState::Waiting,
            attempts: 0,
            next: now,
            deliveries: Vec::new(),
            acknowledged: None,
        })
        .collect()
}

fn alert_id(route: &str, item: &Item, now: Time) -> String {
    hex16(&format!("alert\n{route}\n{}\n{}\n{now}", item.id, item.occasion.term()))
}

fn hex16(text: &str) -> String {
    model::sha256_hex(text.as_bytes()).chars().take(16).collect()
}
