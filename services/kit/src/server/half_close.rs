//! Write timeout and half-close drain of a connection. A write fails when the peer takes nothing
//! for `WRITE_TIMEOUT`. After the write side is shut down, what the peer still sends is read and
//! discarded for a short time: closing at once would reset the connection, and the reset may
//! overtake the last answer (RFC 9112, section 9.6).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::activity::Activity;

/// How long a peer may take nothing of an answer before the connection is closed.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
const DRAIN_TIME: Duration = Duration::from_secs(1);
const DRAIN_BYTES_MAX: usize = 1024 * 1024;
const CHUNK_BYTES: usize = 4096;

pub(super) struct DrainingStream {
    stream: TcpStream,
    activity: Arc<Activity>,
    /// Set while the peer takes nothing.
    write_timeout: Option<Pin<Box<Sleep>>>,
    /// Set once the write side is shut down and the peer may be sending.
    drain_timeout: Option<Pin<Box<Sleep>>>,
    drained_bytes: usize,
}

impl DrainingStream {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self {
            stream,
            activity,
            write_timeout: None,
            drain_timeout: None,
            drained_bytes: 0,
        }
    }

    /// Applies `WRITE_TIMEOUT` to the result of a write.
    fn with_timeout(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.write_timeout = None;
            return written;
        }
        let write_timeout = self
            .write_timeout
            .get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(write_timeout.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads and discards a chunk; `false` at the end of the stream or on an error.
    fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let mut bytes = [0; CHUNK_BYTES];
        let mut piece = ReadBuf::new(&mut bytes);
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece));
        self.drained_bytes += piece.filled().len();
        Poll::Ready(read.is_ok() && !piece.filled().is_empty())
    }
}

impl AsyncRead for DrainingStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for DrainingStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.with_timeout(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.drain_timeout.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            if self.activity.may_have_unread() {
                self.drain_timeout = Some(Box::pin(sleep(DRAIN_TIME)));
            }
        }
        while self.drained_bytes < DRAIN_BYTES_MAX {
            match self.poll_discard(context) {
                Poll::Ready(true) => {
                    self.drain_timeout
                        .get_or_insert_with(|| Box::pin(sleep(DRAIN_TIME)));
                }
                Poll::Ready(false) => break,
                // Nothing arrived: the usual case, without a wait unless a drain has begun.
                Poll::Pending => match &mut self.drain_timeout {
                    None => break,
                    Some(drain_timeout) => {
                        ready!(drain_timeout.as_mut().poll(context));
                        break;
                    }
                },
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.with_timeout(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
