//! CloudTrail files in a folder: read once, readable parts of broken ones kept, bombs survived.

use avouch_e2e::peer::gzip;
use avouch_e2e::{PATIENCE, Scratch, Serve, http, number, text, wait_until};

fn config(scratch: &Scratch) -> String {
    format!(
        "server: {{ listen: \"127.0.0.1:0\" }}\nsources:\n  trail: {{ cloudtrail_files: {{ path: \"{}\", poll: 200ms }}, dataset: aws.cloudtrail }}\n",
        scratch.join("trail").display()
    )
}

fn record(n: usize) -> String {
    format!(
        r#"{{"eventVersion":"1.08","eventTime":"2026-01-27T10:30:{:02}Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","eventID":"00000000-0000-4000-8000-{n:012}","awsRegion":"eu-west-2","sourceIPAddress":"198.51.100.7","userIdentity":{{"type":"IAMUser","userName":"ana","accountId":"111122223333"}},"requestParameters":{{"bucketName":"b","key":"k{n}"}}}}"#,
        n % 60
    )
}

fn file(numbers: std::ops::Range<usize>) -> Vec<u8> {
    let records: Vec<String> = numbers.map(record).collect();
    gzip(format!("{{\"Records\":[{}]}}", records.join(",")).as_bytes())
}

fn settled(serve: &Serve, n: u64) {
    wait_until(&format!("{n} records are read"), PATIENCE, || {
        let here = serve.events("aws.cloudtrail");
        assert!(here <= n, "{here} records where {n} were written");
        here == n
    });
}

#[test]
fn each_file_is_read_once_across_restarts() {
    let scratch = Scratch::new("trail");
    let day = "trail/AWSLogs/111122223333/CloudTrail/eu-west-2/2026/01/27";
    scratch.write(format!("{day}/a.json.gz"), file(0..50));
    scratch.write("trail/plain.json", format!("{{\"Records\":[{}]}}", record(50)));
    let serve = Serve::start(&scratch, &config(&scratch));
    settled(&serve, 51);
    // A file that comes while it runs, and a copy of an old one under another name.
    scratch.write(format!("{day}/b.json.gz"), file(51..80));
    scratch.write(format!("{day}/copy-of-a.json.gz"), file(0..50));
    settled(&serve, 80);
    assert_eq!(serve.terminate(), 0);
    let serve = Serve::again(&scratch);
    scratch.write(format!("{day}/c.json.gz"), file(80..90));
    settled(&serve, 90);
    serve.kill9();
    let serve = Serve::again(&scratch);
    scratch.write(format!("{day}/d.json.gz"), file(90..95));
    settled(&serve, 95);
    let twice = serve.sql(
        "select natural_key, count(*) as n from \"aws.cloudtrail\" group by natural_key having count(*) > 1",
    );
    assert!(twice.is_empty(), "read twice: {twice:?}");
    // Account and region are of the delivery path, and its record is found by what it says.
    let found = serve
        .run(&[
            "search",
            "action = GetObject and ip in 198.51.100.0/24",
            "--since",
            "2026-01-01",
            "--limit",
            "5",
            "-o",
            "json",
        ])
        .exits(3)
        .items();
    assert_eq!(found.len(), 5, "a limit of five");
    assert!(serve.run(&["redrive", "list", "-o", "json"]).ok().items().is_empty(), "nothing was undecodable");
}

