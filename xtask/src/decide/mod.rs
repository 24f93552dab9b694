//! Pure decisions: values in, values out. No I/O, no clock, no async.

pub mod acceptance;
pub mod artifact;
pub mod definition;
pub mod environment;
pub mod machine;
pub mod outputs;
pub mod release;
