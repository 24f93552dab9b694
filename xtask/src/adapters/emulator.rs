//! The local AWS: installed, started and stopped so that it listens on loopback and on Docker's
//! bridge only, writes below `target/` only, and leaves nothing behind.
//!
//! Each port is an instance of its own, with its own folder and its own containers.

mod ask;
mod containers;
mod installation;
mod processes;
mod settling;

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use crate::adapters::host;
use crate::failure::Failure;
use crate::ports::{Began, LocalAws, ProcessEnv};
use crate::report::{MachineEvent, Report};

/// Not 4566: other emulators listen there, and people may have that running.
const PORT_DEFAULT: u16 = 4577;
const PORT_VARIABLE: &str = "XTASK_LOCAL_PORT";

/// What hypercorn serves.
const APPLICATION: &str = "ministack.app:app";

/// Importing the emulator's modules and loading its state takes a second or two.
const START_LIMIT: Duration = Duration::from_mins(1);
/// It saves its state and stops every container, two seconds' grace each, sixteen at a time.
const STOP_LIMIT: Duration = Duration::from_secs(45);
/// As long as a first installation over a slow line may take.
const TURN_LIMIT: Duration = Duration::from_mins(10);
/// Another checkout's local AWS says who it is; other programs may never say a word.
const HOLDER_LIMIT: Duration = Duration::from_millis(300);
const POLL: Duration = Duration::from_millis(50);

pub struct Emulator<'a> {
    process_env: &'a ProcessEnv,
    report: &'a Report,
    root: PathBuf,
    port: u16,
}

/// Whether all that it needs is installed, so that no Python is looked for.
pub fn is_installed(process_env: &ProcessEnv) -> bool {
    installation::is_complete(&process_env.state_folder().join("local"))
}

impl<'a> Emulator<'a> {
    pub fn new(process_env: &'a ProcessEnv, report: &'a Report) -> Result<Self> {
        let root = process_env
            .root
            .canonicalize()
            .context("find the root of the checkout")?;
        Ok(Self {
            process_env,
            report,
            root,
            port: port(process_env)?,
        })
    }

    /// Where it answers. A literal address: with `localhost`, S3 takes the name for a bucket's.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Everything of this instance on disk; what others keep about it lies here too, so that
    /// `reset` takes it away.
    pub fn folder(&self) -> PathBuf {
        self.local().join(self.port.to_string())
    }

    /// The value of the label `ministack.instance` on each of its containers.
    pub fn instance(&self) -> String {
        format!("{}:{}", host::name(), self.port)
    }

    /// Whether the local AWS of this checkout, in this version, answers. Costs a few milliseconds.
    pub async fn is_up(&self) -> bool {
        // Without its folder (`cargo clean`) it answers, but can no longer run a function.
        self.scratch().is_dir() && ask::identity(self.port).await.as_ref() == Some(&self.identity())
    }

    fn local(&self) -> PathBuf {
        self.root.join("target/xtask/local")
    }

    fn scratch(&self) -> PathBuf {
        self.folder().join("tmp")
    }

    /// What it says of itself when asked: which checkout started it, in which version.
    fn identity(&self) -> String {
        format!("{} {}", self.root.display(), installation::version())
    }

    fn turn_name(&self) -> String {
        format!("{}.lock", self.port)
    }

