//! What takes a connection and never says a word is not waited for without an end.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;
use xtask::adapters::probe::Http;
use xtask::adapters::transport::Transport;
use xtask::ports::{Probe, ProbeRequest};

#[tokio::test(start_paused = true)]
async fn a_service_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/health", listener.local_addr().unwrap());
    let request = ProbeRequest {
        method: "GET",
        url: &url,
        headers: &BTreeMap::new(),
        body: "",
    };
    let began = Instant::now();
    let answer = Http::new(&Transport::local()).send(request).await;
    assert_eq!(answer.unwrap_err().to_string(), "no answer within 5 s");
    assert!(began.elapsed() <= Duration::from_secs(6));
}
