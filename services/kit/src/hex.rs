//! Lower-case hexadecimal. Encoding writes straight into an array: a formatter takes several times
//! as long, and every request encodes its ids and hashes.

/// Two digits for each byte, up to `DIGITS`; zeros where there are fewer bytes.
pub(crate) fn encode<const DIGITS: usize>(bytes: &[u8]) -> [u8; DIGITS] {
    let mut text = [b'0'; DIGITS];
    for (digits, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *digits = [byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]);
    }
    text
}

/// Exactly `BYTES` bytes. Upper-case digits are refused: neither AWS Signature Version 4 nor W3C
/// trace context allows them.
pub(crate) fn decode<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != BYTES || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = (digit(*high)? << 4) | digit(*low)?;
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_a_round_trip() {
        let bytes = [0x00, 0x0f, 0xa5, 0xff];
        assert_eq!(&encode::<8>(&bytes), b"000fa5ff");
        assert_eq!(decode("000fa5ff"), Some(bytes));
    }

    #[test]
    fn only_lower_case_digits_of_the_right_number_are_decoded() {
        for text in ["", "0", "00f", "0000", "0F", "+f", "0g", "é"] {
            assert_eq!(decode::<1>(text), None, "{text:?}");
        }
    }
}