#[test]
fn a_truncated_file_gives_what_is_readable_and_a_dead_letter() {
    let scratch = Scratch::new("cut");
    let whole = file(0..4_000);
    scratch.write("trail/cut.json.gz", &whole[..whole.len() / 2]);
    scratch.write("trail/good.json.gz", file(4_000..4_010));
    let serve = Serve::start(&scratch, &config(&scratch));
    let letters = || serve.run(&["redrive", "list", "-o", "json"]).ok().items();
    wait_until("the cut file is reported", PATIENCE, || !letters().is_empty());
    let letters = letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(
        (text(&letters[0], "/source"), text(&letters[0], "/stage")),
        ("trail", "decode"),
        "{}",
        letters[0]
    );
    assert!(
        !text(&letters[0], "/reason").is_empty() && letters[0].to_string().contains("cut.json.gz"),
        "it does not name the file: {}",
        letters[0]
    );
    wait_until("the good file is read", PATIENCE, || {
        serve.count("select count(*) from \"aws.cloudtrail\" where raw_word(raw, 'k4009')") == 1
    });
    let n = serve.events("aws.cloudtrail");
    assert!(n > 10 && n < 4_010, "the records before the cut are kept: {n}");
    // They are the first ones, without a gap.
    let rows = serve
        .sql("select json_get(raw, 'requestParameters.key') as k from \"aws.cloudtrail\" order by av_seq");
    let mut keys: Vec<usize> =
        rows.iter().map(|r| text(r, "/k")[1..].parse().expect("a number")).filter(|k| *k < 4_000).collect();
    keys.sort_unstable();
    assert!(keys.iter().enumerate().all(|(i, k)| i == *k), "a gap before the cut");
    // A restart neither repeats the records nor the letter.
    assert_eq!(serve.terminate(), 0);
    let serve = Serve::again(&scratch);
    scratch.write("trail/late.json.gz", file(5_000..5_001));
    settled(&serve, n + 1);
    assert_eq!(serve.run(&["redrive", "list", "-o", "json"]).ok().items().len(), 1);
}

#[test]
fn bombs_do_not_end_the_daemon() {
    let scratch = Scratch::new("bomb");
    let deep = format!(
        "{{\"Records\":[{{\"eventName\":\"Deep\",\"requestParameters\":{}1{}}}]}}",
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    let wide = format!(
        "{{\"Records\":[{{\"eventName\":\"Wide\",\"requestParameters\":{{{}\"z\":1}}}}]}}",
        (0..50_000).map(|i| format!("\"k{i}\":{i},")).collect::<String>()
    );
    let blank = [b"{\"Records\":[".as_slice(), &vec![b' '; 300 << 20], b"]}"].concat();
    let one = format!(
        "{{\"Records\":[{{\"eventName\":\"Huge\",\"requestParameters\":\"{}\"}}]}}",
        "x".repeat(24 << 20)
    );
    scratch.write("trail/1-deep.json.gz", gzip(deep.as_bytes()));
    scratch.write("trail/2-wide.json.gz", gzip(wide.as_bytes()));
    scratch.write("trail/3-blank.json.gz", gzip(&blank));
    scratch.write("trail/4-huge.json.gz", gzip(one.as_bytes()));
    scratch.write("trail/5-random.json.gz", b"\x1f\x8b\x08\x00garbage that is no gzip at all");
    scratch.write("trail/6-empty.json.gz", b"");
    scratch.write("trail/7-other.json", b"[1, \"two\", {\"three\":3}]");
    scratch.write("trail/9-good.json.gz", file(0..10));
    drop(blank);
    let mut serve = Serve::start(&scratch, &config(&scratch));
    let good = "select count(*) from \"aws.cloudtrail\" where action = 'GetObject'";
    wait_until("the good file behind the bombs is read", PATIENCE, || {
        serve.events("aws.cloudtrail") > 0 && serve.count(good) == 10
    });
    http::get(&serve.page, "/health", &[]).expect("it answers").is(200);
    let letters = serve.run(&["redrive", "list", "-o", "json"]).ok().items();
    let told: Vec<String> = letters.iter().map(ToString::to_string).collect();
    for name in ["3-blank", "5-random"] {
        assert!(told.iter().any(|l| l.contains(name)), "{name} passed silently: {told:#?}");
    }
    // What is too deep or too large is an event that says so, or a dead letter; never nothing.
    for name in ["1-deep", "2-wide", "4-huge"] {
        let kept = serve.count(&format!("select count(*) from events where av_origin like '%{name}%'"));
        assert!(kept > 0 || told.iter().any(|l| l.contains(name)), "{name} passed silently");
    }
    let memory = std::fs::read_to_string(format!("/proc/{}/status", serve.id())).unwrap_or_default();
    let peak = memory
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .and_then(|l| l.trim().split(' ').next()?.parse::<u64>().ok())
        .unwrap_or(0);
    assert!(peak < 1_500_000, "{peak} KiB were needed for a folder of a few MB");
    assert!(serve.is_alive());
    let sources = serve.run(&["source", "list", "-o", "json"]).ok().items();
    assert!(number(&sources[0], "/counters/dead_letters") >= 2, "{sources:?}");
}
