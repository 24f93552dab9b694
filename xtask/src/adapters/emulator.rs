//! The local AWS: installs, starts and stops it. It listens only on loopback and on the bridge of
//! Docker, writes only below `target/`, and leaves no containers.
//!
//! Each port has its own instance, with its own folder and its own containers.

mod access_key;
mod client;
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
use bollard::Docker;
use tokio::time::{Instant, sleep};

use crate::adapters::docker::connection;
use crate::adapters::environments::host_name;
use crate::failure::Failure;
use crate::ports::{Began, LocalAws, ProcessEnv};
use crate::report::{MachineEvent, Report};
pub use access_key::AccessKey;

/// Not 4566, which other emulators use.
const PORT_DEFAULT: u16 = 4577;
const PORT_VARIABLE: &str = "XTASK_LOCAL_PORT";

/// The module of Python that serves.
const SERVER: &str = "hypercorn";
/// The ASGI application that hypercorn serves: the emulator with our overlay.
const APPLICATION: &str = "overlay.app:app";

/// Importing modules and loading the state usually takes a second or two.
const START_LIMIT: Duration = Duration::from_mins(1);
/// The emulator saves its state and stops containers, sixteen at a time with a grace of two
/// seconds.
const STOP_LIMIT: Duration = Duration::from_secs(45);
/// Another run may be installing the emulator over a slow connection.
const LOCK_LIMIT: Duration = Duration::from_mins(10);
/// The local AWS of another checkout identifies itself; other programs may never respond.
const HOLDER_LIMIT: Duration = Duration::from_millis(300);
const POLL: Duration = Duration::from_millis(50);

pub struct Emulator<'a> {
    process_env: &'a ProcessEnv,
    report: &'a Report,
    root: PathBuf,
    port: u16,
}

