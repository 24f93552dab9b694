//! What a test does to a checkout's local AWS, and finds of it.

use std::process::Command;

use crate::{Checkout, eventually};

impl Checkout {
    /// From its next start on, its Secrets Manager answers for some seconds after a change as
    /// before it, as that of AWS may.
    pub fn make_secrets_stale(&self) {
        let startup = "target/xtask/local/startup/sitecustomize.py";
        let text = self.read(startup) + include_str!("stale_secrets.py");
        self.write(startup, &text);
    }

    /// What a crash does: no warning, no time to save anything.
    pub fn kill_local_aws(&self) {
        let pattern = format!("127.0.0.1:{}", self.port);
        self.output("pkill", &["-KILL", "-f", &pattern]);
        eventually("the local AWS is dead", || {
            self.listening_addresses().is_empty()
        });
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
