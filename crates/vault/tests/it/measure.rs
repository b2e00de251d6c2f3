//! Not tests of speed: measurements for `docs/benchmarks.md`, run with `--ignored --nocapture`.

use crate::support::*;
use model::{Batch, Provenance};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vault::{LocalKeys, NoColumns, Settings, SystemClock, SystemRandom, Vault};

/// CloudTrail-like records of about 1 KiB with realistic repetition.
fn records(n: usize) -> Vec<Vec<u8>> {
    let mut rng = 1u64;
    let mut next = move || {
        rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        rng >> 33
    };
    let names = ["DescribeInstances", "GetObject", "PutObject", "AssumeRole", "Decrypt", "ListBuckets"];
    (0..n)
        .map(|i| {
            let (user, name) = (next() % 200, names[(next() % 6) as usize]);
            let id = format!("{:08x}-{:04x}-{:04x}-{:012x}", next() as u32, next() & 0xffff, next() & 0xffff, next());
            let mut s = format!(
                r#"{{"eventVersion":"1.08","userIdentity":{{"type":"AssumedRole","principalId":"AROA{user:016}:session-{user}","arn":"arn:aws:sts::111122223333:assumed-role/app-{user}/session-{user}","accountId":"111122223333","accessKeyId":"ASIA{:016X}","sessionContext":{{"sessionIssuer":{{"type":"Role","arn":"arn:aws:iam::111122223333:role/app-{user}"}},"attributes":{{"mfaAuthenticated":"false"}}}}}},"eventTime":"2025-03-14T10:{:02}:{:02}Z","eventSource":"service-{}.amazonaws.com","eventName":"{name}","awsRegion":"eu-west-2","sourceIPAddress":"10.{}.{}.{}","userAgent":"aws-sdk-go/1.44.{}","requestID":"{id}","eventID":"{:032x}","#,
                next(), i / 60 % 60, i % 60, next() % 9, next() % 4, next() % 256, next() % 256, next() % 50, u128::from(next()) << 64 | u128::from(next()),
            );
            while s.len() < 980 {
                s.push_str(&format!(r#""param{}":"{:x}","#, next() % 20, next() * next() % 0xffff_ffff));
            }
            s.push_str(r#""readOnly":true}"#);
            s.into_bytes()
        })
        .collect()
}

fn batches(records: &[Vec<u8>], rows: usize) -> Vec<Batch> {
    records
        .chunks(rows)
        .map(|chunk| {
            let mut b = Batch::builder();
            let p = b
                .provenance(Provenance::new("aws").sender("sqs").account("111122223333").region("eu-west-2"));
            let d = b.dataset("aws.cloudtrail");
            for r in chunk {
                b.push(r, p, d);
            }
            b.finish()
        })
        .collect()
}

fn plain_loop(path: &std::path::Path, bytes: &[u8], group: usize) -> (f64, Vec<Duration>) {
    let file = std::fs::File::create(path).unwrap();
    let (start, mut at, mut times) = (Instant::now(), 0, Vec::new());
    for g in bytes.chunks(group) {
        let t = Instant::now();
        file.write_all_at(g, at).unwrap();
        file.sync_data().unwrap();
        times.push(t.elapsed());
        at += g.len() as u64;
    }
    (start.elapsed().as_secs_f64(), times)
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() * 99 / 100]
}

fn open(folder: &Folder, change: impl FnOnce(&mut Settings)) -> Vault {
    let keys = Arc::new(LocalKeys::new(&vault::Dek::new([9; 32]), Arc::new(SystemRandom)));
    let mut s = Settings::new(&folder.vault());
    s.background = false;
    change(&mut s);
    let mut host = vault::Host::system(keys, Arc::new(NoColumns));
    host.clock = Arc::new(SystemClock);
    Vault::open(&folder.vault(), s, host).unwrap().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement; run with --ignored --nocapture"]
async fn measure_append() {
    let records = records(200_000);
    let raw: Vec<u8> = records.concat();
    let mb = raw.len() as f64 / 1e6;
    for (rows, group) in [(64, 64 << 10), (1000, 4 << 20)] {
        let batches = batches(&records, rows);
        let mut ratios = Vec::new();
        for round in 0..7 {
            let folder = Folder::new("measure");
            let n = if group < 1 << 20 { raw.len() / 8 } else { raw.len() };
            let (plain, times) = plain_loop(&folder.0.join("plain"), &raw[..n], group);
            let vault = open(&folder, |s| s.commit_bytes = group);
            let start = Instant::now();
            let count = if group < 1 << 20 { batches.len() / 8 } else { batches.len() };
            let before = thread_cpu();
            let mut tasks = Vec::new();
            for t in 0..16 {
                let (vault, mine) =
                    (vault.clone(), batches[..count].iter().skip(t).step_by(16).cloned().collect::<Vec<_>>());
                tasks.push(tokio::spawn(async move {
                    let mut times = Vec::new();
                    for b in mine {
                        let t = Instant::now();
                        vault.append(b).await.unwrap();
                        times.push(t.elapsed());
                    }
                    times
                }));
            }
            let mut acks = Vec::new();
            for t in tasks {
                acks.extend(t.await.unwrap());
            }
            let took = start.elapsed().as_secs_f64();
            let bytes = n as f64 / raw.len() as f64 * mb;
            let status = vault.status();
            println!(
                "group {group}, round {round}: plain {:.0} MB/s (p99 {:?}), vault {:.0} MB/s (p99 {:?}, {} commits, {:.0} MB of WAL), ratio {:.2}",
                bytes / plain,
                p99(times),
                bytes / took,
                p99(acks),
                status.commits,
                status.wal_bytes as f64 / 1e6,
                plain / took
            );
            ratios.push(plain / took);
            let cpu: Vec<String> = thread_cpu()
                .iter()
                .map(|(name, s)| {
                    (name, (s - before.get(name).unwrap_or(&0.0)) * 1e9 / (bytes * 1e6 / 1024.0))
                })
                .filter(|(_, ns)| *ns > 10.0)
                .map(|(name, ns)| format!("{name} {ns:.0}"))
                .collect();
            println!("    CPU ns per KiB: {}", cpu.join(", "));
            if group > 1 << 20 && round == 6 {
                let start = Instant::now();
                vault.seal_now().await.unwrap();
                let t = start.elapsed().as_secs_f64();
                println!("    sealed {:.0} k rows/s, {:?} bytes", 200.0 / t, vault.status().sealed_bytes);
                vault.close().await.unwrap();
            }
        }
        ratios.sort_by(f64::total_cmp);
        println!("group {group}: median ratio {:.2}, from {:.2} to {:.2}", ratios[3], ratios[0], ratios[6]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement; run with --ignored --nocapture"]
async fn measure_one_appender() {
    let records = records(20_000);
    for rows in [1, 16] {
        let folder = Folder::new("measure-one");
        let all = batches(&records, rows);
        let bytes = records[0].len() * rows;
        let (_, plain) = plain_loop(&folder.0.join("plain"), &records.concat()[..bytes * 1000], bytes);
        let vault = open(&folder, |_| {});
        let mut times = Vec::new();
        for b in all.into_iter().take(1000) {
            let t = Instant::now();
            vault.append(b).await.unwrap();
            times.push(t.elapsed());
        }
        let mean = |t: &[Duration]| t.iter().sum::<Duration>() / 1000;
        println!(
            "{rows} rows: plain mean {:?} p99 {:?}, vault mean {:?} p99 {:?}",
            mean(&plain),
            p99(plain.clone()),
            mean(&times),
            p99(times.clone())
        );
        vault.close().await.unwrap();
    }
}

/// Time per part of an append, each over the same payload of 4 MiB.
#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn measure_parts() {
    let records = records(4_000);
    let mut payload = Vec::new();
    for (i, r) in records.iter().enumerate() {
        payload.extend_from_slice(&[0; 30]);
        payload.extend_from_slice(format!(r#"{{"account":"111122223333","dataset":"aws.cloudtrail","flags":0,"id":"{:022x}","received":"2025-03-14T10:00:00.{:06}Z","region":"eu-west-2","sender":"sqs","seq":{i},"source":"aws"}}"#, i as u128 * 0x9e37_79b9_7f4a_7c15 * 0x9e37_79b9, i).as_bytes());
        payload.extend_from_slice(r);
    }
    let speed = |name: &str, f: &mut dyn FnMut()| {
        // The best of many: what disturbs only adds.
        let took = (0..20).map(|_| {
            let t = Instant::now();
            f();
            t.elapsed().as_nanos()
        });
        let took = took.min().unwrap_or(1);
        println!(
            "{name}: {:.0} MB/s, {} ns per event",
            payload.len() as f64 * 1e3 / took as f64,
            took / 4000
        );
    };
    for level in [1, -1, -3, -5, -7, -10, -20, -50] {
        let mut c = zstd::bulk::Compressor::new(level).unwrap();
        let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(payload.len()));
        let mut n = 0;
        speed(&format!("zstd {level}"), &mut || {
            out.clear();
            n = c.compress_to_buffer(&payload, &mut out).unwrap();
        });
        println!("    ratio {:.2}", payload.len() as f64 / n as f64);
    }
    speed("crc32c", &mut || {
        std::hint::black_box(vault::format::crc32c(&payload));
    });
    speed("copy", &mut || {
        std::hint::black_box(payload.clone());
    });
    speed("ring sha raw", &mut || {
        for r in &records {
            std::hint::black_box(vault::format::event::sha256(r));
        }
    });
    speed("ring sha 240", &mut || {
        for r in &records {
            std::hint::black_box(vault::format::event::sha256(&r[..240]));
        }
    });
    speed("sha2 raw", &mut || {
        for r in &records {
            use sha2::Digest as _;
            std::hint::black_box(sha2::Sha256::digest(r));
        }
    });
    speed("sha2 240", &mut || {
        for r in &records {
            use sha2::Digest as _;
            std::hint::black_box(sha2::Sha256::digest(&r[..240]));
        }
    });
    let salter = vault::format::event::Salter::new(&vault::format::event::Seed::new([7; 32]));
    speed("salt", &mut || {
        for i in 0..4000 {
            std::hint::black_box(salter.salt(i));
        }
    });
    speed("own id", &mut || {
        for i in 0..4000u64 {
            std::hint::black_box(model::EventId::of(&[&[7; 16], &[0; 4], &i.to_le_bytes()]));
        }
    });
    speed("node", &mut || {
        for i in 0..4000u64 {
            std::hint::black_box(vault::merkle::node_hash(&[i as u8; 32], &[1; 32]));
        }
    });
}

/// CPU seconds of each thread of this process, by name, and what of it the kernel took.
fn thread_cpu() -> std::collections::BTreeMap<String, f64> {
    let mut out = std::collections::BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |f: &str| std::fs::read_to_string(task.path().join(f)).unwrap_or_default();
        let ns: f64 = read("schedstat").split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0);
        let name = read("comm").trim().to_owned();
        // Field 15, in hundredths of a second.
        let stat = read("stat");
        let kernel = stat.rsplit(") ").next().and_then(|s| s.split(' ').nth(12)?.parse::<f64>().ok());
        *out.entry(format!("{name} (kernel)")).or_default() += kernel.unwrap_or(0.0) / 100.0;
        *out.entry(name).or_default() += ns / 1e9;
    }
    out
}
