//! Buffers log lines in memory; one thread writes them to the stream. So logging costs a request no
//! system call, and a slow reader of the log does not delay it.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long lines are collected before they are written.
const BATCH_TIME: Duration = Duration::from_millis(5);
/// From this size on lines are written at once: it is what a pipe holds.
const BATCH_BYTES: usize = 64 * 1024;
/// Where the stream is blocked, lines beyond this are dropped and counted: a service must not
/// stop, or run out of memory, because of its log.
const BYTES_MAX: usize = 1024 * 1024;
/// How long a flush waits for the stream.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Clones share one buffer.
#[derive(Clone)]
pub(crate) struct LogBuffer(Arc<LogBufferInner>);

struct LogBufferInner {
    pending: Mutex<PendingLines>,
    /// Notified when lines were added, or a flush waits.
    wakes_writer: Condvar,
    written: Condvar,
}

#[derive(Default)]
struct PendingLines {
    text: Vec<u8>,
    lines_dropped: u64,
    is_writing: bool,
    /// The number of `flush` calls that wait.
    flushing: usize,
}

impl LogBuffer {
    /// Calls `dropped` with the number of lost lines once the stream takes lines again.
    pub(crate) fn start(
        stream: impl Write + Send + 'static,
        dropped: impl Fn(u64) + Send + 'static,
    ) -> Self {
        let buffer = Self(Arc::new(LogBufferInner {
            pending: Mutex::default(),
            wakes_writer: Condvar::new(),
            written: Condvar::new(),
        }));
        let writer = buffer.clone();
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.write_forever(stream, dropped))
            .expect("a starting process can start a thread");
        buffer
    }

    /// Appends one whole line.
    pub(crate) fn push(&self, line: &[u8]) {
        let mut pending = self.lock();
        let before = pending.text.len();
        let after = before + line.len();
        if after > BYTES_MAX {
            pending.lines_dropped += 1;
            return;
        }
        pending.text.extend_from_slice(line);
        drop(pending);
        if before == 0 || (before < BATCH_BYTES && after >= BATCH_BYTES) {
            self.0.wakes_writer.notify_one();
        }
    }

    /// Returns when everything is written, or after `FLUSH_TIMEOUT`.
    pub(crate) fn flush(&self) {
        let mut pending = self.lock();
        pending.flushing += 1;
        self.0.wakes_writer.notify_one();
        let unwritten = |pending: &mut PendingLines| !pending.text.is_empty() || pending.is_writing;
        (pending, _) = self
            .0
            .written
            .wait_timeout_while(pending, FLUSH_TIMEOUT, unwritten)
            .unwrap_or_else(PoisonError::into_inner);
        pending.flushing -= 1;
    }

    fn write_forever(&self, mut stream: impl Write, dropped: impl Fn(u64)) {
        let mut text = Vec::new();
        loop {
            let lines_dropped = self.take_batch(&mut text);
            // An error cannot be reported: this is the log.
            drop(stream.write_all(&text).and_then(|()| stream.flush()));
            text.clear();
            if lines_dropped > 0 {
                dropped(lines_dropped);
            }
            self.lock().is_writing = false;
            self.0.written.notify_all();
        }
    }

    /// Waits for lines and swaps them with the empty `text`. Returns how many were dropped.
    fn take_batch(&self, text: &mut Vec<u8>) -> u64 {
        let wakes_writer = &self.0.wakes_writer;
        let mut pending = wakes_writer
            .wait_while(self.lock(), |pending| pending.text.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        (pending, _) = wakes_writer
            .wait_timeout_while(pending, BATCH_TIME, |pending| {
                pending.text.len() < BATCH_BYTES && pending.flushing == 0
            })
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut pending.text, text);
        pending.is_writing = true;
        std::mem::take(&mut pending.lines_dropped)
    }

    fn lock(&self) -> MutexGuard<'_, PendingLines> {
        self.0
            .pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A stream that is blocked until its gate is dropped, and what it took.
    struct GatedStream {
        gate: Receiver<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for GatedStream {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.gate.recv().unwrap_err();
            self.taken.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (GatedStream, Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let (gate, receiver) = channel();
        let taken = Arc::default();
        let stream = GatedStream {
            gate: receiver,
            taken: Arc::clone(&taken),
        };
        (stream, gate, taken)
    }

    #[test]
    fn everything_is_written_in_order() {
        let (stream, gate, taken) = gated();
        drop(gate);
        let buffer = LogBuffer::start(stream, |_| {});
        let mut expected = String::new();
        for number in 0..20_000 {
            let line = format!("{number}\n");
            buffer.push(line.as_bytes());
            expected.push_str(&line);
            if number % 5000 == 0 {
                buffer.flush();
            }
        }
        buffer.flush();
        assert_eq!(String::from_utf8_lossy(&taken.lock().unwrap()), expected);
    }

    #[test]
    fn a_blocked_stream_costs_lines_and_bounded_memory_but_no_time() {
        let (stream, gate, taken) = gated();
        let (sender, dropped) = channel();
        let buffer = LogBuffer::start(stream, move |count| sender.send(count).unwrap());
        let line = [b'x'; 1024];
        let many = 4 * BYTES_MAX / line.len();
        for _ in 0..many {
            buffer.push(&line);
        }
        assert!(buffer.lock().text.len() <= BYTES_MAX);
        assert_eq!(dropped.try_iter().count(), 0, "reported when it goes on");

        drop(gate);
        buffer.flush();
        let written = taken.lock().unwrap().len() / line.len();
        let lost: u64 = dropped.try_iter().sum();
        assert_eq!(written + usize::try_from(lost).unwrap(), many);
        assert!(written <= 2 * BYTES_MAX / line.len(), "{written}");
    }

    #[test]
    fn a_flush_does_not_wait_for_a_blocked_stream_for_ever() {
        let (stream, _gate, taken) = gated();
        let buffer = LogBuffer::start(stream, |_| {});
        buffer.push(b"line\n");
        buffer.flush();
        assert!(taken.lock().unwrap().is_empty());
    }
}
