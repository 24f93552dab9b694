//! Secrets in a program: the forms that well-known ones have, and values that the machine holds.
//! A leak is told by its name and its offset, never by its value.

use std::collections::BTreeMap;
use std::fmt;

/// Where a secret begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    pub what: String,
    /// In bytes from the program's beginning.
    pub offset: usize,
}

impl fmt::Display for Leak {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at offset {}", self.what, self.offset)
    }
}

/// A secret that is known by its form: how it begins, and how many of which characters follow.
struct Pattern {
    what: &'static str,
    prefix: &'static [u8],
    follows: fn(u8) -> bool,
    /// At least so many.
    count: usize,
}

/// By their issuers' documentation. A prefix alone is none: programs that parse such components hold it.
const PATTERNS: [Pattern; 16] = [
    pattern("an AWS access key", b"AKIA", is_upper_or_digit, 16),
    pattern("a temporary AWS access key", b"ASIA", is_upper_or_digit, 16),
    pattern("a private key", b"PRIVATE KEY-----", is_base64_line, 64),
    pattern("a GitHub token", b"ghp_", is_word, 36),
    pattern("a GitHub token", b"gho_", is_word, 36),
    pattern("a GitHub token", b"ghu_", is_word, 36),
    pattern("a GitHub token", b"ghs_", is_word, 36),
    pattern("a GitHub token", b"ghr_", is_word, 36),
    pattern("a GitHub token", b"github_pat_", is_word, 59),
    pattern("a GitLab token", b"glpat-", is_word, 20),
    pattern("a Slack token", b"xoxb-", is_word, 24),
    pattern("a Slack token", b"xoxp-", is_word, 24),
    pattern("a Google key", b"AIza", is_word, 35),
    pattern("a Stripe key", b"sk_live_", is_word, 24),
    pattern("a crates.io token", b"cio", is_alphanumeric, 32),
    pattern("a signed token", b"eyJhbGciOi", is_token, 60),
];

const fn pattern(
    what: &'static str,
    prefix: &'static [u8],
    follows: fn(u8) -> bool,
    count: usize,
) -> Pattern {
    Pattern {
        what,
        prefix,
        follows,
        count,
    }
}

/// Words in the name of a variable that holds a secret.
const SECRET_WORDS: [&str; 5] = ["SECRET", "TOKEN", "PASSWORD", "PASSWD", "KEY"];
/// A shorter value is found in every program by chance, or is none that anybody could keep.
const VALUE_BYTES_MIN: usize = 12;

/// The variables of an environment whose values must not be found in anything that is released.
pub fn secret_variables(variables: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    let is_secret = |name: &str| {
        let name = name.to_uppercase();
        SECRET_WORDS.iter().any(|word| name.contains(word))
    };
    variables
        .iter()
        .filter(|(name, value)| is_secret(name) && value.len() >= VALUE_BYTES_MIN)
        // The name of a file is no secret, though what is in it may be one.
        .filter(|(_, value)| !value.starts_with('/'))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

/// Every secret in a program. One pass over it, whatever the number of patterns.
pub fn scan(program: &[u8], variables: &BTreeMap<&str, &str>) -> Vec<Leak> {
    let mut begins = [false; 256];
    for pattern in &PATTERNS {
        begins[usize::from(pattern.prefix[0])] = true;
    }
    for value in variables.values() {
        begins[usize::from(value.as_bytes()[0])] = true;
    }
    let mut leaks = Vec::new();
    for (offset, byte) in program.iter().enumerate() {
        if !begins[usize::from(*byte)] {
            continue;
        }
        let rest = &program[offset..];
        let before = offset.checked_sub(1).map(|before| program[before]);
        let known = PATTERNS
            .iter()
            .find(|pattern| pattern.matches(before, rest));
        let of_pattern = known.map(|pattern| pattern.what.to_owned());
        let held = variables
            .iter()
            .find(|(_, value)| rest.starts_with(value.as_bytes()));
        let of_variable = held.map(|(name, _)| format!("the value of {name}"));
        let found = of_variable.or(of_pattern);
        leaks.extend(found.map(|what| Leak { what, offset }));
    }
    leaks
}

impl Pattern {
    fn matches(&self, before: Option<u8>, rest: &[u8]) -> bool {
        let Some(tail) = rest.strip_prefix(self.prefix) else {
            return false;
        };
        // In the middle of a longer word it is a part of that word.
        let begins_word = !before.is_some_and(is_alphanumeric);
        let following = tail.iter().take_while(|byte| (self.follows)(**byte));
        begins_word && following.take(self.count).count() == self.count
    }
}

fn is_upper_or_digit(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn is_word(byte: u8) -> bool {
    is_alphanumeric(byte) || matches!(byte, b'_' | b'-')
}

fn is_token(byte: u8) -> bool {
    is_word(byte) || byte == b'.'
}

fn is_base64_line(byte: u8) -> bool {
    is_alphanumeric(byte) || matches!(byte, b'+' | b'/' | b'=' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Between other bytes, as in a program.
    fn found(secret: &str) -> Vec<String> {
        let program = format!("\0\u{7f}ELF {secret}\0more");
        let leaks = scan(program.as_bytes(), &BTreeMap::new());
        leaks.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn secrets_are_known_by_their_form_and_told_by_name_and_offset() {
        // Each in two parts, so that no scan of this repository takes it for a real one.
        let key = ["AKIA", "Q7JXN2K4P6R8T0V2"].concat();
        assert_eq!(found(&key), ["an AWS access key at offset 6"]);
        let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n".repeat(3);
        let key = ["-----BEGIN RSA PRIV", "ATE KEY-----\n", &body].concat();
        assert_eq!(found(&key), ["a private key at offset 21"]);
        let token = ["ghp", "_", &"a1B2".repeat(9)].concat();
        assert_eq!(found(&token), ["a GitHub token at offset 6"]);
    }

    #[test]
    fn what_only_looks_for_secrets_is_none() {
        for text in [
            "-----BEGIN PRIVATE KEY----------END PRIVATE KEY-----",
            "AKIA",
            "expected ghp_ or github_pat_",
            "AKIAQ7JXN2K4",
            "XAKIAQ7JXN2K4P6R8T0V2",
            "eyJhbGciOiJIUzI1NiJ9",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn values_that_the_machine_holds_are_found_by_their_variables() {
        let variables: BTreeMap<String, String> = [
            ("DATABASE_PASSWORD", "correct horse battery"),
            ("API_KEY", "short"),
            ("SSL_KEY_FILE", "/etc/ssl/private/key.pem"),
            ("HOME", "/home/somebody-with-a-long-name"),
            ("NOT_IT_TOKEN", "another-long-value"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let secret = secret_variables(&variables);
        let names: Vec<&str> = secret.keys().copied().collect();
        assert_eq!(names, ["DATABASE_PASSWORD", "NOT_IT_TOKEN"]);
        let program = b"postgres://me:correct horse battery@db short";
        let leaks = scan(program, &secret);
        assert_eq!(
            leaks,
            [Leak {
                what: "the value of DATABASE_PASSWORD".to_owned(),
                offset: 14
            }]
        );
        assert!(!leaks[0].to_string().contains("horse"));
    }
}
