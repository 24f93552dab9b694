//! All flags on one screen.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use jiff::SignedDuration;

use crate::commands::bench::BenchPart;
use crate::decide::artifact::compilation::BuildMethod;
use crate::decide::definition::lint::LaunchType;
use crate::ports::IfLocked;
use crate::report::Format;

/// Build, deploy, verify and roll back services on ECS and their functions.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    after_help = "Examples:\n  \
        cargo xtask deploy                       bring up the local AWS and release to it\n  \
        cargo xtask plan --env staging           what a release would change there\n  \
        cargo xtask deploy NAME --env staging    release one component\n  \
        cargo xtask rollback                     back to the last release that succeeded\n  \
        cargo xtask verify                       the acceptance checks\n\n\
        Exit codes: 0 done, 1 unexpected, 2 usage, 10 findings, 11 refused, 12 not ready,\n\
        13 plan --exit-code: changes, 20 failed and all is back, 21 failed and something is not back,\n\
        22 stopped watching, 23 superseded, 30 a check failed, 130 interrupted before anything was changed\n\n\
        With --format json stdout is one document or nothing, and stderr one event a line, as\n\
        xtask/events.schema.json describes them."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Args)]
pub struct Global {
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        help = "A file of infra/environments [default: $XTASK_ENV, or local]"
    )]
    pub env: Option<String>,
    /// How results are printed; github: for the log of a workflow
    #[arg(long, global = true, value_enum, default_value = "human")]
    pub format: Format,
    /// Say nothing but results, warnings and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Print every command before it is run
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
}

/// The commands, grouped by what they need.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Compile, and make the images and the function's zip
    #[command(after_help = "Example:\n  cargo xtask build NAME --push --env staging")]
    Build(BuildArguments),
    /// Release: all or nothing
    #[command(after_help = "Examples:\n  cargo xtask deploy\n  \
        cargo xtask deploy --env production --yes\n  \
        cargo xtask deploy --env production --artifacts target/bundle    # where nothing may be compiled")]
    Deploy(DeployArguments),
    #[command(flatten)]
    Deployed(DeployedVerb),
    #[command(flatten)]
    Checkout(CheckoutVerb),
    #[command(flatten)]
    Machine(MachineVerb),
}

