//! The kit at its boundary: the two stacks, logs, settings.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod admission;
mod bad_input;
mod bodies;
mod captured_logs;
mod closing;
mod correlation;
mod hosts;
mod http2;
mod inbound;
mod logs;
mod metrics;
mod otlp;
mod outbound;
mod overload;
mod raw_requests;
mod readers;
mod served;
mod server;
mod settings;
mod simulated_load;
mod test_app;

const SERVICE: service_kit::ServiceIdentity = service_kit::ServiceIdentity {
    name: "tested",
    version: "1.2.3",
};
