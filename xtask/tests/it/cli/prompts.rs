//! Questions at a terminal, and values from a pipe: a signal ends them at once, and nothing was
//! changed. AWS is a fake that knows one environment whose secrets have no values.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::program::{Bare, stderr};

const OUTPUTS: &str = include_str!("../../../src/decide/outputs.local.json");

/// The calls of our AWS, and what came with them.
#[derive(Clone, Default)]
struct Aws(Arc<Mutex<Vec<(String, Value)>>>);

impl Aws {
    /// Answers at a port of this machine.
    async fn start(&self) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let aws = self.clone();
        let answer = async move |headers: HeaderMap, body: String| aws.answer(&headers, &body);
        let router = Router::new().fallback(answer);
        drop(tokio::spawn(async { axum::serve(listener, router).await }));
        port
    }

    fn answer(&self, headers: &HeaderMap, body: &str) -> String {
        let target = headers.get("x-amz-target").map(|it| it.to_str().unwrap());
        let Some((_, target)) = target.and_then(|target| target.split_once('.')) else {
            return "<GetCallerIdentityResponse><GetCallerIdentityResult>\
                    <Account>000000000000</Account>\
                    </GetCallerIdentityResult></GetCallerIdentityResponse>"
                .to_owned();
        };
        let asked: Value = serde_json::from_str(body).unwrap();
        let answer = match target {
            "GetItem" => {
                let mut outputs: Value = serde_json::from_str(OUTPUTS).unwrap();
                outputs["environment"] = json!("far");
                json!({ "Item": { "document": { "S": outputs.to_string() } } })
            }
            _ => json!({ "ARN": asked["SecretId"], "Name": "demo" }),
        };
        self.0.lock().unwrap().push((target.to_owned(), asked));
        answer.to_string()
    }

    /// What came with the calls of a name.
    fn calls(&self, name: &str) -> Vec<Value> {
        let calls = self.0.lock().unwrap();
        let of_name = calls.iter().filter(|(called, _)| called == name);
        of_name.map(|(_, asked)| asked.clone()).collect()
    }
}

/// `secrets init` where there is something to be asked.
async fn secrets_init(name: &str, arguments: &[&str]) -> (Aws, Command) {
    let aws = Aws::default();
    let bare = Bare::new(name);
    bare.add_environment("far", aws.start().await);
    let words = [&["secrets", "init", "--env", "far"], arguments].concat();
    let mut command = bare.xtask(&words);
    command
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "of-no-one");
    (aws, command)
}

/// Runs a command at a terminal: waits for a text, types something, and so on.
#[expect(
    clippy::disallowed_methods,
    reason = "what gives the program its terminal"
)]
pub(super) async fn at_terminal(command: &Command, steps: &[(&str, &str)]) -> Value {
    let mut player = Command::new("python3");
    player.args(["-c", include_str!("terminal.py"), &json!(steps).to_string()]);
    player.arg(command.get_program()).args(command.get_args());
    player
        .current_dir(command.get_current_dir().unwrap())
        .env_clear();
    // Python needs a PATH, which a machine without a tool has not.
    player.env("PATH", std::env::var("PATH").unwrap_or_default());
    let variables = command.get_envs();
    let variables = variables.filter_map(|(name, value)| Some((name, value?)));
    player.envs(variables.filter(|(_, value)| !value.is_empty()));
    let output = tokio::task::spawn_blocking(move || player.output()).await;
    let output = output.unwrap().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)))
}

#[track_caller]
fn is_interrupted(aws: &Aws, ended: &Value) {
    assert_eq!(ended["exit_code"], 130, "{ended:#}");
    assert_eq!(ended["left_as_it_was"], true, "{ended:#}");
    let shown = ended["shown"].as_str().unwrap();
    assert!(shown.ends_with("\r\nerror: interrupted\r\n"), "{ended:#}");
    assert_eq!(aws.calls("PutSecretValue"), Vec::<Value>::new());
}

