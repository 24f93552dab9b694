//! The open connections: how many there may be, who makes room for a new one, and how they end
//! together.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, sleep};

use super::activity::Activity;
use super::connection::{self, Protocols};
use super::inbound::App;
use super::unsent::{UNSENT_BYTES_MAX, Unsent};
use crate::settings::Base;

/// How long to wait for a connection to end, or to become idle, where none can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Room is made for several at once, so that a flood does not look through all connections for
/// each new one.
const ROOM_SHARE: usize = 32;
/// A flood is one line of the log now and then, not a flood of lines.
const WARNING_PAUSE: Duration = Duration::from_mins(1);

pub(super) struct Connections {
    app: App,
    max: usize,
    protocols: Arc<Protocols>,
    tasks: JoinSet<()>,
    open: HashMap<Id, Open>,
    unsent: Arc<Unsent>,
    finishing: watch::Sender<()>,
    warned_at: Option<Instant>,
}

struct Open {
    task: AbortHandle,
    activity: Arc<Activity>,
}

impl Connections {
    pub(super) fn new(app: App, base: &Base) -> Self {
        let deadline = Duration::from_millis(base.deadline_ms);
        Self {
            app,
            max: base.connections_max,
            protocols: Arc::new(connection::protocols(deadline)),
            unsent: Arc::default(),
            tasks: JoinSet::new(),
            open: HashMap::new(),
            finishing: watch::Sender::new(()),
            warned_at: None,
        }
    }

    /// Goes on for ever, and may be left off at any time. Who finds the service full takes the
    /// place of those that have waited longest without asking anything: connections that are
    /// opened and left push out one another, and a health check still gets in. Where all of them
    /// are being answered, new ones stay in the kernel's backlog.
    pub(super) async fn accept_from(&mut self, listener: &TcpListener) {
        loop {
            let has_room = self.open.len() <= self.max;
            tokio::select! {
                biased;
                Some(ended) = self.tasks.join_next_with_id() => self.forget(ended),
                accepted = listener.accept(), if has_room => match accepted {
                    Ok((stream, _)) => self.open(stream),
                    Err(error) if is_of_the_connection(&error) => {}
                    // Such as no file descriptors left.
                    Err(error) => {
                        tracing::error!(error = &error as &dyn std::error::Error, "cannot accept");
                        self.make_room();
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                () = self.unsent.too_much() => self.close_those_that_take_nothing(),
                () = sleep(ACCEPT_PAUSE), if !has_room => self.make_room(),
            }
        }
    }

    fn open(&mut self, stream: TcpStream) {
        // Without it small answers wait for the peer's delayed acknowledgement.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        if self.open.len() >= self.max {
            self.make_room();
        }
        let activity = Arc::new(Activity::new(Arc::clone(&self.unsent)));
        let task = self.tasks.spawn(connection::attend(
            stream,
            self.app.clone(),
            Arc::clone(&self.protocols),
            Arc::clone(&activity),
            self.finishing.subscribe(),
        ));
        self.open.insert(task.id(), Open { task, activity });
    }

    fn make_room(&mut self) {
        let mut waiting: Vec<(Instant, &AbortHandle)> = self
            .open
            .values()
            .filter_map(|open| Some((open.activity.waits_since()?, &open.task)))
            .collect();
        waiting.sort_unstable_by_key(|(since, _)| *since);
        let enough = (self.max / ROOM_SHARE).max(1);
        for (_, task) in waiting.iter().take(enough) {
            task.abort();
        }
        self.warn("too many connections: the longest idle ones are closed");
    }

    /// Those that have held unsent answers longest, until the others hold few enough. They may still
    /// be running when this is asked again, and then count no more.
    fn close_those_that_take_nothing(&mut self) {
        let unsent = |(id, open): (&Id, &Open)| {
            let (bytes, since) = open.activity.unsent();
            (bytes > 0).then_some((since, bytes, *id))
        };
        let mut holders: Vec<(Instant, usize, Id)> = self.open.iter().filter_map(unsent).collect();
        holders.sort_unstable_by_key(|(since, ..)| *since);
        let mut held: usize = holders.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, id) in holders {
            if held <= UNSENT_BYTES_MAX {
                return;
            }
            held -= bytes;
            if let Some(open) = self.open.remove(&id) {
                open.task.abort();
            }
            self.warn(
                "too many answers that nobody takes: the oldest ones' connections are closed",
            );
        }
    }

    fn warn(&mut self, why: &'static str) {
        let is_due = |at: Instant| at.elapsed() >= WARNING_PAUSE;
        if self.warned_at.is_none_or(is_due) {
            self.warned_at = Some(Instant::now());
            tracing::warn!(message = why, open = self.open.len());
        }
    }

    fn forget(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
        self.open.remove(&id);
    }

    /// Idle ones end at once, the others with their last answer.
    pub(super) async fn finish(&mut self) {
        let (connections, requests) = (self.open.len(), self.requests_in_flight());
        tracing::info!(connections, requests, "finishing what is in flight");
        self.finishing.send_replace(());
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.forget(ended);
        }
    }

    pub(super) fn requests_in_flight(&self) -> usize {
        let open = self.open.values();
        open.map(|open| open.activity.requests_in_flight()).sum()
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}
