//! Each command as a story in a world in memory.

mod bench;
mod credentials;
mod deploy;
mod looking;
mod machine;
mod rollback;
mod rotation;
mod secrets;
mod stop;
mod suite;
mod verify;