/// These need AWS, and an environment whose infrastructure was applied.
#[derive(Debug, Subcommand)]
pub enum DeployedVerb {
    /// Print a task definition with every placeholder filled
    #[command(after_help = "Example:\n  cargo xtask render NAME | jq .containerDefinitions")]
    Render {
        /// The service
        name: String,
    },
    /// Show what deploy would change
    #[command(after_help = "Examples:\n  cargo xtask plan --env production\n  \
        cargo xtask plan --env staging --exit-code || [ $? = 13 ]    # in a script")]
    Plan {
        #[command(flatten)]
        names: Names,
        /// End with 13 where deploy would change something
        #[arg(long)]
        exit_code: bool,
        /// Compile nothing: take what build --out left in this folder
        #[arg(long, value_name = "DIR", value_parser = existing_folder)]
        artifacts: Option<PathBuf>,
    },
    /// Run the acceptance checks; changes nothing in the environment
    #[command(after_help = "Example:\n  cargo xtask verify --deployed --env staging --format json")]
    Verify {
        /// Only the checks of what is deployed: nothing is built, no tests are run
        #[arg(long)]
        deployed: bool,
    },
    /// Go back to an earlier release
    #[command(
        after_help = "Examples:\n  cargo xtask rollback\n  cargo xtask rollback --to 12\n  \
        cargo xtask rollback --stop"
    )]
    Rollback {
        /// The release to go back to; the newest that succeeded and does not run now, if left out
        #[arg(long, value_name = "RELEASE")]
        to: Option<u64>,
        /// Scale the services to 0, wait, and deregister the revisions that ran
        #[arg(long, conflicts_with = "to")]
        stop: bool,
        /// Let releases go on afterwards; else the environment is held
        #[arg(long)]
        no_hold: bool,
        #[command(flatten)]
        locking: Locking,
        #[command(flatten)]
        confirmed: Confirmation,
    },
    /// Let no release begin, rollbacks aside, until it is lifted
    #[command(
        after_help = "Example:\n  cargo xtask hold --env production --why 'sale until monday'"
    )]
    Hold {
        /// What others are told
        #[arg(long, value_name = "TEXT", default_value = "held by hand")]
        why: String,
        #[command(flatten)]
        confirmed: Confirmation,
    },
    /// Let releases go on
    Unhold {
        #[command(flatten)]
        confirmed: Confirmation,
    },
    /// Remove what neither runs nor is needed for a rollback
    #[command(
        after_help = "Revisions, images, versions of functions, and records. Nothing is removed that runs, or that\n\
        a rollback to one of the last releases needs.\n\n\
        Examples:\n  cargo xtask cleanup --dry-run\n  \
        cargo xtask cleanup --keep 5 --env staging --yes"
    )]
    Cleanup {
        /// How many releases a rollback can go to afterwards
        #[arg(long, default_value_t = 10, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
        keep: u16,
        /// Only print what would be removed
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        locking: Locking,
        #[command(flatten)]
        confirmed: Confirmation,
    },
    /// Give secrets their values, and rotate the signing key
    Secrets {
        #[command(subcommand)]
        verb: SecretsVerb,
    },
    /// What runs
    #[command(after_help = "Example:\n  cargo xtask status --format json | jq -r .base_url")]
    Status,
    /// The ledger, newest first
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Examples:\n  cargo xtask releases --last 5\n  cargo xtask releases show 12"
    )]
    Releases {
        #[command(subcommand)]
        verb: Option<ReleasesVerb>,
        /// How many
        #[arg(long, default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
        last: u64,
    },
    /// Print the log of a component
    #[command(
        after_help = "Examples:\n  cargo xtask logs NAME --since 5m --follow\n  \
        cargo xtask logs NAME --format json | jq .      one document a line, as they come"
    )]
    Logs {
        /// The component
        name: String,
        /// How far back, such as 90s, 15m or 2h
        #[arg(long, default_value = "15m", value_name = "TIME", value_parser = duration)]
        since: SignedDuration,
        /// Go on as lines come, until Ctrl-C
        #[arg(long, short)]
        follow: bool,
    },
}

/// These need an environment's file and no AWS.
#[derive(Debug, Subcommand)]
pub enum CheckoutVerb {
    /// Write a new service or function into this checkout
    New {
        #[command(subcommand)]
        verb: NewVerb,
    },
    /// Check the task definitions, without AWS
    #[command(
        after_help = "Examples:\n  cargo xtask lint --file my-definition.json definitions/\n  \
        cargo xtask lint --file described.json --launch-type EC2 --advice\n  \
        cargo xtask lint --explain T05"
    )]
    Lint(LintArguments),
    /// What CI runs
    #[command(after_help = "Examples:\n  cargo xtask test           all of it\n  \
        cargo xtask test --fast    before each commit: no Docker, no Terraform")]
    Test {
        /// Leave out what needs Docker or Terraform
        #[arg(long, conflicts_with_all = ["fix", "coverage", "fuzz"])]
        fast: bool,
        /// Also interrupt releases at 40 moments, and run faults under traffic, suites by others and the
        /// fuzzer: two hours more
        #[arg(long, conflicts_with_all = ["fast", "coverage", "fuzz"])]
        long: bool,
        /// Install what is missing on this machine first, so that no stage is skipped
        #[arg(long)]
        fix: bool,
        /// Measure the line coverage of services/ instead
        #[arg(long)]
        coverage: bool,
        /// Fuzz what parses untrusted input instead, for a minute or so many seconds each
        #[arg(long, value_name = "SECS", num_args = 0..=1, default_missing_value = "60", conflicts_with_all = ["coverage", "fix"])]
        fuzz: Option<u32>,
    },
    /// Measure sizes, starts, requests, admission and releases
    #[command(after_help = "Examples:\n  cargo xtask bench\n  \
        cargo xtask bench admission release    without a build for production")]
    Bench {
        /// What is measured; all of it if left out
        #[arg(value_enum, value_name = "PART")]
        parts: Vec<BenchPart>,
    },
}

