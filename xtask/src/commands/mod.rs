//! One file a verb; each reads as the story of that verb.

pub mod build;
pub mod confirm;
pub mod logs;
pub mod releases;
