//! Requests as a user sends them, and traffic in the background of a test.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::pause;

const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// One HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// Sends a request on a new connection.
pub fn request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<Answer> {
    let rest = url.strip_prefix("http://").expect("a plain URL");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut text = format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(text.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&String::from_utf8_lossy(&bytes))
        .ok_or_else(|| std::io::Error::other("the answer was cut off"))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_lowercase(), value.to_owned()))
    };
    Some(Answer {
        status,
        headers: lines.filter_map(header).collect(),
        body: body.to_owned(),
    })
}

/// Sends requests in the background, and collects the answers other than 200.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    worker: JoinHandle<Served>,
}

#[derive(Debug, Default)]
pub struct Served {
    pub answered: u32,
    pub lost: Vec<String>,
}

impl Traffic {
    pub fn start(method: &'static str, url: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let worker = std::thread::spawn(move || {
            let mut served = Served::default();
            while !stopped.load(Ordering::SeqCst) {
                match request(method, &url, &[], "") {
                    Ok(answer) if answer.status == 200 => served.answered += 1,
                    Ok(answer) => served
                        .lost
                        .push(format!("{} {}", answer.status, answer.body)),
                    Err(error) => served.lost.push(error.to_string()),
                }
                pause(Duration::from_millis(20));
            }
            served
        });
        Self { stop, worker }
    }

    pub fn stop(self) -> Served {
        self.stop.store(true, Ordering::SeqCst);
        self.worker.join().expect("the traffic's thread")
    }
}
