//! The reasoning service.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::program::main(
        axon::SERVICE,
        axon::Settings::read,
        async |settings, parts| Ok(axon::app(&settings, &parts)?),
    )
}
