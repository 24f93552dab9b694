//! Each command, run with the fakes of `world`.

mod bench;
mod build;
mod catalog;
mod cleanup;
mod credentials;
mod deploy;
mod hold;
mod lint;
mod looking;
mod machine;
mod many;
mod rollback;
mod rotation;
mod secrets;
mod stop;
mod suite;
mod verify;
