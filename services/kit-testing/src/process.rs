//! Runs a real program with only the given environment, and reads its log.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::Value;

/// Far above the duration of any step.
const TIMEOUT: Duration = Duration::from_secs(30);

pub struct ServiceProcess {
    child: Child,
    lines: Receiver<String>,
    /// The lines of the log that were read so far.
    pub log: Vec<Value>,
}

impl ServiceProcess {
    pub fn start(program: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = command(program, variables)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Self {
            child,
            lines,
            log: Vec::new(),
        }
    }

    /// Reads the log up to the first line with this message.
    pub fn wait_for(&mut self, message: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(TIMEOUT).expect(message);
            self.log.push(serde_json::from_str(&line).expect(&line));
            let last = &self.log[self.log.len() - 1];
            if last["message"] == message {
                return last.clone();
            }
        }
    }

    /// The address that it listens on, once it is ready.
    pub fn address(&mut self) -> SocketAddr {
        let port = self.wait_for("listening")["port"].as_u64().unwrap();
        self.wait_for("ready");
        SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap()))
    }

    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).unwrap();
    }

    pub fn id(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Waits for its end; returns the exit code and the whole log.
    pub fn end(mut self) -> (Option<i32>, Vec<Value>) {
        while let Ok(line) = self.lines.recv_timeout(TIMEOUT) {
            self.log.push(serde_json::from_str(&line).expect(&line));
        }
        (
            self.child.wait().unwrap().code(),
            std::mem::take(&mut self.log),
        )
    }
}

impl Drop for ServiceProcess {
    fn drop(&mut self) {
        // Fails where it has ended already, as in every test that succeeds.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a program that ends by itself.
pub fn run(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    command(program, variables)
        .args(arguments)
        .output()
        .unwrap()
}

#[expect(clippy::disallowed_methods, reason = "runs the program that is tested")]
pub fn command(program: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(variables.iter().copied());
    // For coverage, the program writes a profile as well.
    if let Ok(file) = std::env::var("LLVM_PROFILE_FILE") {
        command.env("LLVM_PROFILE_FILE", file);
    }
    command
}
