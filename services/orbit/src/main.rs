//! The dispatcher.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::program::main(
        orbit::SERVICE,
        orbit::Settings::read,
        async |settings, dependencies| orbit::app(&settings, &dependencies).await,
    )
}
