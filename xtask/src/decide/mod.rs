//! Pure decisions: values in, values out. No I/O, no clock, no async.

pub mod definition;
pub mod environment;
pub mod history;
pub mod image;
pub mod plan;
pub mod release;
pub mod rollout;
pub mod site;