    /// Waits until no other run starts or stops anything. The lock ends with the process.
    async fn turn(&self, name: &str) -> Result<File> {
        let path = self.local().join(name);
        let deadline = Instant::now() + TURN_LIMIT;
        loop {
            let opened = std::fs::create_dir_all(self.local()).and_then(|()| File::create(&path));
            let file = opened.with_context(|| format!("open {}", path.display()))?;
            match file.try_lock() {
                // A reset removes it: then whoever comes next has another one.
                Ok(()) if file.metadata().is_ok_and(|it| it.nlink() == 0) => {}
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    self.report.emit(MachineEvent::LocalBusy);
                    sleep(POLL).await;
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("lock {}", path.display()));
                }
            }
        }
    }

    /// Nothing may be started where somebody else listens.
    async fn expect_free(&self, address: SocketAddrV4) -> Result<()> {
        let Err(error) = TcpListener::bind(address) else {
            return Ok(());
        };
        if error.kind() != ErrorKind::AddrInUse {
            return Err(error).with_context(|| format!("listen on {address}"));
        }
        let holder = tokio::select! {
            Some(identity) = ask::identity(self.port) => format!("the local AWS of {identity}"),
            () = sleep(HOLDER_LIMIT) => processes::holder(self.port)
                .unwrap_or_else(|| "a program of another user".into()),
        };
        let free = self.port.checked_add(10).unwrap_or(PORT_DEFAULT);
        Err(
            Failure::not_ready(format!("{address} is taken by {holder}"))
                .hint(format!(
                    "stop it, or choose another port: {PORT_VARIABLE}={free} cargo xtask ..."
                ))
                .into(),
        )
    }

    /// Starts the server in a process group of its own, so that Ctrl-C does not reach it, with an
    /// environment made from nothing.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the server, which outlives us, is started"
    )]
    fn start(&self, addresses: [Ipv4Addr; 2]) -> Result<Child> {
        let folder = self.folder();
        let (state, objects, home) = (folder.join("state"), folder.join("s3"), folder.join("home"));
        for needed in [&state, &objects, &home, &self.scratch()] {
            std::fs::create_dir_all(needed)
                .with_context(|| format!("create {}", needed.display()))?;
        }
        let output = self.fresh_log()?;
        let mut command = Command::new(installation::python(&self.local()));
        command
            .args(["-m", "hypercorn", APPLICATION])
            .args(addresses.map(|address| format!("--bind={address}:{}", self.port)))
            // In one process: a worker would outlive a killed parent and keep the port.
            // Connections stay for a day: what is sent at the moment when an idle one is closed
            // may be carried out without an answer, and Terraform then makes it a second time.
            .args(["--workers=0", "--keep-alive=86400", "--graceful-timeout=1"])
            .current_dir(&folder)
            .env_clear()
            .env(
                "PATH",
                self.process_env.variable("PATH").unwrap_or("/usr/bin:/bin"),
            )
            .env("LANG", "C.UTF-8")
            // The user's Docker configuration may name credential helpers for the pulls.
            .env("HOME", home)
            .env("TMPDIR", self.scratch())
            .env("PYTHONPATH", installation::startup_folder(&self.local()))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1")
            .env("GATEWAY_PORT", self.port.to_string())
            .env("MINISTACK_HOSTNAME", host::name())
            .env("MINISTACK_EDITION", self.identity())
            .env("PERSIST_STATE", "1")
            .env("STATE_DIR", state)
            .env("S3_DATA_DIR", objects)
            .env("ECS_RESTORE_RECONCILE_DELAY_SECONDS", "0.2")
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0");
        if let Some(engine) = self.process_env.variable("DOCKER_HOST") {
            command.env("DOCKER_HOST", engine);
        }
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("share the log file")?)
            .stderr(output)
            .spawn()
            .context("start the local AWS")
    }

    /// The log of this start; that of the one before is kept, because it may say why it ended.
    fn fresh_log(&self) -> Result<File> {
        let log = self.log();
        if log.exists() {
            std::fs::rename(&log, self.folder().join("emulator.previous.log"))
                .with_context(|| format!("rename {}", log.display()))?;
        }
        File::create(&log).with_context(|| format!("create {}", log.display()))
    }

    fn log(&self) -> PathBuf {
        self.folder().join("emulator.log")
    }

    async fn answering(&self, mut child: Child) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while !self.is_up().await {
            let ended = child.try_wait().context("look at the local AWS")?;
            if ended.is_some() || Instant::now() > deadline {
                self.stop_processes().await?;
                let text = tokio::fs::read_to_string(self.log())
                    .await
                    .unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                bail!(
                    "the local AWS did not come up; {} ends with:\n{}",
                    self.log().display(),
                    lines[lines.len().saturating_sub(20)..].join("\n")
                );
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    async fn stop(&self) -> Result<()> {
        self.stop_processes().await?;
        let docker = host::docker(self.process_env)?;
        containers::remove(&docker, &self.instance()).await
    }

    /// Ends every process of this instance: politely, so that the state is saved, then not.
    async fn stop_processes(&self) -> Result<()> {
        let ours = || processes::of_instance(&self.local(), self.port);
        // Where its folder is gone it must not save: what belongs to the state is gone as well.
        if self.scratch().is_dir() && processes::ask_to_end(&ours()) {
            self.report.emit(MachineEvent::LocalStopping);
            processes::ended(ours, STOP_LIMIT).await;
        }
        processes::kill(&ours());
        if !processes::ended(ours, Duration::from_secs(5)).await {
            bail!("processes of the local AWS do not end: {:?}", ours());
        }
        Ok(())
    }
}

#[async_trait]
impl LocalAws for Emulator<'_> {
    fn endpoint(&self) -> String {
        Emulator::endpoint(self)
    }

    async fn is_up(&self) -> bool {
        Emulator::is_up(self).await
    }

    /// Brings it up. Harmless when it is up, after a crash, after a reboot, and when two do it.
    async fn up(&self) -> Result<Began> {
        if self.is_up().await {
            return Ok(Began::Running);
        }
        let turn = self.turn(&self.turn_name()).await?;
        if self.is_up().await {
            return Ok(Began::Running);
        }
        let docker = host::docker(self.process_env)?;
        let gateway = host::bridge_gateway(&docker).await?;
        self.stop_processes().await?;
        let addresses = [Ipv4Addr::LOCALHOST, gateway];
        for address in addresses {
            self.expect_free(SocketAddrV4::new(address, self.port))
                .await?;
        }
        {
            let _turn = self.turn("venv.lock").await?;
            installation::ensure(self.process_env, self.report, &self.local()).await?;
        }
        containers::remove(&docker, &self.instance()).await?;
        self.report.emit(MachineEvent::LocalStarting);
        let child = self.start(addresses)?;
        self.answering(child).await?;
        drop(turn);
        Ok(Began::Started)
    }

    async fn down(&self) -> Result<()> {
        let _turn = self.turn(&self.turn_name()).await?;
        self.stop().await
    }

    async fn reset(&self) -> Result<()> {
        let _turn = self.turn(&self.turn_name()).await?;
        self.stop().await?;
        // What Terraform believes is there goes with what is there.
        for folder in [self.folder(), self.local().join("terraform")] {
            match tokio::fs::remove_dir_all(&folder).await {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("remove {}", folder.display()));
                }
                _ => {}
            }
        }
        let turn = self.local().join(self.turn_name());
        tokio::fs::remove_file(&turn)
            .await
            .with_context(|| format!("remove {}", turn.display()))
    }

    /// The services of a crash-looping release never come back: whoever deploys finds out why.
    async fn settled(&self) -> bool {
        settling::wait(self.port).await
    }
}

