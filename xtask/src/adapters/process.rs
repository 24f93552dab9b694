//! Child processes: started with an environment made from nothing, so that no credentials of
//! another place reach them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::failure::Failure;
use crate::ports::ProcessEnv;

/// Variables of the user's shell that a child may have: none of them names an account.
const PASSED_ON: [&str; 27] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TERM",
    "TMPDIR",
    "TZ",
    "SHELL",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUSTUP_AUTO_INSTALL",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "XDG_DATA_HOME",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
];

/// A command to run: program, arguments, and what is added to the bare environment.
#[derive(Debug, Clone)]
pub struct Command {
    program: OsString,
    arguments: Vec<OsString>,
    environment: BTreeMap<String, String>,
    folder: Option<std::path::PathBuf>,
    stderr: bool,
}

/// What a command left behind.
#[derive(Debug, Clone)]
pub struct Finished {
    pub code: Option<i32>,
    /// stdout, and stderr if it was not turned away, as they came.
    pub output: String,
}

impl Finished {
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// The last lines, where tools put their reason.
    pub fn last_lines(&self, count: usize) -> String {
        let lines: Vec<&str> = self.output.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

impl Command {
    pub fn new(process_env: &ProcessEnv, program: impl Into<OsString>) -> Self {
        let mut environment: BTreeMap<String, String> = PASSED_ON
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), process_env.variable(name)?.to_owned())))
            .collect();
        // What cargo says is shown as text, whatever the user's configuration asks for.
        environment.insert("CARGO_TERM_COLOR".to_owned(), "never".to_owned());
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment,
            folder: None,
            stderr: true,
        }
    }

    #[must_use]
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    #[must_use]
    pub fn folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Takes a variable away that is passed on else.
    #[must_use]
    pub fn without_variable(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// For output that is read and not shown: a warning must not be taken for a part of it.
    #[must_use]
    pub fn without_stderr(mut self) -> Self {
        self.stderr = false;
        self
    }

    /// Starts a program whose output is read and dropped, as by a log driver. It is killed when
    /// the answer is dropped.
    pub fn spawn(self) -> Result<Child> {
        let shown = self.to_string();
        let reader = duct::cmd(self.program, self.arguments)
            .full_env(self.environment)
            .stdin_null()
            .stderr_null()
            .unchecked()
            .reader()
            .with_context(|| format!("start `{shown}`"))?;
        let reader = std::sync::Arc::new(reader);
        let output = std::sync::Arc::clone(&reader);
        std::thread::spawn(move || drop(std::io::copy(&mut &*output, &mut std::io::sink())));
        Ok(Child(reader))
    }

    /// Runs to the end and answers what came out, whatever the exit code.
    pub async fn run(self) -> Result<Finished> {
        self.run_watched(|_| {}).await
    }

    /// As `run`, and shows every line as it comes. If the caller goes away, the child is killed.
    pub async fn run_watched(self, mut watch: impl FnMut(&str)) -> Result<Finished> {
        let shown = self.to_string();
        tracing::debug!(command = %shown, "run");
        let missing = self.missing();
        let mut expression = duct::cmd(self.program, self.arguments)
            .full_env(self.environment)
            .stdin_null();
        if let Some(folder) = self.folder {
            expression = expression.dir(folder);
        }
        expression = if self.stderr {
            expression.stderr_to_stdout()
        } else {
            expression.stderr_null()
        };
        let reader = expression
            .unchecked()
            .reader()
            .map_err(|error| match error.kind() {
                ErrorKind::NotFound => missing.into(),
                _ => anyhow::Error::from(error).context(format!("start `{shown}`")),
            })?;
        let reader = std::sync::Arc::new(reader);
        let kill_on_drop = KillOnDrop(std::sync::Arc::clone(&reader));
        let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel::<String>();
        let reading = tokio::task::spawn_blocking(move || -> Result<Option<i32>> {
            let mut buffered = BufReader::new(&*reader);
            let mut line = Vec::new();
            while buffered.read_until(b'\n', &mut line)? > 0 {
                drop(sender.send(String::from_utf8_lossy(&line).into_owned()));
                line.clear();
            }
            Ok(reader.try_wait()?.and_then(|ended| ended.status.code()))
        });
        let mut output = String::new();
        while let Some(line) = lines.recv().await {
            watch(line.trim_end());
            output.push_str(&line);
        }
        let code = reading.await.context("wait for a child process")?;
        let code = code.with_context(|| format!("read the output of `{shown}`"))?;
        drop(kill_on_drop);
        Ok(Finished { code, output })
    }

    /// The failure that it is where there is no such program.
    fn missing(&self) -> Failure {
        let program = self.program.to_string_lossy();
        Failure::not_ready(format!("start `{self}`: there is no {program} on the PATH"))
            .hint("cargo xtask doctor     # what is missing, and how to get it")
    }

    /// Runs to the end; anything but exit code 0 is an error with the command's last lines.
    pub async fn succeed(self) -> Result<String> {
        let shown = self.to_string();
        let finished = self.run().await?;
        if !finished.succeeded() {
            let code = finished
                .code
                .map_or("a signal".to_owned(), |code| code.to_string());
            bail!("`{shown}` ended with {code}:\n{}", finished.last_lines(20));
        }
        Ok(finished.output)
    }
}

impl std::fmt::Display for Command {
    /// As one would type it. Variables are left out: they may hold what must not be shown.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.program.to_string_lossy())?;
        for argument in &self.arguments {
            write!(formatter, " {}", argument.to_string_lossy())?;
        }
        Ok(())
    }
}

/// A program that runs. It goes away with this value.
pub struct Child(std::sync::Arc<duct::ReaderHandle>);

impl Child {
    /// The number of its process.
    pub fn process(&self) -> Result<u32> {
        let processes = self.0.pids();
        processes
            .first()
            .copied()
            .context("a program has no process")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.0.kill());
    }
}

/// A future that is dropped (Ctrl-C) must not leave its child behind.
struct KillOnDrop(std::sync::Arc<duct::ReaderHandle>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        drop(self.0.kill());
    }
}

/// The file that a program's name stands for on `PATH`.
pub fn find_program(process_env: &ProcessEnv, name: &str) -> Option<std::path::PathBuf> {
    let path = process_env.variable("PATH")?;
    std::env::split_paths(path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure;

    fn process_env() -> ProcessEnv {
        let variables = [
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("AWS_ACCESS_KEY_ID", "a-key-of-another-place"),
            ("AWS_ENDPOINT_URL", "https://elsewhere.invalid"),
        ];
        ProcessEnv {
            root: ".".into(),
            here: ".".into(),
            variables: variables
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
        }
    }

    #[tokio::test]
    async fn a_child_sees_nothing_of_the_shells_credentials() {
        let output = Command::new(&process_env(), "env")
            .variable("OURS", "1")
            .succeed()
            .await;
        let output = output.unwrap();
        assert!(output.contains("OURS=1"), "{output}");
        assert!(!output.contains("AWS_"), "{output}");
    }

    #[tokio::test]
    async fn a_failing_command_tells_its_last_words() {
        let command = Command::new(&process_env(), "sh").arguments(["-c", "echo why >&2; exit 3"]);
        let error = command.succeed().await.unwrap_err().to_string();
        assert!(error.ends_with("ended with 3:\nwhy"), "{error}");
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = Command::new(&process_env(), "no-such-program")
            .run()
            .await
            .unwrap_err();
        assert_eq!(failure::exit_code(&error), 12);
        let text = error.to_string();
        assert!(
            text.ends_with("there is no no-such-program on the PATH"),
            "{text}"
        );
    }
}
