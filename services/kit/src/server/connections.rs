//! The open connections: their maximum number, which are evicted for new ones, and how all of them
//! are finished.

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
use super::unsent::{UNSENT_BYTES_MAX, UnsentBytes};
use crate::settings::Base;
use crate::{Peak, Unit};

/// The pause before eviction is tried again where no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The share of `max` (one in so many) that is evicted at once, so that a flood does not scan all
/// connections for each new one.
const EVICTED_SHARE: usize = 32;
/// A warning is logged at most this often.
const WARNING_PAUSE: Duration = Duration::from_mins(1);

pub(super) struct Connections {
    app: App,
    max: usize,
    protocols: Arc<Protocols>,
    tasks: JoinSet<()>,
    open: HashMap<Id, OpenConnection>,
    /// How many that is.
    peak: Peak,
    unsent: Arc<UnsentBytes>,
    finishing: watch::Sender<()>,
    warned_at: Option<Instant>,
}

struct OpenConnection {
    task: AbortHandle,
    activity: Arc<Activity>,
}

impl Connections {
    pub(super) fn new(app: App, base: &Base) -> Self {
        let deadline = Duration::from_millis(base.deadline_ms);
        Self {
            peak: app.metrics().peak("connections", Unit::Count),
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

    /// Never returns; cancel-safe. When full, evicts the connections that have been idle longest:
    /// idle connections displace each other, and a health check still gets in. Where no
    /// connection is idle, new ones stay in the kernel's backlog.
    pub(super) async fn accept_from(&mut self, listener: &TcpListener) {
        loop {
            let has_capacity = self.open.len() <= self.max;
            tokio::select! {
                biased;
                Some(ended) = self.tasks.join_next_with_id() => self.forget(ended),
                accepted = listener.accept(), if has_capacity => match accepted {
                    Ok((stream, _)) => self.open(stream),
                    Err(error) if is_connection_error(&error) => {}
                    // For example, no file descriptors are left.
                    Err(error) => {
                        tracing::error!(error = &error as &dyn std::error::Error, "cannot accept");
                        self.evict_idle();
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                () = self.unsent.limit_exceeded() => self.close_slow_readers(),
                () = sleep(ACCEPT_PAUSE), if !has_capacity => self.evict_idle(),
            }
        }
    }

    fn open(&mut self, stream: TcpStream) {
        // Without TCP_NODELAY small answers wait for the peer's delayed acknowledgement.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        if self.open.len() >= self.max {
            self.evict_idle();
        }
        let activity = Arc::new(Activity::new(Arc::clone(&self.unsent)));
        let task = self.tasks.spawn(connection::serve_connection(
            stream,
            self.app.clone(),
            Arc::clone(&self.protocols),
            Arc::clone(&activity),
            self.finishing.subscribe(),
        ));
        self.open
            .insert(task.id(), OpenConnection { task, activity });
        self.peak.set(self.open.len() as u64);
    }

    fn evict_idle(&mut self) {
        let mut idle: Vec<(Instant, &AbortHandle)> = self
            .open
            .values()
            .filter_map(|open| Some((open.activity.idle_since()?, &open.task)))
            .collect();
        idle.sort_unstable_by_key(|(since, _)| *since);
        let enough = (self.max / EVICTED_SHARE).max(1);
        for (_, task) in idle.iter().take(enough) {
            task.abort();
        }
        self.warn("too many connections: the longest idle ones are closed");
    }

    /// Closes the connections that have had unsent answers longest, until the rest is below the
    /// limit. They are removed at once, so that they are not counted again while their tasks end.
    fn close_slow_readers(&mut self) {
        let unsent = |(id, open): (&Id, &OpenConnection)| {
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
            self.warn("too many unread answers: the connections of the oldest ones are closed");
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
        self.peak.set(self.open.len() as u64);
    }

    /// Closes idle connections at once and the others after their last answer.
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

fn is_connection_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}