fn port(process_env: &ProcessEnv) -> Result<u16> {
    let Some(text) = process_env.variable(PORT_VARIABLE) else {
        return Ok(PORT_DEFAULT);
    };
    match text.parse() {
        Ok(port) if port >= 1024 => Ok(port),
        _ => Err(Failure::usage(format!(
            "{PORT_VARIABLE} must be a port from 1024 to 65535, not `{text}`"
        ))
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::exit_code;
    use crate::report::{Format, testing::captured};

    fn process_env(port: &str) -> ProcessEnv {
        ProcessEnv {
            root: env!("CARGO_MANIFEST_DIR").into(),
            here: env!("CARGO_MANIFEST_DIR").into(),
            variables: [(PORT_VARIABLE.to_owned(), port.to_owned())].into(),
        }
    }

    #[test]
    fn the_port_is_a_setting_that_is_checked() {
        assert_eq!(port(&process_env("")).unwrap(), PORT_DEFAULT);
        assert_eq!(port(&process_env("4588")).unwrap(), 4588);
        for wrong in ["80", "65536", "-1", "http"] {
            assert_eq!(
                exit_code(&port(&process_env(wrong)).unwrap_err()),
                2,
                "{wrong}"
            );
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_told_with_its_holder_and_the_remedy() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let process_env = process_env(&port.to_string());
        let (report, _, _) = captured(Format::Human);
        let emulator = Emulator::new(&process_env, &report).unwrap();
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let error = emulator.expect_free(address).await.unwrap_err();
        assert_eq!(exit_code(&error), 12);
        let failure = crate::failure::of(&error).unwrap();
        let process = format!("(process {})", std::process::id());
        assert!(failure.message.contains(&process), "{failure}");
        assert!(failure.hint.as_ref().unwrap().contains(PORT_VARIABLE));
        assert!(!emulator.is_up().await);
    }

    #[tokio::test]
    async fn whoever_waits_for_a_turn_that_a_reset_removes_takes_the_next_one() {
        let root = std::env::temp_dir().join(format!("turn-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let process_env = ProcessEnv {
            root: root.clone(),
            here: root.clone(),
            variables: std::collections::BTreeMap::new(),
        };
        let (report, _, _) = captured(Format::Human);
        let emulator = Emulator::new(&process_env, &report).unwrap();
        let resetting = emulator.turn("4577.lock").await.unwrap();
        let waiting = emulator.turn("4577.lock");
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("two have the turn"),
            () = sleep(POLL * 2) => {}
        }
        tokio::fs::remove_file(emulator.local().join("4577.lock"))
            .await
            .unwrap();
        drop(resetting);
        let turn = waiting.await.unwrap();
        assert_eq!(turn.metadata().unwrap().nlink(), 1);
        tokio::fs::remove_dir_all(root).await.unwrap();
    }
}
