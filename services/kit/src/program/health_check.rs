//! The subcommand `healthcheck`: requests `/health` of the service in the same container. An image
//! from scratch has no curl. It needs no async runtime and no TLS.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Below the default timeout of an ECS health check, 5 s.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Whether `/health` answers 200.
pub(crate) fn is_healthy(port: u16) -> bool {
    status_line(port).is_ok_and(|line| line.split(' ').nth(1) == Some("200"))
}

fn status_line(port: u16) -> std::io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn is_healthy_after(answer: &'static str) -> bool {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let healthy = is_healthy(port);
        server.join().unwrap();
        healthy
    }

    #[test]
    fn only_200_is_healthy() {
        assert!(is_healthy_after("HTTP/1.1 200 OK\r\n\r\n"));
        assert!(!is_healthy_after(
            "HTTP/1.1 503 Service Unavailable\r\n\r\n"
        ));
        assert!(!is_healthy_after("HTTP/1.1 404 200\r\n\r\n"));
        assert!(!is_healthy_after(""));
    }

    #[test]
    fn a_refused_connection_is_not_healthy() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        assert!(!is_healthy(port));
    }
}
