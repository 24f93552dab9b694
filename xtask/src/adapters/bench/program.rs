//! Helpers for a program that is measured: a free port, its health, and its memory.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const START_LIMIT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(1);

pub(super) async fn await_health(port: u16, name: &str) -> Result<()> {
    let began = Instant::now();
    while !is_healthy(port).await {
        if began.elapsed() > START_LIMIT {
            let limit_seconds = START_LIMIT.as_secs();
            bail!("{name} is not healthy after {limit_seconds} s");
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

pub(super) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    Ok(listener.local_addr().context("find a free port")?.port())
}

async fn is_healthy(port: u16) -> bool {
    let answer = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await?;
        std::io::Result::Ok(head == *b"HTTP/1.1 200")
    };
    matches!(timeout(START_LIMIT, answer).await, Ok(Ok(true)))
}

/// A size of `/proc/PID/status` such as `VmRSS:`, in bytes.
#[expect(clippy::disallowed_methods, reason = "the kernel has it in a file")]
pub(super) fn kernel_field(process: u32, field: &str) -> Result<u64> {
    let file = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kibibytes.with_context(|| format!("{file} has no {field}"))? * 1024)
}
