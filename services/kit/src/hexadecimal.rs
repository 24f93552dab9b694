//! Bytes as lower-case hexadecimal, written straight into an array: the formatter takes several times
//! as long, and every request has some of them on its way.

/// Two digits for each byte, as many as there is room for.
pub(crate) fn hexadecimal<const DIGITS: usize>(bytes: &[u8]) -> [u8; DIGITS] {
    let mut text = [b'0'; DIGITS];
    for (digits, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *digits = [byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]);
    }
    text
}
