use crate::bulk::{Fault, Server};
use crate::elasticsearch::elastic;
use crate::kit::*;
use forward::{
    Ask, Fetch, RedrivePlan, RedriveReport, Resolution, ResolutionState, Resolutions, plan_redrive, redrive,
    standing,
};

#[async_trait]
impl Fetch for Log {
    async fn event(&self, _: u32, seq: u64) -> Result<Option<(Batch, usize)>, StoreError> {
        // Seqs below 14 have expired meanwhile.
        Ok((seq >= 14).then(|| (self.batch(dataset(seq), std::iter::once(seq)), 0)))
    }
}

#[derive(Default)]
struct Written(Mutex<Vec<Resolution>>);

#[async_trait]
impl Resolutions for Written {
    async fn write(&self, resolutions: Vec<Resolution>) -> Result<(), StoreError> {
        self.0.lock().unwrap().extend(resolutions);
        Ok(())
    }
}

struct Bench {
    server: Server,
    log: Arc<Log>,
    kept: Arc<Kept>,
    written: Written,
    mapping_is_mended: Switch,
}

/// 700 events, of which every seventh of `aws.cloudtrail`-like numbers is refused until the mapping is mended.
async fn bench() -> Bench {
    let server = Server::start().await;
    let mended: Switch = Arc::default();
    let seen = mended.clone();
    server.state.lock().unwrap().judge = Some(Box::new(move |_, doc, _| {
        let n: u64 = doc["avouch"]["position"].as_str().unwrap().strip_prefix("0:").unwrap().parse().unwrap();
        let is_bad = n.is_multiple_of(7) && (!seen.load(Ordering::SeqCst) || n == 21);
        is_bad.then_some((400, "mapper_parsing_exception"))
    }));
    let (log, kept) = (Arc::new(Log::new(700)), Arc::new(Kept::default()));
    let r = run(&elastic(&server), &log, &kept);
    r.until_done(700).await;
    r.stop().await;
    Bench { server, log, kept, written: Written::default(), mapping_is_mended: mended }
}

impl Bench {
    fn plan(&self, ask: &Ask) -> RedrivePlan {
        plan_redrive(&self.kept.letters.lock().unwrap(), &self.written.0.lock().unwrap(), ask)
    }
    async fn run(&self, plan: &RedrivePlan) -> RedriveReport {
        let c = elastic(&self.server);
        let sink = open_sink("siem", &c, Arc::new(Document::default()), &secrets()).unwrap();
        redrive(
            plan,
            &*self.log,
            &*sink,
            &*self.kept,
            &self.written,
            &*self.kept,
            Some(1_000_000),
            "ana",
            "mapping mended",
        )
        .await
        .unwrap()
    }
}

#[tokio::test]
async fn after_the_fix_each_arrives_once() {
    let b = bench().await;
    let plan = b.plan(&Ask::default());
    assert_eq!((plan.letters.len(), plan.groups.len()), (100, 1));
    let g = &plan.groups[0];
    assert_eq!(
        (g.class.as_str(), g.code.as_str(), g.field.as_deref(), g.n),
        ("400", "mapper_parsing_exception", Some("user.id"), 100)
    );
    // Not mended yet: refused again, no loop, attempts rise.
    let report = b.run(&plan).await;
    assert_eq!((report.refused_again, report.expired, report.resolved, report.left_open), (98, 2, 0, 0));
    let plan = b.plan(&Ask::default());
    assert_eq!(plan.letters.len(), 100);
    assert!(
        plan.letters
            .iter()
            .filter(|l| l.letter.seq >= 14)
            .all(|l| l.attempts >= 2 && l.state == Some(ResolutionState::RefusedAgain))
    );
    b.mapping_is_mended.store(true, Ordering::SeqCst);
    // The target stumbles on the way and the first run is cut off after it sent; neither loses nor doubles.
    b.server.script(&[Fault::Status(503), Fault::ResetAfter, Fault::OneShort]);
    let report = b.run(&plan).await;
    assert_eq!((report.resolved, report.refused_again, report.expired), (97, 1, 2), "{report:?}");
    assert!(report.duplicate > 0, "those that had arrived before the reset");
    let left = b.plan(&Ask::default());
    assert_eq!(
        left.letters.iter().map(|l| l.letter.seq).collect::<Vec<_>>(),
        [0, 7, 21],
        "expired ones stay visible until waived"
    );
    let wanted: BTreeSet<u64> = selected(700).into_iter().filter(|s| ![0, 7, 21].contains(s)).collect();
    assert_eq!(b.server.numbers(&b.log), wanted);
    assert!(b.written.0.lock().unwrap().iter().all(|r| r.who == "ana" && r.why == "mapping mended"));
}

#[tokio::test]
async fn a_target_that_holds_stops_the_run_and_leaves_the_rest_open() {
    let b = bench().await;
    b.server.state.lock().unwrap().authorization = Some("Basic nobody".into());
    let plan = b.plan(&Ask::default());
    let report = b.run(&plan).await;
    assert!(report.stopped.as_ref().is_some_and(|s| s.contains("401")), "{report:?}");
    let total = report.resolved + report.refused_again + report.expired + report.left_open;
    assert_eq!(total, 100, "every letter is accounted for");
    assert_eq!(b.plan(&Ask::default()).letters.len(), 100);
}

#[tokio::test]
async fn asking_narrows_and_order_does_not_matter() {
    let b = bench().await;
    let all = b.kept.letters.lock().unwrap().clone();
    assert_eq!(b.plan(&Ask { class: Some("429".into()), ..Ask::default() }).letters.len(), 0);
    assert_eq!(b.plan(&Ask { sink: Some("other".into()), ..Ask::default() }).letters.len(), 0);
    assert_eq!(b.plan(&Ask { ids: vec![id(21)], ..Ask::default() }).letters.len(), 1);
    let last = all.iter().map(|l| l.last_at).max().unwrap();
    assert_eq!(b.plan(&Ask { since: Some(last.plus(1)), ..Ask::default() }).letters.len(), 0);
    let mut backwards = all.clone();
    backwards.reverse();
    let waived = |seq: u64, at: Time| Resolution {
        schema: "avouch.redrive/1".into(),
        sink: "siem".into(),
        shard: 0,
        seq,
        event_id: id(seq),
        state: ResolutionState::Waived,
        who: "bo".into(),
        at,
        why: "test data".into(),
        answer: String::new(),
    };
    let (a, z) = (waived(28, last.plus(1)), waived(35, last.plus(2)));
    assert_eq!(standing(&all, &[a.clone(), z.clone()]), standing(&backwards, &[z, a.clone()]));
    assert_eq!(plan_redrive(&all, &[a], &Ask::default()).letters.len(), 99);
}