/// Whether the emulator is installed, so that no other Python is needed.
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

    /// The endpoint. An IP address, because S3 parses `localhost` as the name of a bucket.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The folder of this instance. Terraform keeps its state there as well, so that `reset`
    /// removes it.
    pub fn folder(&self) -> PathBuf {
        self.local().join(self.port.to_string())
    }

    /// The Python that runs it, which has botocore.
    pub fn python(&self) -> PathBuf {
        installation::python(&self.local())
    }

    /// The label `ministack.instance` of its containers.
    pub fn instance(&self) -> String {
        format!("{}:{}", host_name(), self.port)
    }

    /// The key that it asks for. Before its first start there is none.
    pub fn access_key(&self) -> AccessKey {
        access_key::read(&self.access_key_file()).unwrap_or_else(AccessKey::of_none)
    }

    fn access_key_file(&self) -> PathBuf {
        self.folder().join("access-key.json")
    }

    /// Whether the local AWS of this checkout and this version responds. Takes a few milliseconds.
    pub async fn is_up(&self) -> bool {
        // Without its folder (after `cargo clean`) it responds, but cannot run functions.
        self.scratch().is_dir()
            && client::identity(self.port).await.as_ref() == Some(&self.identity())
    }

    /// The engine that runs its tasks, and the address of this machine for them.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub async fn docker(&self) -> Result<(Docker, Ipv4Addr)> {
        let docker = connection::docker(self.process_env)?;
        let gateway = connection::bridge_gateway(&docker).await?;
        Ok((docker, gateway))
    }

    fn local(&self) -> PathBuf {
        self.root.join("target/xtask/local")
    }

    fn scratch(&self) -> PathBuf {
        self.folder().join("tmp")
    }

    /// The identity that it reports: its checkout and its version.
    fn identity(&self) -> String {
        format!("{} {}", self.root.display(), installation::version())
    }

    fn lock_name(&self) -> String {
        format!("{}.lock", self.port)
    }

    /// Waits for a lock that other runs hold while they start or stop the emulator. It is released
    /// when the process ends.
    async fn lock(&self, name: &str) -> Result<File> {
        let path = self.local().join(name);
        let deadline = Instant::now() + LOCK_LIMIT;
        loop {
            let opened = std::fs::create_dir_all(self.local()).and_then(|()| File::create(&path));
            let file = opened.with_context(|| format!("open {}", path.display()))?;
            match file.try_lock() {
                // A reset removed the file, so others lock a new one.
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

    /// Fails if another program listens on the address.
    async fn expect_free(&self, address: SocketAddrV4) -> Result<()> {
        let Err(error) = TcpListener::bind(address) else {
            return Ok(());
        };
        if error.kind() != ErrorKind::AddrInUse {
            return Err(error).with_context(|| format!("listen on {address}"));
        }
        let holder = tokio::select! {
            Some(identity) = client::identity(self.port) => format!("the local AWS of {identity}"),
            () = sleep(HOLDER_LIMIT) => processes::holder(self.port)
                .unwrap_or_else(|| "a program of another user".into()),
        };
        let free = self.port.checked_add(10).unwrap_or(PORT_DEFAULT);
        Err(
            Failure::not_ready(format!("{address} is in use by {holder}"))
                .hint(format!(
                    "stop it, or use another port: {PORT_VARIABLE}={free} cargo xtask ..."
                ))
                .into(),
        )
    }

    /// Starts the server in its own process group, so that Ctrl-C does not reach it, and with an
    /// empty environment.
    #[expect(
        clippy::disallowed_methods,
        reason = "starts the server, which outlives xtask"
    )]
    fn start(&self, addresses: [Ipv4Addr; 2]) -> Result<Child> {
        let folder = self.folder();
        let (state, objects, home) = (folder.join("state"), folder.join("s3"), folder.join("home"));
        for needed in [&state, &objects, &home, &self.scratch()] {
            std::fs::create_dir_all(needed)
                .with_context(|| format!("create {}", needed.display()))?;
        }
        access_key::ensure(&self.access_key_file())?;
        let output = self.fresh_log()?;
        let mut command = Command::new(self.python());
        command
            .args(["-m", SERVER, APPLICATION])
            .args(addresses.map(|address| format!("--bind={address}:{}", self.port)))
            // Without workers, which would outlive a killed parent and keep the port. Idle
            // connections stay open for a day: a request that is sent while one is closed may be
            // executed without a response, and Terraform then repeats it.
            .args(["--workers=0", "--keep-alive=86400", "--graceful-timeout=1"])
            .current_dir(&folder)
            .env_clear()
            .env(
                "PATH",
                self.process_env.variable("PATH").unwrap_or("/usr/bin:/bin"),
            )
            .env("LANG", "C.UTF-8")
            // Without the Docker configuration of the user, which may have credential helpers.
            .env("HOME", home)
            .env("TMPDIR", self.scratch())
            .env("PYTHONPATH", installation::startup_folder(&self.local()))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1")
            .env("GATEWAY_PORT", self.port.to_string())
            .env("ACCESS_KEY_FILE", self.access_key_file())
            .env(
                "BOUND_ADDRESSES",
                addresses.map(|it| it.to_string()).join(" "),
            )
            .env("MINISTACK_HOSTNAME", host_name())
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

    /// Creates the log. The previous one is kept, since it may have the reason of a crash.
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

    async fn wait_until_up(&self, mut child: Child) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while !self.is_up().await {
            let ended = child
                .try_wait()
                .context("check the process of the local AWS")?;
            if ended.is_some() || Instant::now() > deadline {
                self.stop_processes().await?;
                let text = tokio::fs::read_to_string(self.log())
                    .await
                    .unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                bail!(
                    "the local AWS did not start; {} ends with:\n{}",
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
        let docker = connection::docker(self.process_env)?;
        containers::remove(&docker, &self.instance()).await
    }

    /// Ends every process of this instance: first by SIGTERM, so that the state is saved, then by
    /// SIGKILL.
    async fn stop_processes(&self) -> Result<()> {
        let ours = || processes::of_instance(&self.local(), self.port);
        // Without its folder it must not save, since files that belong to the state are missing.
        if self.scratch().is_dir() && processes::ask_to_end(&ours()) {
            self.report.emit(MachineEvent::LocalStopping);
            processes::ended(ours, STOP_LIMIT).await;
        }
        processes::kill(&ours());
        if !processes::ended(ours, Duration::from_secs(5)).await {
            bail!("cannot end processes of the local AWS: {:?}", ours());
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

    /// Starts it unless it is up. Safe after a crash or a reboot, and concurrently.
    async fn up(&self) -> Result<Began> {
        if self.is_up().await {
            return Ok(Began::Running);
        }
        let lock = self.lock(&self.lock_name()).await?;
        if self.is_up().await {
            return Ok(Began::Running);
        }
        let (docker, gateway) = self.docker().await?;
        self.stop_processes().await?;
        let addresses = [Ipv4Addr::LOCALHOST, gateway];
        for address in addresses {
            self.expect_free(SocketAddrV4::new(address, self.port))
                .await?;
        }
        {
            let _lock = self.lock("venv.lock").await?;
            installation::ensure(self.process_env, self.report, &self.local()).await?;
        }
        containers::remove(&docker, &self.instance()).await?;
        self.report.emit(MachineEvent::LocalStarting);
        let child = self.start(addresses)?;
        self.wait_until_up(child).await?;
        drop(lock);
        Ok(Began::Started)
    }

    async fn down(&self) -> Result<()> {
        let _lock = self.lock(&self.lock_name()).await?;
        self.stop().await
    }

    async fn reset(&self) -> Result<()> {
        let _lock = self.lock(&self.lock_name()).await?;
        self.stop().await?;
        // The state of Terraform goes with the resources.
        for folder in [self.folder(), self.local().join("terraform")] {
            match tokio::fs::remove_dir_all(&folder).await {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("remove {}", folder.display()));
                }
                _ => {}
            }
        }
        let lock = self.local().join(self.lock_name());
        tokio::fs::remove_file(&lock)
            .await
            .with_context(|| format!("remove {}", lock.display()))
    }

    /// `false` also for services of a crash-looping release, whose deploy reports the reason.
    async fn settled(&self) -> bool {
        settling::wait(self.port, &self.access_key()).await
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
    use tempfile::TempDir;

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
    fn the_port_is_validated() {
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
    async fn a_port_in_use_is_an_error_with_its_holder() {
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
    async fn a_lock_that_a_reset_removes_is_replaced() {
        let root = TempDir::new().unwrap();
        let process_env = ProcessEnv {
            root: root.path().to_owned(),
            here: root.path().to_owned(),
            variables: std::collections::BTreeMap::new(),
        };
        let (report, _, _) = captured(Format::Human);
        let emulator = Emulator::new(&process_env, &report).unwrap();
        let resetting = emulator.lock("4577.lock").await.unwrap();
        let waiting = emulator.lock("4577.lock");
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("two runs have the lock"),
            () = sleep(POLL * 2) => {}
        }
        tokio::fs::remove_file(emulator.local().join("4577.lock"))
            .await
            .unwrap();
        drop(resetting);
        let lock = waiting.await.unwrap();
        assert_eq!(lock.metadata().unwrap().nlink(), 1);
    }
}
