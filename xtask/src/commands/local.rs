//! The local AWS: up, down, and as if it had never been.

use anyhow::Result;

use super::doctor::require_local;
use crate::ports::{Began, LocalAws, Machine};
use crate::report::{MachineEvent, Report};

pub async fn up(machine: &dyn Machine, report: &Report, aws: &dyn LocalAws) -> Result<()> {
    if !aws.is_up().await {
        require_local(machine).await?;
    }
    let began = aws.up().await?;
    if began == Began::Started {
        report.emit(MachineEvent::LocalSettling);
        if !aws.settled().await {
            report.emit(MachineEvent::LocalUnsettled);
        }
    }
    report.emit(MachineEvent::LocalUp {
        endpoint: aws.endpoint(),
        started: began == Began::Started,
    });
    Ok(())
}

pub async fn down(report: &Report, aws: &dyn LocalAws) -> Result<()> {
    aws.down().await?;
    report.emit(MachineEvent::LocalDown { state_kept: true });
    Ok(())
}

pub async fn reset(report: &Report, aws: &dyn LocalAws) -> Result<()> {
    aws.reset().await?;
    report.emit(MachineEvent::LocalDown { state_kept: false });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::decide::machine::readiness::facts::{
        EngineStatus, FixMeans, MachineFacts, Platform, PythonStatus, ToolStatus,
    };
    use crate::failure;
    use crate::ports::Depth;
    use crate::report::Format;
    use crate::report::testing::captured;

    struct Bare;

    #[async_trait]
    impl Machine for Bare {
        async fn inspect(&self, _: Depth) -> MachineFacts {
            MachineFacts {
                platform: Platform::Linux,
                engine: EngineStatus::Missing,
                python: PythonStatus::Missing,
                infrastructure: ToolStatus::Missing,
                git: false,
                rust: false,
                means: FixMeans::default(),
            }
        }

        async fn run(&self, command: &[String]) -> Result<()> {
            panic!("nothing asked for {command:?}");
        }
    }

    struct Fake {
        up: bool,
        calls: Mutex<Vec<&'static str>>,
    }

    impl Fake {
        fn note(&self, call: &'static str) {
            self.calls.lock().unwrap().push(call);
        }
    }

    #[async_trait]
    impl LocalAws for Fake {
        fn endpoint(&self) -> String {
            "http://127.0.0.1:4577".into()
        }

        async fn is_up(&self) -> bool {
            self.up
        }

        async fn up(&self) -> Result<Began> {
            self.note("up");
            Ok(if self.up {
                Began::Running
            } else {
                Began::Started
            })
        }

        async fn down(&self) -> Result<()> {
            self.note("down");
            Ok(())
        }

        async fn reset(&self) -> Result<()> {
            self.note("reset");
            Ok(())
        }

        async fn settled(&self) -> bool {
            self.note("settled");
            true
        }
    }

    #[tokio::test]
    async fn nothing_is_started_on_a_machine_that_cannot_run_it() {
        let (report, _, _) = captured(Format::Human);
        let aws = Fake {
            up: false,
            calls: Mutex::default(),
        };
        let error = up(&Bare, &report, &aws).await.unwrap_err();
        assert_eq!(failure::exit_code(&error), 12);
        assert!(aws.calls.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_runs_is_neither_examined_nor_waited_for() {
        let (report, _, talk) = captured(Format::Human);
        let aws = Fake {
            up: true,
            calls: Mutex::default(),
        };
        up(&Bare, &report, &aws).await.unwrap();
        assert_eq!(*aws.calls.lock().unwrap(), ["up"]);
        assert_eq!(talk.text(), "local       is up at http://127.0.0.1:4577\n");
    }
}