#[tokio::test]
async fn ctrl_c_ends_a_question_whose_answer_is_not_shown() {
    for key in ["\u{3}", "SIGTERM", "half an answer\u{3}"] {
        let (aws, command) = secrets_init("hidden", &[]).await;
        let ended = at_terminal(&command, &[("(not shown): ", key)]).await;
        is_interrupted(&aws, &ended);
        assert_eq!(ended["echoes"], json!([false]), "{ended:#}");
        assert!(
            !ended["shown"].as_str().unwrap().contains("half"),
            "{ended:#}"
        );
    }
}

const VALUES: [(&str, &str); 4] = [
    ("database_url of axon (not shown): ", "hush-1\r"),
    ("api_key of axon (not shown): ", "hush-2\r"),
    ("database_url of orbit (not shown): ", "hush-3\r"),
    ("api_key of orbit (not shown): ", "hush-4\r"),
];

#[tokio::test]
async fn ctrl_c_ends_a_question_for_a_yes() {
    for key in ["\u{3}", "SIGTERM", "y\u{3}"] {
        let (aws, command) = secrets_init("question", &[]).await;
        let steps = [&VALUES[..], &[("[y/N] ", key)]].concat();
        let ended = at_terminal(&command, &steps).await;
        is_interrupted(&aws, &ended);
        assert_eq!(ended["echoes"], json!([false, false, false, false, true]));
        assert!(
            !ended["shown"].as_str().unwrap().contains("hush"),
            "{ended:#}"
        );
    }
}

#[tokio::test]
async fn what_was_answered_is_done() {
    let (aws, command) = secrets_init("answered", &[]).await;
    let steps = [&VALUES[..], &[("[y/N] ", "y\r")]].concat();
    let ended = at_terminal(&command, &steps).await;
    assert_eq!(ended["exit_code"], 0, "{ended:#}");
    assert_eq!(ended["left_as_it_was"], true, "{ended:#}");
    let put = aws.calls("PutSecretValue");
    let orbit: Value = serde_json::from_str(put[1]["SecretString"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&orbit["database_url"], &orbit["api_key"]),
        (&json!("hush-3"), &json!("hush-4"))
    );
}

#[tokio::test]
async fn a_value_that_is_empty_is_refused() {
    for nothing in ["\r", "\u{4}"] {
        let (aws, command) = secrets_init("nothing", &[]).await;
        let ended = at_terminal(&command, &[VALUES[0], (VALUES[1].0, nothing)]).await;
        assert_eq!(ended["exit_code"], 2, "{ended:#}");
        assert_eq!(aws.calls("PutSecretValue"), Vec::<Value>::new());
        let shown = ended["shown"].as_str().unwrap();
        assert!(
            shown.contains("\r\nerror: api_key of axon is empty"),
            "{ended:#}"
        );
    }
}

#[tokio::test]
async fn in_json_nobody_is_asked() {
    let (_, command) = secrets_init("unasked", &["--format", "json"]).await;
    let ended = at_terminal(&command, &[]).await;
    assert_eq!(ended["exit_code"], 2, "{ended:#}");
    let lines = ended["shown"].as_str().unwrap().lines();
    for line in lines {
        serde_json::from_str::<Value>(line).unwrap();
    }
}

#[tokio::test]
async fn a_pipe_that_never_ends_is_not_waited_for_after_a_signal() {
    let (aws, mut command) = secrets_init("pipe", &["--yes"]).await;
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    // Its stdin is held open as long as this value is.
    let mut child = command.spawn().unwrap();
    let bound = Duration::from_mins(1);
    let read = async {
        while aws.calls("DescribeSecret").len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(bound, read).await.unwrap();
    let process = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(process, Signal::TERM).unwrap();
    let end = async {
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ended = tokio::time::timeout(bound, end).await;
    drop(child.kill());
    assert_eq!(ended.unwrap(), Some(130));
    assert_eq!(aws.calls("PutSecretValue"), Vec::<Value>::new());
}

#[tokio::test]
async fn values_from_a_pipe_may_begin_with_a_byte_order_mark() {
    let (aws, mut command) = secrets_init("piped", &["--yes"]).await;
    let values = json!({ "database_url": "hush", "api_key": "hush" });
    let text = format!("\u{feff}{}\r\n", json!({ "axon": values, "orbit": values }));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ended = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    });
    let output = ended.await.unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(aws.calls("PutSecretValue").len(), 2);
}
