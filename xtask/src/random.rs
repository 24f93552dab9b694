//! Randomness of the operating system.

use anyhow::{Result, anyhow};

/// So many random bytes, in hexadecimal.
pub fn hex(bytes: usize) -> Result<String> {
    let mut buffer = vec![0; bytes];
    getrandom::fill(&mut buffer).map_err(|error| anyhow!("no randomness: {error}"))?;
    Ok(hex::encode(buffer))
}

/// A random seed, short enough to be typed.
pub fn seed() -> Result<u64> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("no randomness: {error}"))?;
    Ok(u32::from_le_bytes(bytes).into())
}
