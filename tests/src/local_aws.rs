//! A checkout's local AWS: its processes, sockets and containers, and changes to how it behaves.

use std::net::Ipv4Addr;
use std::process::Command;

use crate::{CheckoutCopy, eventually, signal};

impl CheckoutCopy {
    /// From its next start on, its Secrets Manager returns stale values for some seconds after a
    /// change, as that of AWS may. `false`: it does already.
    pub fn make_secrets_stale(&self) -> bool {
        const CHANGE: &str = include_str!("stale_secrets.py");
        let startup = "target/xtask/local/startup/sitecustomize.py";
        let text = self.read(startup);
        if text.ends_with(CHANGE) {
            return false;
        }
        self.write(startup, &(text + CHANGE));
        true
    }

    /// Runs the tests of the overlay. Returns whether they passed, and what they said.
    pub fn run_overlay_tests(&self) -> (bool, String) {
        let output = Command::new(self.python())
            .args(["-m", "unittest", "discover", "-t", ".", "-s", "tests"])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(self.root().join("xtask/emulator"))
            .output()
            .expect("run Python");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    }

    /// Ends the local AWS without a warning and without time to save its state, as a crash does.
    pub fn kill_local_aws(&self) {
        let servers = self.server_processes();
        assert!(!servers.is_empty(), "no local AWS runs");
        for id in servers {
            signal("KILL", id);
        }
        eventually("the local AWS is dead", || {
            self.listening_addresses().is_empty()
        });
    }

    /// The processes that were started to listen on this checkout's port.
    fn server_processes(&self) -> Vec<u32> {
        let bind = format!("--bind=127.0.0.1:{}", self.port);
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        processes
            .filter_map(|process| {
                let id = process.file_name().to_str()?.parse().ok()?;
                let arguments = std::fs::read(process.path().join("cmdline")).ok()?;
                let mut arguments = arguments.split(|byte| *byte == 0);
                arguments.any(|it| it == bind.as_bytes()).then_some(id)
            })
            .collect()
    }

    /// The addresses on which the local AWS listens.
    pub fn listening_addresses(&self) -> Vec<String> {
        let port = format!(":{:04X}", self.port);
        let sockets = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's sockets");
        let listening = sockets.lines().filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next()?.strip_suffix(&port)?;
            let address = u32::from_str_radix(local, 16).ok()?;
            (fields.nth(1)? == "0A").then(|| Ipv4Addr::from(address.to_le_bytes()).to_string())
        });
        listening.collect()
    }

    /// Containers of this checkout's local AWS.
    pub fn containers(&self) -> Vec<String> {
        let output = Command::new("docker")
            .args(["ps", "--all", "--format", "{{.Labels}}"])
            .output()
            .expect("list containers");
        let ours = format!(":{}", self.port);
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter(|labels| {
                labels
                    .split(',')
                    .any(|it| it.starts_with("ministack.instance=") && it.ends_with(&ours))
            })
            .map(str::to_owned)
            .collect()
    }
}
