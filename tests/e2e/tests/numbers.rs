//! One figure is the same wherever it is told: questions, lists, status, metrics, pages.

use avouch_e2e::{Scratch, Serve, http, number, text};
use serde_json::Value;

const N: u64 = 1_234;

fn digits(text: &str) -> u64 {
    text.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
}

#[test]
fn counts_agree_between_all_faces() {
    let scratch = Scratch::new("numbers");
    let yaml = "server: { listen: \"127.0.0.1:0\" }\nsources:\n  api: { https: { listen: \"127.0.0.1:0\" }, dataset: app.test }\n";
    let serve = Serve::start(&scratch, yaml);
    let key = serve.key("c1", "api");
    let post = |from: u64, to: u64| {
        let body: Vec<String> = (from..to).map(|n| format!("{{\"n\":{n}}}")).collect();
        serve.post("api", &key, "application/x-ndjson", body.join("\n")).is(200);
    };
    // Some sealed, some not.
    post(0, 1_000);
    serve.run(&["vault", "seal"]).ok();
    post(1_000, N);
    assert_eq!(serve.events("app.test"), N, "questions see sealed and unsealed events");

    let ls = serve.run(&["vault", "ls", "-o", "json"]).ok().items();
    let row = ls.iter().find(|d| d["dataset"] == "app.test").expect("the dataset is listed");
    assert_eq!((number(row, "/rows"), number(row, "/unsealed_rows")), (N, N - 1_000), "{row}");

    let status = serve.run(&["vault", "status"]).ok().out();
    let line = status.lines().find(|l| l.starts_with("events")).unwrap_or_default().to_owned();
    let told = digits(line.split(" up to").next().unwrap_or_default());
    let end = digits(line.split("0:").nth(1).and_then(|r| r.split(';').next()).unwrap_or_default()) + 1;
    assert_eq!(
        told, end,
        "in a vault from which nothing has gone there are as many events as numbers: {line}"
    );

    let source = serve.run(&["source", "list", "-o", "json"]).ok().items().remove(0);
    assert_eq!(number(&source, "/counters/events"), N, "{source}");
    let metrics = http::get(&serve.page, "/metrics", &[]).expect("it answers").is(200).text();
    assert!(metrics.contains(&format!("avouch_source_events_total{{source=\"api\"}} {N}\n")), "{metrics}");

    let all = serve.run(&["search", "n", "--limit", "1", "-o", "json"]).exits(3);
    assert_eq!(all.json()["complete"], false, "an answer cut by its limit is not whole: {all}");

    let link = serve.run(&["admin", "setup-link", "-o", "json"]).ok().items();
    let path = text(&link[0], "/link").split(&serve.page).nth(1).unwrap_or_default().to_owned();
    let origin = format!("http://{}", serve.page);
    let entered =
        http::request(&serve.page, "POST", &path, &[("origin", &origin)], b"").expect("it answers").is(303);
    let cookie =
        entered.header("set-cookie").unwrap_or_default().split(';').next().unwrap_or_default().to_owned();
    let v: Value =
        http::get(&serve.page, "/api/v1/vault", &[("cookie", &cookie), ("accept", "application/json")])
            .expect("it answers")
            .is(200)
            .json();
    let events_before = serve.sql("select count(*) as n from events");
    let html = http::get(&serve.page, "/vault", &[("cookie", &cookie), ("accept", "text/html")])
        .expect("it answers")
        .is(200)
        .text();
    let said = html
        .split(" events in ")
        .next()
        .map(|b| b.rsplit('>').next().unwrap_or_default().to_owned())
        .unwrap_or_default();
    let told = digits(&said);
    let true_count = number(&events_before[0], "/n");
    assert!(
        told >= true_count && told <= true_count + 5,
        "the Vault page says `{said} events` where there are {true_count}: {v}"
    );
    // A page that says nothing was checked does not say of a row that it was.
    if html.contains("Nothing has been checked yet") {
        assert!(
            !html.contains("nothing changed"),
            "the Vault page contradicts itself: nothing checked, and `nothing changed`"
        );
    }
    assert_eq!(serve.terminate(), 0);
}
