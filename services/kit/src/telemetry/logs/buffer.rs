//! Lines on their way to the log's stream. Who logs only appends to memory; one thread writes what
//! has gathered. So a request pays for no system call, and does not wait for whoever reads the log.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long lines gather before they are written. Nobody who reads a log notices.
const GATHER: Duration = Duration::from_millis(5);
/// So much is written without waiting any longer: what a pipe takes at once.
const ENOUGH_BYTES: usize = 64 * 1024;
/// Where the stream is stuck, lines beyond this are dropped and counted: a service goes on without
/// its log rather than stand still or fill the memory.
const BYTES_MAX: usize = 1024 * 1024;
/// How long the end of the process waits for the stream.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// Copies are of the same buffer.
#[derive(Clone)]
pub(crate) struct Buffer(Arc<Shared>);

struct Shared {
    gathered: Mutex<Gathered>,
    /// Something gathered, or is to be written now.
    grown: Condvar,
    written: Condvar,
}

#[derive(Default)]
struct Gathered {
    text: Vec<u8>,
    lines_dropped: u64,
    is_writing: bool,
    /// How many wait for everything to be written.
    flushing: usize,
}

impl Buffer {
    /// `dropped` is told how many lines were lost, once the stream takes lines again.
    pub(crate) fn start(
        stream: impl Write + Send + 'static,
        dropped: impl Fn(u64) + Send + 'static,
    ) -> Self {
        let buffer = Self(Arc::new(Shared {
            gathered: Mutex::default(),
            grown: Condvar::new(),
            written: Condvar::new(),
        }));
        let writer = buffer.clone();
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.write_forever(stream, dropped))
            .expect("a process that starts can start a thread");
        buffer
    }

    /// Takes one whole line.
    pub(crate) fn push(&self, line: &[u8]) {
        let mut gathered = self.lock();
        let before = gathered.text.len();
        let after = before + line.len();
        if after > BYTES_MAX {
            gathered.lines_dropped += 1;
            return;
        }
        gathered.text.extend_from_slice(line);
        drop(gathered);
        if before == 0 || (before < ENOUGH_BYTES && after >= ENOUGH_BYTES) {
            self.0.grown.notify_one();
        }
    }

    /// Returns when everything is written, or the stream takes nothing more.
    pub(crate) fn flush(&self) {
        let mut gathered = self.lock();
        gathered.flushing += 1;
        self.0.grown.notify_one();
        let unwritten = |gathered: &mut Gathered| !gathered.text.is_empty() || gathered.is_writing;
        (gathered, _) = self
            .0
            .written
            .wait_timeout_while(gathered, LAST_WRITE, unwritten)
            .unwrap_or_else(PoisonError::into_inner);
        gathered.flushing -= 1;
    }

    fn write_forever(&self, mut stream: impl Write, dropped: impl Fn(u64)) {
        let mut text = Vec::new();
        loop {
            let lines_dropped = self.gather(&mut text);
            // Where the stream is gone there is nobody left to tell.
            drop(stream.write_all(&text).and_then(|()| stream.flush()));
            text.clear();
            if lines_dropped > 0 {
                dropped(lines_dropped);
            }
            self.lock().is_writing = false;
            self.0.written.notify_all();
        }
    }

    /// Waits for lines, and swaps them for the empty `text`. How many were dropped by then.
    fn gather(&self, text: &mut Vec<u8>) -> u64 {
        let grown = &self.0.grown;
        let mut gathered = grown
            .wait_while(self.lock(), |gathered| gathered.text.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        (gathered, _) = grown
            .wait_timeout_while(gathered, GATHER, |gathered| {
                gathered.text.len() < ENOUGH_BYTES && gathered.flushing == 0
            })
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut gathered.text, text);
        gathered.is_writing = true;
        std::mem::take(&mut gathered.lines_dropped)
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.0
            .gathered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A stream that is stuck until its gate is dropped, and what it took.
    struct Gated {
        gate: Receiver<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.gate.recv().unwrap_err();
            self.taken.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (Gated, Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let (gate, receiver) = channel();
        let taken = Arc::default();
        let stream = Gated {
            gate: receiver,
            taken: Arc::clone(&taken),
        };
        (stream, gate, taken)
    }

    #[test]
    fn everything_is_written_in_order() {
        let (stream, gate, taken) = gated();
        drop(gate);
        let buffer = Buffer::start(stream, |_| {});
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
    fn a_stuck_stream_costs_lines_and_bounded_memory_but_holds_nobody_up() {
        let (stream, gate, taken) = gated();
        let (sender, dropped) = channel();
        let buffer = Buffer::start(stream, move |count| sender.send(count).unwrap());
        let line = [b'x'; 1024];
        let many = 4 * BYTES_MAX / line.len();
        for _ in 0..many {
            buffer.push(&line);
        }
        assert!(buffer.lock().text.len() <= BYTES_MAX);
        assert_eq!(dropped.try_iter().count(), 0, "told when it goes on");

        drop(gate);
        buffer.flush();
        let written = taken.lock().unwrap().len() / line.len();
        let lost: u64 = dropped.try_iter().sum();
        assert_eq!(written + usize::try_from(lost).unwrap(), many);
        assert!(written <= 2 * BYTES_MAX / line.len(), "{written}");
    }

    #[test]
    fn the_end_does_not_wait_for_a_stuck_stream_for_ever() {
        let (stream, _gate, taken) = gated();
        let buffer = Buffer::start(stream, |_| {});
        buffer.push(b"line\n");
        buffer.flush();
        assert!(taken.lock().unwrap().is_empty());
    }
}
