//! Serves the made-up console of the tests, to look at the pages: `cargo run --release -p web --example fixture -- 8441`.

#[path = "../tests/it/fixture.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod fixture;

use std::sync::Arc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().nth(1).and_then(|p| p.parse().ok()).unwrap_or(8441);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let mut settings = web::Settings::new(listener.local_addr()?);
    settings.product = "Avouch 0.1.0".to_owned();
    settings.banner = Some("demo, made-up data".to_owned());
    #[expect(clippy::print_stdout, reason = "an example says where to look")]
    {
        println!("http://127.0.0.1:{port}/first/{}", fixture::LINK);
    }
    let console = Arc::new(fixture::FixtureConsole { is_lively: true, ..Default::default() });
    web::serve(listener, console, settings, std::future::pending()).await?;
    Ok(())
}