/// These need this machine alone.
#[derive(Debug, Subcommand)]
pub enum MachineVerb {
    /// The local AWS
    Local {
        #[command(subcommand)]
        verb: LocalVerb,
    },
    /// What is missing on this machine, and the command that fixes it
    Doctor {
        /// Run these commands
        #[arg(long)]
        fix: bool,
    },
    /// Print a script that completes commands, flags and names in a shell
    #[command(
        after_help = "It completes `cargo xtask ...`, beside cargo's own completion. Once:\n  \
            bash    cargo xtask completions bash > ~/.cargo-xtask.bash\n  \
            \u{20}       echo 'source ~/.cargo-xtask.bash' >> ~/.bashrc\n  \
            zsh     cargo xtask completions zsh > ~/.cargo-xtask.zsh\n  \
            \u{20}       echo 'source ~/.cargo-xtask.zsh' >> ~/.zshrc      # after compinit\n  \
            fish    cargo xtask completions fish > ~/.config/fish/conf.d/cargo-xtask.fish"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub struct LintArguments {
    /// Services; all of them if left out
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Definitions to check instead of ours: files, or folders of them
    #[arg(long = "file", value_name = "PATH", num_args = 1.., conflicts_with = "names")]
    pub files: Vec<PathBuf>,
    #[arg(
        long,
        value_name = "TYPE",
        requires = "files",
        help = "What runs them, where they do not say it: FARGATE, EC2, EXTERNAL or MANAGED_INSTANCES"
    )]
    pub launch_type: Option<LaunchType>,
    /// Check against an image as well, that of the first container and of all that have the same: a
    /// layout of OCI, or its archive
    #[arg(long, value_name = "PATH")]
    pub oci: Option<PathBuf>,
    /// The same, with an image that Docker has, and for the containers that name it so
    #[arg(long, value_name = "REF", conflicts_with = "oci")]
    pub image: Option<String>,
    /// Tell good practice too, finding by finding
    #[arg(long)]
    pub advice: bool,
    /// Show how what needs no thought would be mended in these files; with --yes write it
    #[arg(long, requires = "files")]
    pub fix: bool,
    /// Write what --fix shows
    #[arg(long, requires = "fix")]
    pub yes: bool,
    /// Print the page of a rule: what it finds, why, and an example
    #[arg(long, value_name = "CODE", conflicts_with_all = ["names", "files"])]
    pub explain: Option<String>,
}

#[derive(Debug, Args)]
pub struct BuildArguments {
    #[command(flatten)]
    pub names: Names,
    /// Push the images that the registry lacks
    #[arg(long)]
    pub push: bool,
    /// Keep what was built in a folder, for deploy --artifacts
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub compilation: Compilation,
}

#[derive(Debug, Args)]
pub struct DeployArguments {
    #[command(flatten)]
    pub names: Names,
    /// Stop before anything outside this machine is changed
    #[arg(long)]
    pub dry_run: bool,
    /// Lift a hold of the environment first
    #[arg(long, conflicts_with = "dry_run")]
    pub lift_hold: bool,
    /// Compile nothing: take what build --out left in this folder
    #[arg(long, value_name = "DIR", value_parser = existing_folder, conflicts_with = "builder")]
    pub artifacts: Option<PathBuf>,
    #[command(flatten)]
    pub compilation: Compilation,
    #[command(flatten)]
    pub locking: Locking,
    #[command(flatten)]
    pub confirmed: Confirmation,
}

#[derive(Debug, Subcommand)]
pub enum NewVerb {
    /// Write a service: its crate, its template and its entry in services/catalog.json
    #[command(
        after_help = "It has one route, GET /NAME, and tests that pass. A name that is taken is refused,\n\
        and nothing is changed then.\n\n\
        Example:\n  cargo xtask new service echo && cargo xtask deploy"
    )]
    Service {
        /// At most 15 characters of a-z, 0-9 and inner hyphens
        #[arg(value_name = "NAME")]
        new_name: String,
    },
    /// Write a Lambda function: its crate and its entry in services/catalog.json
    #[command(
        after_help = "It answers one kind of request, and its entry has a check of that. A name that is\n\
        taken is refused, and nothing is changed then.\n\n\
        Example:\n  cargo xtask new function limits && cargo xtask deploy"
    )]
    Function {
        /// At most 15 characters of a-z, 0-9 and inner hyphens
        #[arg(value_name = "NAME")]
        new_name: String,
    },
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub enum ReleasesVerb {
    /// One release: who, why, what it changed, and why it failed
    Show {
        /// Its number
        #[arg(value_name = "RELEASE")]
        release: u64,
    },
}

