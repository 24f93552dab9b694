//! Child processes. They start with an empty environment, so that no credentials of the shell reach
//! them by accident.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use crate::failure::Failure;
use crate::ports::ProcessEnv;

/// Variables of the shell that every child inherits. None of them selects an account.
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

/// A command to run: program, arguments, and variables besides the inherited ones.
#[derive(Debug, Clone)]
pub struct Command {
    program: OsString,
    arguments: Vec<OsString>,
    environment: BTreeMap<String, String>,
    folder: Option<std::path::PathBuf>,
    stderr: bool,
}

/// The result of a command.
#[derive(Debug, Clone)]
pub struct Finished {
    pub code: Option<i32>,
    /// stdout, interleaved with stderr unless `without_stderr` was called.
    pub output: String,
}

impl Finished {
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// The last lines, which usually have the reason of a failure.
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
        // Overrides the configuration of the user, since the output is parsed.
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

    /// Removes an inherited variable.
    #[must_use]
    pub fn without_variable(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Discards stderr, for output that is parsed.
    #[must_use]
    pub fn without_stderr(mut self) -> Self {
        self.stderr = false;
        self
    }

    /// Starts a program and discards its output. The program is killed when the result is dropped.
    pub fn spawn(self) -> Result<Child> {
        let shown = self.to_string();
        let reader = duct::cmd(self.program, self.arguments)
            .full_env(self.environment)
            .stdin_null()
            .stderr_null()
            .unchecked()
            .reader()
            .with_context(|| format!("start `{shown}`"))?;
        let reader = Arc::new(reader);
        let output = Arc::clone(&reader);
        std::thread::spawn(move || drop(std::io::copy(&mut &*output, &mut std::io::sink())));
        Ok(Child(reader))
    }

    /// Runs to the end, whatever the exit code.
    pub async fn run(self) -> Result<Finished> {
        self.run_watched(|_| {}).await
    }

    /// Like `run`, and passes every line to `watch`. The child is killed when the future is
    /// dropped.
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
        let reader = Arc::new(reader);
        // Kills the child if this future is dropped, as by Ctrl-C.
        let child = Child(Arc::clone(&reader));
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
        drop(child);
        Ok(Finished { code, output })
    }

    /// The failure for a missing program.
    fn missing(&self) -> Failure {
        let program = self.program.to_string_lossy();
        Failure::not_ready(format!("start `{self}`: {program} is not on the PATH"))
            .hint("cargo xtask doctor     # shows what is missing, and how to install it")
    }

    /// Runs to the end and returns the output.
    ///
    /// # Errors
    /// For any exit code but 0, with the last lines of the output.
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
    /// The command line, without variables, which may be secret.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.program.to_string_lossy())?;
        for argument in &self.arguments {
            write!(formatter, " {}", argument.to_string_lossy())?;
        }
        Ok(())
    }
}

/// A running program, killed on drop.
pub struct Child(Arc<duct::ReaderHandle>);

impl Child {
    /// The process id.
    pub fn process(&self) -> Result<u32> {
        let processes = self.0.pids();
        processes
            .first()
            .copied()
            .context("the program has no process id")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.0.kill());
    }
}

/// The file of a program, searched on the `PATH` of the shell.
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
            ("AWS_ACCESS_KEY_ID", "another-key"),
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
    async fn a_child_inherits_no_credentials() {
        let output = Command::new(&process_env(), "env")
            .variable("OURS", "1")
            .succeed()
            .await;
        let output = output.unwrap();
        assert!(output.contains("OURS=1"), "{output}");
        assert!(!output.contains("AWS_"), "{output}");
    }

    #[tokio::test]
    async fn an_error_has_the_last_lines() {
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
            text.ends_with("no-such-program is not on the PATH"),
            "{text}"
        );
    }
}
