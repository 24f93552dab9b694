//! The processes of one instance of the local AWS, found by their command lines. A pid file could
//! be stale and have the id of another process.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::{POLL, SERVER};

/// A process whose command line was ours when it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EmulatorProcess {
    pub(super) id: i32,
    role: ProcessRole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProcessRole {
    Server,
    /// A Lambda function that the server started.
    Worker,
    Installer,
}

/// Every process of the instance that listens on this port.
pub(super) fn of_instance(local: &Path, port: u16) -> Vec<EmulatorProcess> {
    all()
        .filter_map(|id| {
            let role = role(&command_line(id), local, port)?;
            Some(EmulatorProcess { id, role })
        })
        .collect()
}

/// Processes of a killed installation, which may still write to the virtual environment.
pub(super) fn of_installation(local: &Path) -> Vec<EmulatorProcess> {
    all()
        .filter(|id| installs(&command_line(*id), local))
        .map(|id| EmulatorProcess {
            id,
            role: ProcessRole::Installer,
        })
        .collect()
}

/// Sends SIGTERM to the server, which saves its state. `false`: no server is running.
pub(super) fn ask_to_end(processes: &[EmulatorProcess]) -> bool {
    let servers = processes
        .iter()
        .filter(|process| process.role == ProcessRole::Server);
    signal(servers, Signal::TERM)
}

pub(super) fn kill(processes: &[EmulatorProcess]) {
    signal(processes.iter(), Signal::KILL);
}

/// Polls until no process is left. `false`: the limit is exceeded.
pub(super) async fn ended(found: impl Fn() -> Vec<EmulatorProcess>, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while !found().is_empty() {
        if Instant::now() > deadline {
            return false;
        }
        sleep(POLL).await;
    }
    true
}

/// The process that listens on this port, if it is visible to this user.
pub(super) fn holder(port: u16) -> Option<String> {
    let table = read("/proc/net/tcp") + &read("/proc/net/tcp6");
    let socket = format!("socket:[{}]", listening_inode(&table, port)?);
    let id = all().find(|id| {
        let descriptors = fs::read_dir(format!("/proc/{id}/fd"));
        descriptors.into_iter().flatten().flatten().any(|entry| {
            fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == socket.as_str())
        })
    })?;
    let name = read(&format!("/proc/{id}/comm"));
    Some(format!("{} (process {id})", name.trim()))
}

fn role(arguments: &[String], local: &Path, port: u16) -> Option<ProcessRole> {
    let program = Path::new(arguments.first()?);
    let binds = format!("--bind=127.0.0.1:{port}");
    if program == local.join("venv/bin/python") && arguments.contains(&binds) {
        return Some(ProcessRole::Server);
    }
    let workers = local.join(port.to_string()).join("tmp");
    program.starts_with(workers).then_some(ProcessRole::Worker)
}

fn installs(arguments: &[String], local: &Path) -> bool {
    let ours = |program: &String| Path::new(program).starts_with(local.join("venv/bin"));
    arguments.first().is_some_and(ours) && !arguments.iter().any(|word| word == SERVER)
}

/// The inode of the listening socket in a table of `/proc/net`.
fn listening_inode(table: &str, port: u16) -> Option<&str> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens = fields.get(3) == Some(&LISTEN) && fields.get(1)?.ends_with(&suffix);
        listens.then(|| fields.get(9).copied())?
    })
}

fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The arguments of a process; empty for a zombie.
fn command_line(id: i32) -> Vec<String> {
    let text = read(&format!("/proc/{id}/cmdline"));
    text.split_terminator('\0').map(str::to_owned).collect()
}

#[expect(clippy::disallowed_methods, reason = "the kernel has it in a file")]
fn read(path: &str) -> String {
    fs::read(path).map_or_else(
        |_| String::new(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

/// Sends a signal to each process. One that has ended meanwhile is ignored.
fn signal<'a>(processes: impl Iterator<Item = &'a EmulatorProcess>, signal: Signal) -> bool {
    processes
        .filter_map(|process| kill_process(Pid::from_raw(process.id)?, signal).ok())
        .count()
        > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn only_the_instance_of_this_checkout_and_port_is_ours() {
        let local = Path::new("/home/a/target/xtask/local");
        let role_of = |text: &str| role(&arguments(text), local, 4577);
        let server = "venv/bin/python -m hypercorn ministack.app:app --bind=127.0.0.1:4577";
        assert_eq!(
            role_of(&format!("{}/{server}", local.display())),
            Some(ProcessRole::Server)
        );
        let function = "4577/tmp/ministack-provided-code-4577/1/bootstrap";
        assert_eq!(
            role_of(&format!("{}/{function}", local.display())),
            Some(ProcessRole::Worker)
        );

        for other in [
            format!("/home/b/target/xtask/local/{server}"),
            format!("{}/{}", local.display(), server.replace("4577", "4588")),
            format!("{}/{}", local.display(), function.replace("4577", "4588")),
            format!("/usr/bin/vim {}/{server}", local.display()),
            String::new(),
        ] {
            assert_eq!(role_of(&other), None, "{other}");
        }
    }

    #[test]
    fn a_server_is_not_an_installation() {
        let local = Path::new("/home/a/target/xtask/local");
        let installs = |text: &str| installs(&arguments(text), local);
        assert!(installs(
            "/home/a/target/xtask/local/venv/bin/python -m pip install"
        ));
        assert!(installs(
            "/home/a/target/xtask/local/venv/bin/python3 -Im ensurepip"
        ));
        assert!(!installs(
            "/home/a/target/xtask/local/venv/bin/python -m hypercorn ministack.app:app"
        ));
        assert!(!installs(
            "/home/b/target/xtask/local/venv/bin/python -m pip install"
        ));
    }

    #[test]
    fn a_listening_socket_is_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:11E1 0100007F:A000 01 00000000:00000000 00:00000000 00000000  0  0 111 1\n\
            1: 0100007F:11E1 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 222 1\n";
        assert_eq!(listening_inode(table, 4577), Some("222"));
        assert_eq!(listening_inode(table, 4578), None);
    }
}