#[derive(Debug, Subcommand)]
pub enum SecretsVerb {
    /// Give every secret that has no value one
    #[command(
        after_help = "The signing pair is random. The rest is asked for at a terminal, or read from stdin as JSON:\n  \
        echo '{\"NAME\": {\"database_url\": \"...\", \"api_key\": \"...\"}, \"OTHER\": {...}}' |\n    \
        cargo xtask secrets init --env staging --yes"
    )]
    Init {
        #[command(flatten)]
        confirmed: Confirmation,
    },
    /// Give the services a new signing pair; every call goes on being answered
    #[command(
        after_help = "Where one service calls another it takes three times as long as services take to read their\n\
        secret again (SECRET_REFRESH_MS), and once more for each further call in a chain of calls.\n\
        Safe to run again: the next run resumes where one ended early, also where a service was left\n\
        with a key that one which it calls does not have. Two at once do no harm.\n\n\
        Example:\n  cargo xtask secrets rotate --env production --yes"
    )]
    Rotate {
        #[command(flatten)]
        locking: Locking,
        #[command(flatten)]
        confirmed: Confirmation,
    },
}

#[derive(Debug, Clone, Subcommand)]
pub enum LocalVerb {
    /// Start it, if it does not run
    Up,
    /// Stop it; its state is kept
    Down,
    /// Stop it and forget its state
    Reset,
    /// Run a command whose calls to the local AWS fail on purpose
    #[command(
        after_help = "Calls are throttled, fail, are slow, lose their answers, or are made later. The same seed\n\
        spoils the same calls. Only the command itself is affected, Terraform is not, and nothing\n\
        of it stays.\n\n\
        Examples:\n  cargo xtask local rehearse -- deploy\n  \
        cargo xtask local rehearse --seed 7 --rate 0.2 --stale 0.3 -- rollback\n  \
        cargo xtask local rehearse --rate 0 --stale 0 --blackout 45s -- deploy"
    )]
    Rehearse(RehearseArguments),
}

#[derive(Debug, Clone, Args)]
pub struct RehearseArguments {
    /// What the faults are drawn from; random, if left out
    #[arg(long)]
    pub seed: Option<u64>,
    /// The share of the calls that fail or are slow
    #[arg(long, default_value_t = 0.05, value_name = "SHARE", value_parser = share)]
    pub rate: f64,
    /// The share of the reads that get an earlier answer
    #[arg(long, default_value_t = 0.05, value_name = "SHARE", value_parser = share)]
    pub stale: f64,
    /// Take the network away for this long, from a moment after the first change on
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub blackout: Option<SignedDuration>,
    /// The command, with its own flags
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok();
    share
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "write a number from 0 to 1".to_owned())
}

/// `90s`, `15m`, `2h`, `1d`.
fn duration(text: &str) -> Result<SignedDuration, String> {
    let unit = text.chars().last().unwrap_or_default();
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => 0,
    };
    let count = text.strip_suffix(unit).and_then(|it| it.parse().ok());
    let seconds = count.and_then(|count: i64| count.checked_mul(seconds));
    seconds
        .filter(|seconds| *seconds > 0)
        .map(SignedDuration::from_secs)
        .ok_or_else(|| "write 90s, 15m, 2h or 1d".to_owned())
}

