//! The program of scout.

use std::process::ExitCode;

use scout::{SERVICE, Settings, app};

fn main() -> ExitCode {
    service_kit::program::main(SERVICE, Settings::read, async |settings, dependencies| {
        Ok(app(&settings, &dependencies)?)
    })
}
