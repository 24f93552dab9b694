//! Requests as a user sends them, and traffic in the background of a test.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

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
    started: Instant,
    callers: Vec<JoinHandle<Served>>,
}

#[derive(Debug, Default)]
pub struct Served {
    pub answered: usize,
    pub lost: Vec<String>,
    pub took: Duration,
}

impl Traffic {
    /// One caller.
    pub fn start(method: &'static str, url: &str) -> Self {
        Self::of(1, Duration::from_millis(20), method, url)
    }

    /// As many requests a second, unless the answers take too long for that: each caller waits for
    /// its own.
    pub fn at_rate(per_second: u32, method: &'static str, url: &str) -> Self {
        const CALLERS: u32 = 8;
        Self::of(
            CALLERS,
            Duration::from_secs(1) * CALLERS / per_second,
            method,
            url,
        )
    }

    fn of(callers: u32, interval: Duration, method: &'static str, url: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let caller = |_| {
            let (stopped, url) = (Arc::clone(&stop), url.to_owned());
            std::thread::spawn(move || call_until(&stopped, interval, method, &url))
        };
        let callers = (0..callers).map(caller).collect();
        Self {
            stop,
            started: Instant::now(),
            callers,
        }
    }

    pub fn stop(self) -> Served {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Served::default();
        for caller in self.callers {
            let served = caller.join().expect("a thread of the traffic");
            all.answered += served.answered;
            all.lost.extend(served.lost);
        }
        all.took = self.started.elapsed();
        all
    }
}

fn call_until(stopped: &AtomicBool, interval: Duration, method: &str, url: &str) -> Served {
    let mut served = Served::default();
    while !stopped.load(Ordering::SeqCst) {
        let next = Instant::now() + interval;
        match request(method, url, &[], "") {
            Ok(answer) if answer.status == 200 => served.answered += 1,
            Ok(answer) => served
                .lost
                .push(format!("{} {}", answer.status, answer.body)),
            Err(error) => served.lost.push(error.to_string()),
        }
        pause(next.saturating_duration_since(Instant::now()));
    }
    served
}

impl Served {
    /// Prints the counts of one scenario.
    pub fn tell(&self, scenario: &str) {
        let Self {
            answered,
            lost,
            took,
        } = self;
        let seconds = took.as_secs_f64();
        let (lost, all) = (lost.len(), answered + lost.len());
        println!("traffic: {scenario:<28} {all:>6} requests, {lost:>4} lost, {seconds:>6.1} s");
    }
}
