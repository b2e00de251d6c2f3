//! Whole segments go, under a leaf that says why.

use crate::seal::{check_verify, leaves};
use crate::support::*;
use model::Time;
use vault::format::MaxAge;
use vault::format::leaf::{Body, ExpireAction, Hold};
use vault::{DatasetSettings, Selection};

#[tokio::test]
async fn seven_days_are_gone_and_ninety_stay() {
    let folder = Folder::new("expire");
    let world = World::new();
    let (vault, _) = world.open(&folder);
    vault.append(numbered(0, 30)).await.unwrap();
    vault.seal_now().await.unwrap();
    let snapshot = vault.snapshot();
    let [gone, kept] = ["plain.a", "syslog"].map(|d| snapshot.segments_of(d)[0].clone());
    let at = |days: i64| START.plus(days * Time::DAY);
    assert!(vault.expire(at(6)).await.unwrap().leaves.is_empty());
    world.clock.advance(8 * Time::DAY);
    let plan = vault.expire_dry_run(at(8));
    assert_eq!((plan.rows, plan.leaves.len()), (10, 1));
    assert!(gone.path.exists(), "a dry run changes nothing");
    let done = vault.expire(at(8)).await.unwrap();
    assert_eq!(done.leaves[0].segments, plan.leaves[0].segments);
    assert!(!gone.path.exists() && !folder.vault().join(&gone.info.side).exists());
    assert!(kept.path.exists());
    assert_eq!(vault.snapshot().segments().len(), 2);
    assert!(snapshot.open_segment(&gone, 0).is_err());
    let left = read_foreign(&vault).await;
    assert_eq!(left.len(), 20);
    until("the list is an event", || vault.end_seq() > 30).await;
    let own = read_all(&vault, Selection { datasets: vec!["avouch.vault".into()], from: 0 }, 1 << 20).await;
    assert!(String::from_utf8_lossy(&own[0].1).contains(&gone.info.path));
    // All of it, in time; keys first.
    world.clock.advance(100 * Time::DAY);
    let wraps = || folder.vault().join("keys").read_dir().unwrap().count();
    let before = wraps();
    let done = vault.expire(world.clock.read()).await.unwrap();
    assert_eq!((done.segments.len(), done.leaves[0].action), (2, ExpireAction::Both));
    assert_eq!(wraps(), before - 2, "the wrapped keys of both encrypted segments");
    assert!(vault.expire(world.clock.read()).await.unwrap().leaves.is_empty());
    vault.close().await.unwrap();
    let (vault, opened) = world.open(&folder);
    assert!(opened.missing.is_empty() && opened.quarantined.is_empty());
    assert!(read_foreign(&vault).await.is_empty());
    vault.close().await.unwrap();
    check_verify(&folder, &world);
}

#[tokio::test]
async fn a_shorter_policy_is_for_later_segments_a_longer_one_for_all() {
    let folder = Folder::new("policy");
    let world = World::new();
    let with = |age: MaxAge| {
        let mut s = settings(&folder.vault());
        s.datasets.insert("a".into(), DatasetSettings { max_age: Some(age), encryption: None });
        s
    };
    let write = async |age: MaxAge| {
        let (vault, _) = world.try_open(&folder.vault(), with(age)).unwrap();
        vault.append(batch(&[("a", b"x")])).await.unwrap();
        vault.close().await.unwrap();
    };
    write(MaxAge::Days(30)).await;
    write(MaxAge::Days(7)).await;
    let (vault, _) = world.try_open(&folder.vault(), with(MaxAge::Days(7))).unwrap();
    let due = |days: i64| vault.expire_dry_run(START.plus(days * Time::DAY)).rows;
    assert_eq!((due(6), due(8), due(29), due(31)), (0, 1, 1, 2), "the first keeps its 30 days");
    vault.close().await.unwrap();
    let (vault, _) = world.try_open(&folder.vault(), with(MaxAge::Days(60))).unwrap();
    let due = |days: i64| vault.expire_dry_run(START.plus(days * Time::DAY)).rows;
    assert_eq!((due(31), due(61)), (0, 2));
    vault.close().await.unwrap();
    let policies = leaves(&folder)
        .into_iter()
        .filter(|l| matches!(&l.body, Body::Policy(p) if p.dataset == "a"))
        .count();
    assert_eq!(policies, 3, "a policy leaf for each change and none without");
    check_verify(&folder, &world);
}

#[tokio::test]
async fn a_legal_hold_vetoes_until_it_is_released() {
    let folder = Folder::new("hold");
    let world = World::new();
    let (vault, _) = world.open(&folder);
    vault.append(batch(&[("plain.a", b"x"), ("plain.b", b"y")])).await.unwrap();
    vault.seal_now().await.unwrap();
    let hold = |held: bool| Hold { id: "case-7".into(), held, why: "court".into(), range: None };
    vault.hold("plain.a".into(), hold(true), "ann".into(), vec!["bob".into()]).await.unwrap();
    let due = || vault.expire_dry_run(START.plus(8 * Time::DAY)).rows;
    assert_eq!(due(), 1);
    vault.hold("plain.a".into(), hold(false), "ann".into(), vec!["bob".into()]).await.unwrap();
    assert_eq!(due(), 2);
    vault.close().await.unwrap();
}
