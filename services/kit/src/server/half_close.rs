//! The end of a connection whose peer does not do its part. One that takes nothing of what is written
//! is given up. And a connection is closed so that its last answer arrives: a peer that is still sending when the
//! socket is closed gets a reset, which may overtake the answer: so what it sends is read and
//! thrown away for a little while (RFC 9112, section 9.6).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::activity::Activity;

/// How long a peer may take nothing of an answer.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 1024 * 1024;
const PIECE: usize = 4096;

pub(super) struct Lingering {
    stream: TcpStream,
    activity: Arc<Activity>,
    /// While the peer takes nothing.
    stuck: Option<Pin<Box<Sleep>>>,
    /// Once our side is closed and the peer may be sending.
    farewell: Option<Pin<Box<Sleep>>>,
    thrown_away: usize,
}

impl Lingering {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self {
            stream,
            activity,
            stuck: None,
            farewell: None,
            thrown_away: 0,
        }
    }

    /// What became of writing, which ends where the peer takes nothing for too long.
    fn written(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let stuck = self
            .stuck
            .get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(stuck.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Ready with whether anything came.
    fn poll_throw_away(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let mut bytes = [0; PIECE];
        let mut piece = ReadBuf::new(&mut bytes);
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece));
        self.thrown_away += piece.filled().len();
        Poll::Ready(read.is_ok() && !piece.filled().is_empty())
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.farewell.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            if self.activity.may_have_unread() {
                self.farewell = Some(Box::pin(sleep(LINGER)));
            }
        }
        while self.thrown_away < LINGER_BYTES_MAX {
            match self.poll_throw_away(context) {
                Poll::Ready(true) => {
                    self.farewell.get_or_insert_with(|| Box::pin(sleep(LINGER)));
                }
                Poll::Ready(false) => break,
                // Nothing under way, as with nearly every connection: nothing to wait for.
                Poll::Pending => match &mut self.farewell {
                    None => break,
                    Some(farewell) => {
                        ready!(farewell.as_mut().poll(context));
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
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
