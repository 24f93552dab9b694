//! The Lambda function: gets each request from the runtime API, decides, logs and answers. An
//! invalid request is a function error of type `InvalidRequest`.

use std::io::Write;
use std::process::ExitCode;

use governance::decision::{DecisionResponse, decide};
use governance::log;
use governance::policies::Policies;
use governance::question::Question;
use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let policies = match Policies::built_in() {
        Ok(policies) => policies,
        Err(faults) => {
            write(&log::invalid_policies(now(), &faults));
            return ExitCode::FAILURE;
        }
    };
    let policies = &policies;
    let handler = service_fn(|event| async move { answer(policies, &event) });
    match lambda_runtime::run(handler).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            write(&log::ended(now(), &error.to_string()));
            ExitCode::FAILURE
        }
    }
}

fn answer(policies: &Policies, event: &LambdaEvent<Value>) -> Result<DecisionResponse, Diagnostic> {
    let invocation = &event.context.request_id;
    match Question::parse(&event.payload) {
        Ok(question) => {
            let decision = decide(policies, &question);
            write(&log::decided(now(), invocation, &question, &decision));
            Ok(decision.answer())
        }
        Err(invalid) => {
            write(&log::refused(now(), invocation, &invalid));
            Err(Diagnostic {
                error_type: "InvalidRequest".to_owned(),
                error_message: invalid.to_string(),
            })
        }
    }
}

/// A line that cannot be written is dropped: the answer does not depend on the log.
fn write(line: &str) {
    writeln!(std::io::stdout(), "{line}").ok();
}

#[expect(
    clippy::disallowed_methods,
    reason = "where the program meets the world's clock"
)]
fn now() -> Timestamp {
    Timestamp::now()
}
