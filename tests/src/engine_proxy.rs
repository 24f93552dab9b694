//! The Docker engine behind a socket of the test, which can be gone for a while.

use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const ENGINE: &str = "/var/run/docker.sock";

pub struct EngineProxy {
    socket: PathBuf,
    gone: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<UnixStream>>>,
}

impl EngineProxy {
    /// Its socket is in this folder.
    pub fn start(folder: &Path) -> Self {
        let socket = folder.join("target/engine.sock");
        drop(std::fs::remove_file(&socket));
        let listener = UnixListener::bind(&socket).expect("a socket");
        let gone = Arc::new(AtomicBool::new(false));
        let connections: Arc<Mutex<Vec<UnixStream>>> = Arc::default();
        let (refuses, open) = (Arc::clone(&gone), Arc::clone(&connections));
        std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                if refuses.load(Ordering::SeqCst) {
                    continue;
                }
                let engine = UnixStream::connect(ENGINE).expect("the Docker engine");
                let mut open = open.lock().expect("no panic meanwhile");
                for (from, to) in [(&caller, &engine), (&engine, &caller)] {
                    let another = |it: &UnixStream| it.try_clone().expect("a socket");
                    let (mut from, mut to) = (another(from), another(to));
                    open.push(another(&from));
                    std::thread::spawn(move || {
                        let copied = std::io::copy(&mut from, &mut to);
                        drop(to.shutdown(Shutdown::Write));
                        copied
                    });
                }
            }
        });
        Self {
            socket,
            gone,
            connections,
        }
    }

    /// The value of `DOCKER_HOST`.
    pub fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Ends all connections, and every new one, until `serve`.
    pub fn refuse(&self) {
        self.gone.store(true, Ordering::SeqCst);
        let mut open = self.connections.lock().expect("no panic meanwhile");
        for connection in open.drain(..) {
            drop(connection.shutdown(Shutdown::Both));
        }
    }

    pub fn serve(&self) {
        self.gone.store(false, Ordering::SeqCst);
    }
}
