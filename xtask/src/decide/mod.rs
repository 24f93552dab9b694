//! Pure decisions: values in, values out. No I/O, no clock, no async.

pub mod archive;
pub mod byte_order_mark;
pub mod checks;
pub mod compilation;
pub mod context;
pub mod definition;
pub mod diff;
pub mod environment;
pub mod history;
pub mod image;
pub mod lint;
pub mod plan;
pub mod provenance;
pub mod proxy;
pub mod readiness;
pub mod referrer;
pub mod release;
pub mod render;
pub mod rollout;
pub mod rotation;
pub mod sbom;
pub mod scan;
pub mod site;
