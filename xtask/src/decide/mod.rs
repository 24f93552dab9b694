//! Pure decisions: values in, values out. No I/O, no clock, no async.
//!
//! Each module is a room with files of its own. A room imports the rooms named here and no other:
//!
//! - `environment`: none.
//! - `outputs`: `environment`.
//! - `artifact`: `environment`, `outputs`.
//! - `definition`: `outputs`, and of `artifact` only `types`.
//! - `release`: `artifact`, `definition`, `outputs`.
//! - `acceptance`: of `release` only `snapshot`.
//! - `machine`: none.

pub mod acceptance;
pub mod artifact;
pub mod definition;
pub mod environment;
pub mod machine;
pub mod outputs;
pub mod release;
