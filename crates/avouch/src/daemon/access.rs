//! The access analysis beside the daemon: the estate folder is read when it changes, and what is found goes through the hub like any
//! other finding. What a run no longer says is over, but only where the run could look (F1).

use super::alerting::own_finding;
use crate::cmd::access::estate::{Loaded, Source, described};
use crate::config::AccessConfig;
use crate::node::{Node, now};
use crate::outsiders::{findings, id, occurrence};
use crate::problem::Problem;
use access::estate::Surroundings;
use access::finding::{Finding, Rule};
use access::world::{Tenant, Zone};
use findings::{By, Command, Record, Verdict};
use model::{FindingId, FindingSource, Severity, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;

/// Grants end by date too, so an estate that does not change is analysed anew.
const AGAIN_AFTER: Duration = Duration::from_secs(3_600);

/// One whole analysis.
pub struct Analysed {
    pub at: Time,
    pub from: PathBuf,
    pub loaded: Loaded,
    /// Resources that have something others could be in.
    pub resources: usize,
    pub findings: BTreeMap<FindingId, Finding>,
    /// Control policies that cannot be read.
    pub broken: Vec<String>,
}

/// The last analysis, and what keeps the next from being one.
#[derive(Clone, Default)]
pub struct Standing {
    pub last: Option<Arc<Analysed>>,
    pub problem: Option<Problem>,
}

#[derive(Default)]
pub struct Outside(RwLock<Standing>);

impl Outside {
    pub fn standing(&self) -> Standing {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    fn set(&self, standing: Standing) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = standing;
    }
}

/// Whom the configuration trusts.
pub fn zone(config: &AccessConfig) -> Zone {
    let all = |of: fn(&crate::config::Trusted) -> &Vec<String>| -> BTreeSet<String> {
        config.trusted.iter().flat_map(|t| of(t).iter().cloned()).collect()
    };
    let tokens = config.trusted.iter().flat_map(|t| &t.federated);
    Zone {
        organization: config.organization,
        accounts: all(|t| &t.accounts),
        principals: all(|t| &t.principals),
        canonical: all(|t| &t.canonical),
        services: all(|t| &t.services),
        federated: tokens
            .map(|t| Tenant { provider: t.provider.clone(), subjects: t.subjects.clone() })
            .collect(),
    }
}

/// Reads and analyses a folder.
///
/// # Errors
/// The folder cannot be read, or the analysis gets its own test estate wrong: nothing it says can be believed then.
pub fn analyse(dir: &Path, zone: Zone) -> Result<Analysed, Problem> {
    canary()?;
    let source = Source { estate: Some(dir.to_path_buf()), plan: None, zone: None };
    let mut loaded = described(&source)?;
    loaded.estate.zone = zone;
    let (all, resources) = findings(&loaded.estate, &[]);
    let broken = Surroundings::of(&loaded.estate).broken;
    let findings = all.into_iter().map(|f| (id(&f), f)).collect();
    Ok(Analysed { at: loaded.estate.as_of, from: dir.to_path_buf(), loaded, resources, findings, broken })
}

/// The analysis of the analysis.
///
/// # Errors
/// A verdict that is known came out wrong.
pub fn canary() -> Result<(), Problem> {
    ::access::canary::check().map_err(|why| {
        Problem::new("access.canary", format!("the analysis gets its own test estate wrong: {why}"))
            .hint("nothing was said about your estate; this build is broken: use another, and report it")
            .exit(3)
    })
}

/// Runs until `stop`; at once done without an estate.
pub async fn run(node: Arc<Node>, mut stop: watch::Receiver<bool>) {
    let Some(dir) = node.config.access.estate.clone() else { return };
    let mut seen = None;
    let mut done = tokio::time::Instant::now();
    // The last analysis that the hub took whole.
    let mut told: Option<Arc<Analysed>> = None;
    loop {
        let folder = dir.clone();
        let stamp = tokio::task::spawn_blocking(move || stamp(&folder)).await.unwrap_or_default();
        if seen.as_ref() != Some(&stamp) || done.elapsed() >= AGAIN_AFTER {
            // What could not be stored is handed on again at the next look.
            seen = look(&node, &dir, &mut told).await.then_some(stamp);
            done = tokio::time::Instant::now();
        }
        tokio::select! {
            _ = stop.changed() => return,
            () = tokio::time::sleep(node.config.access.poll.0) => {}
        }
    }
}

/// What changes when a file does: names, sizes and times, of everything below.
fn stamp(dir: &Path) -> [u8; 32] {
    let (mut folders, mut lines) = (vec![dir.to_path_buf()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(about) = entry.metadata() else { continue };
            if about.is_dir() {
                folders.push(entry.path());
            }
            let changed = about.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
            lines.push(format!("{} {} {:?}\n", entry.path().display(), about.len(), changed));
        }
    }
    lines.sort();
    model::sha256(&[lines.concat().as_bytes()])
}

/// One analysis, and what follows from it. Whether all of that could be stored.
async fn look(node: &Node, dir: &Path, told: &mut Option<Arc<Analysed>>) -> bool {
    let (folder, zone) = (dir.to_path_buf(), zone(&node.config.access));
    let analysed = tokio::task::spawn_blocking(move || analyse(&folder, zone)).await;
    let analysed = analysed.unwrap_or_else(|e| {
        Err(Problem::new("internal.task", "the access analysis did not finish").because(&e).defect())
    });
    let unstored = |p: Problem| tracing::error!(problem = %p, "findings could not be stored, trying again");
    let is_said = said(node, analysed.as_ref().err(), dir).await.map_err(unstored).is_ok();
    let now = match analysed {
        Ok(now) => Arc::new(now),
        Err(p) => {
            // What was found before stays: it is not over because nobody can look.
            tracing::error!(problem = %p, "the estate is not analysed");
            node.outside.set(Standing { problem: Some(p), ..node.outside.standing() });
            return is_said;
        }
    };
    tracing::info!(folder = %dir.display(), resources = now.resources, findings = now.findings.len(), "the estate is analysed");
    node.outside.set(Standing { last: Some(Arc::clone(&now)), problem: None });
    if let Err(p) = tell(node, told.as_deref(), &now).await {
        unstored(p);
        return false;
    }
    *told = Some(now);
    is_said
}

/// An analysis that cannot be made is a finding about us, and over when it can.
async fn said(node: &Node, trouble: Option<&Problem>, dir: &Path) -> Result<(), Problem> {
    const KIND: &str = "Avouch:Access/NotAnalysed";
    let resource = dir.display().to_string();
    let finding = |why: &str, fix: &str| {
        let title = "Who outside can reach what is not known";
        own_finding(KIND, "access-not-analysed", title, why, fix, Severity::HIGH, &resource)
    };
    let about = finding("", "").id;
    match trouble {
        Some(p) => {
            let known = node.hub.state();
            let is_said = known
                .get(about)
                .is_some_and(|e| e.verdict != Some(Verdict::Pass) && e.finding().why == p.message);
            if !is_said {
                node.hub.ingest(node, vec![finding(&p.message, p.hint())], "access").await?;
            }
        }
        None if node.hub.state().get(about).is_some() => {
            judge(node, about, Verdict::Pass, "it could be analysed again").await?
        }
        None => {}
    }
    Ok(())
}

async fn judge(node: &Node, id: FindingId, verdict: Verdict, why: &str) -> Result<(), Problem> {
    let by = By { who: "access".to_owned(), at: now(), why: why.to_owned() };
    node.hub.run(node, &Command::Judge { id, verdict }, &by).await.map(|_| ())
}

/// Hands on what is new, what is back, and what is over.
async fn tell(node: &Node, before: Option<&Analysed>, now: &Analysed) -> Result<(), Problem> {
    let is_new = |id: &FindingId, f: &Finding| before.and_then(|b| b.findings.get(id)) != Some(f);
    let around = Surroundings::of(&now.loaded.estate);
    let news = now.findings.iter().filter(|(id, f)| is_new(id, f));
    let news = news.map(|(_, f)| occurrence(f, &around, now.loaded.files.get(&f.resource), now.at)).collect();
    node.hub.ingest(node, news, "access").await?;
    let state = node.hub.state();
    for id in now.findings.keys() {
        if state.get(*id).is_some_and(|e| e.verdict == Some(Verdict::Pass)) {
            judge(node, *id, Verdict::Fail, "it is there again").await?;
        }
    }
    let gone = state.entries().filter(|e| {
        e.finding().source == FindingSource::Access
            && e.record == Record::Active
            && e.verdict != Some(Verdict::Pass)
            && !now.findings.contains_key(&e.id())
    });
    let view = Looked::of(now);
    for entry in gone {
        let f = entry.finding();
        let (resource, account) =
            (f.resource.as_deref().unwrap_or_default(), f.account.as_deref().unwrap_or_default());
        match view.is_over(&f.rule.name, resource, account) {
            Some(why) => judge(node, entry.id(), Verdict::Pass, why).await?,
            None => judge(node, entry.id(), Verdict::Unknown, "it could not be looked at").await?,
        }
    }
    Ok(())
}

/// What a run could look at.
struct Looked<'a> {
    /// Resources that are there.
    resources: BTreeSet<&'a str>,
    /// Accounts whose listings are there.
    accounts: BTreeSet<&'a str>,
    /// Resources and accounts of which a part could not be read.
    unknown: BTreeSet<&'a str>,
}

impl<'a> Looked<'a> {
    fn of(now: &'a Analysed) -> Looked<'a> {
        let resources = &now.loaded.estate.resources;
        let accounts = resources.iter().filter(|r| r.kind == "AWS::Account");
        let unknown = now.findings.values().filter(|f| f.rule == Rule::Unknown);
        Looked {
            resources: resources.iter().map(|r| r.arn.as_str()).collect(),
            accounts: accounts.map(|r| r.account.as_str()).collect(),
            unknown: unknown
                .flat_map(|f| {
                    [f.resource.as_str(), if f.resource_type == "AWS::Account" { &f.account } else { "" }]
                })
                .collect(),
        }
    }

    /// Why a finding that a run does not have any more is over; `None` where the run could not look.
    fn is_over(&self, rule: &str, resource: &str, account: &str) -> Option<&'static str> {
        match (self.resources.contains(resource), self.unknown.contains(resource)) {
            (true, true) if rule != Rule::Unknown.name() => None,
            (true, _) => Some("the documents do not say so any more"),
            // Whoever could not list everything cannot say that something is gone.
            (false, _) if !self.accounts.contains(account) || self.unknown.contains(account) => None,
            (false, _) => Some("the resource is not in the estate any more"),
        }
    }
}
