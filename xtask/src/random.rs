//! Randomness of the operating system.

use anyhow::{Result, anyhow};

/// So many random bytes, in hexadecimal.
pub fn hex(bytes: usize) -> Result<String> {
    let mut buffer = vec![0; bytes];
    getrandom::fill(&mut buffer).map_err(|error| anyhow!("no randomness: {error}"))?;
    Ok(hex::encode(buffer))
}
