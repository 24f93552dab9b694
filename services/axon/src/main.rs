//! The reasoning service.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::program::main(
        axon::SERVICE,
        axon::Settings::read,
        async |settings, dependencies| Ok(axon::app(&settings, &dependencies)?),
    )
}
