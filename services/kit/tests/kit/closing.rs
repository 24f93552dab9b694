//! Targets that close pooled connections of the client: because of an idle timeout, in a rolling
//! update, or because they are killed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use service_kit::outbound::{AttemptOutcome, CallError, CallTarget, HttpError, Outbound, Repeat};
use service_kit::{
    Clock, CorrelationId, Dependencies, Metrics, RequestContext, TraceContext, TrustRoots,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::SERVICE;

/// How the target treats a connection.
#[derive(Clone, Copy, PartialEq)]
enum TargetClose {
    /// Closes after an answer without `Connection: close`, as at an idle timeout.
    AfterAnswer,
    /// Answers with `Connection: close` and closes, as a draining server.
    Announced,
    /// Answers the first request, and closes after reading the second, as when it is killed.
    Unanswered,
    /// Closes in the middle of the answer to the first request, and answers the others.
    Halfway,
}

const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell";
const LAST: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nwell";
const HALF: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwe";

/// The address, and the number of requests that it has read.
async fn target_that(close: TargetClose) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let read = Arc::clone(&requests);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, close, Arc::clone(&read)));
        }
    });
    (address, requests)
}

async fn serve(mut stream: TcpStream, close: TargetClose, requests: Arc<AtomicUsize>) {
    let mut of_connection = 0;
    while read_request(&mut stream).await {
        of_connection += 1;
        let nth = requests.fetch_add(1, Ordering::Relaxed);
        let (answer, goes_on) = match close {
            TargetClose::AfterAnswer => (WHOLE, false),
            TargetClose::Announced => (LAST, false),
            TargetClose::Unanswered if of_connection == 2 => (&b""[..], false),
            TargetClose::Halfway if nth == 0 => (HALF, false),
            TargetClose::Unanswered | TargetClose::Halfway => (WHOLE, true),
        };
        stream.write_all(answer).await.unwrap();
        if !goes_on {
            return;
        }
    }
}

/// False at the end of the connection. Requests of these tests have no body.
async fn read_request(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(count) if count > 0 => head.extend_from_slice(&buffer[..count]),
            _ => return false,
        }
    }
    true
}

struct Caller {
    outbound: Outbound,
    context: RequestContext,
    metrics: Metrics,
}

impl Caller {
    fn of(address: SocketAddr) -> Self {
        let target = CallTarget {
            name: "tested",
            url: format!("http://{address}/").parse().unwrap(),
            connect_to: None,
            resolver: None,
            attempt_timeout: Duration::from_secs(20),
            repeat: Repeat::ByMethod,
            outcome: AttemptOutcome::of_response,
            signer: None,
        };
        let dependencies = Dependencies::new(SERVICE, Clock::system());
        let id = CorrelationId::generate();
        Self {
            outbound: Outbound::new(target, &TrustRoots::default(), &dependencies),
            context: RequestContext::new(id, TraceContext::begin(), Duration::from_secs(50)),
            metrics: dependencies.metrics,
        }
    }

    async fn call(&self, method: Method) -> Result<Bytes, CallError<HttpError>> {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = method;
        let response = self.outbound.call(&self.context, request).await?;
        Ok(response.into_body())
    }

    fn retries(&self) -> u64 {
        let dimensions = &[("target", "tested")];
        self.metrics.counter("retries", dimensions).take()
    }
}

#[tokio::test]
async fn no_call_is_lost_to_connections_that_close() {
    for close in [
        TargetClose::AfterAnswer,
        TargetClose::Announced,
        TargetClose::Unanswered,
        TargetClose::Halfway,
    ] {
        let (address, _) = target_that(close).await;
        let caller = Caller::of(address);
        // Few enough that the breaker does not open.
        for _ in 0..5 {
            assert_eq!(caller.call(Method::GET).await.unwrap(), "well");
        }
    }
}

/// After `Connection: close` the client does not reuse the connection, so there is no retry.
#[tokio::test]
async fn a_target_that_drains_costs_no_retry() {
    let (address, requests) = target_that(TargetClose::Announced).await;
    let caller = Caller::of(address);
    for _ in 0..20 {
        assert_eq!(caller.call(Method::POST).await.unwrap(), "well");
    }
    assert_eq!(caller.retries(), 0);
    assert_eq!(requests.load(Ordering::Relaxed), 20);
}

/// The target may have processed the request, so only the caller can decide whether to repeat it.
#[tokio::test]
async fn what_may_not_be_repeated_is_not_sent_twice_after_it_was_read() {
    let (address, requests) = target_that(TargetClose::Unanswered).await;
    let caller = Caller::of(address);
    assert_eq!(caller.call(Method::POST).await.unwrap(), "well");
    let error = caller.call(Method::POST).await.unwrap_err();
    assert!(
        matches!(error, CallError::Failed(HttpError::ConnectionLost(_))),
        "{error:?}"
    );
    assert_eq!((caller.retries(), requests.load(Ordering::Relaxed)), (0, 2));
}