#[derive(Debug, Args)]
pub struct Names {
    /// Components of services/catalog.json; all of them if left out
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub struct Compilation {
    /// Who compiles: host, docker (by services/Dockerfile), or docker=IMAGE (on that base)
    #[arg(long, default_value = "host", value_name = "BUILDER")]
    pub builder: BuildMethod,
}

fn existing_folder(text: &str) -> Result<PathBuf, String> {
    let folder = PathBuf::from(text);
    if folder.is_dir() {
        return Ok(folder);
    }
    Err("there is no such folder".to_owned())
}

#[derive(Debug, Clone, Copy, Args)]
pub struct Locking {
    /// Wait this long for a release that is in progress, such as 15m; 0 if left out
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub lock_wait: Option<SignedDuration>,
    /// Take over from a release that is in progress: its run ends with 23, and changes no more
    #[arg(long, conflicts_with = "lock_wait")]
    pub take_over: bool,
}

impl From<Locking> for IfLocked {
    fn from(flags: Locking) -> Self {
        Self {
            wait: flags.lock_wait.unwrap_or_default().unsigned_abs(),
            take_over: flags.take_over,
        }
    }
}

#[derive(Debug, Clone, Copy, Args)]
pub struct Confirmation {
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// The format that a command line asks for, whatever else it says.
pub fn format_of(arguments: impl IntoIterator<Item = OsString>) -> Format {
    let words = arguments
        .into_iter()
        .map(|word| word.to_string_lossy().into_owned());
    let mut words = words.take_while(|word| word != "--");
    let mut format = Format::Human;
    while let Some(word) = words.next() {
        let value = match word.strip_prefix("--format") {
            Some("") => words.next(),
            Some(value) => value.strip_prefix('=').map(str::to_owned),
            None => None,
        };
        let known = value.and_then(|value| Format::from_str(&value, false).ok());
        format = known.unwrap_or(format);
    }
    format
}

impl Cli {
    /// The command that is rehearsed. What is said of the output is said of the whole.
    pub fn rehearsed(self, words: &[String]) -> Result<Self, String> {
        let words = ["cargo xtask"]
            .into_iter()
            .chain(words.iter().map(String::as_str));
        let inner = Self::try_parse_from(words).map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        })?;
        let Global {
            env,
            format,
            quiet,
            verbose,
        } = inner.global;
        if format != Format::Human || quiet || verbose {
            return Err("write --format, --quiet and --verbose before the `--`".to_owned());
        }
        if !matches!(inner.verb, Verb::Deploy(_) | Verb::Deployed(_)) {
            return Err("only a command that calls AWS can be rehearsed".to_owned());
        }
        let global = Global {
            env: env.or(self.global.env),
            ..self.global
        };
        Ok(Self {
            global,
            verb: inner.verb,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_positive_count_and_a_unit() {
        assert_eq!(duration("15m").unwrap(), SignedDuration::from_mins(15));
        assert_eq!(duration("2h").unwrap(), SignedDuration::from_hours(2));
        for nonsense in [
            "",
            "m",
            "15",
            "-5m",
            "5w",
            "0s",
            "1.5h",
            "99999999999999999d",
        ] {
            duration(nonsense).unwrap_err();
        }
    }

    #[test]
    fn only_a_command_that_calls_aws_is_rehearsed() {
        let outer = || Cli::try_parse_from(["cargo xtask", "status", "--quiet"]).unwrap();
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let deploy = outer().rehearsed(&words("deploy --yes")).unwrap();
        assert!(deploy.global.quiet && matches!(deploy.verb, Verb::Deploy(_)));
        for (line, expected) in [
            ("depoy", "unrecognized subcommand 'depoy'"),
            ("test --fast", "only a command that calls AWS"),
            ("deploy --format json", "before the `--`"),
        ] {
            let error = outer().rehearsed(&words(line)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_format_is_found_in_a_command_line_that_makes_no_sense() {
        for (line, format) in [
            ("depoy --format json", Format::Json),
            ("--format=json --nope", Format::Json),
            ("--nope --format github plan", Format::Github),
            ("plan --format yaml", Format::Human),
            ("plan --format", Format::Human),
            ("plan --formats json", Format::Human),
            ("plan -- --format json", Format::Human),
        ] {
            let words = line.split(' ').map(OsString::from);
            assert_eq!(format_of(words), format, "{line}");
        }
    }
}
