//! Settings from the environment. Everything is read before anything is judged: all faults are
//! reported at once, before a port is bound. Reading touches nothing: variables and files come
//! from what the caller passes in.

pub(crate) mod base;
pub(crate) mod reader;

pub use base::{Base, Metrics, Signatures};
pub use reader::{Environment, Fault, Reader};
