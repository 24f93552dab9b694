//! xtask at its boundary: the stories of its commands in a world in memory, the manners of the
//! real binary, and the rules that this repository keeps.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cli;
mod documents;
mod events;
mod infra;
mod model;
mod network;
mod pipelines;
mod rules;
mod simulation;
mod snapshot;
mod stories;
mod world;
