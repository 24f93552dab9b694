//! Scans a program for secrets: patterns of well-known ones, and values of variables of this
//! machine. A leak has a name and an offset, never the value.

use std::collections::BTreeMap;
use std::fmt;

/// A secret that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    pub what: String,
    /// In bytes from the start of the program.
    pub offset: usize,
}

impl fmt::Display for Leak {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at offset {}", self.what, self.offset)
    }
}

/// A prefix, and the kind and minimum number of the characters that follow it.
struct Pattern {
    what: &'static str,
    prefix: &'static [u8],
    follows: fn(u8) -> bool,
    /// The minimum number of characters.
    count: usize,
}

/// From the documentation of the issuers. The prefix alone does not count, since programs that
/// parse such secrets contain it.
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

/// Words in the names of variables that hold secrets.
const SECRET_WORDS: [&str; 5] = ["SECRET", "TOKEN", "PASSWORD", "PASSWD", "KEY"];
/// Shorter values occur in programs by chance.
const VALUE_BYTES_MIN: usize = 12;

/// The variables whose values must not be in anything that is released.
pub fn secret_variables(variables: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    let is_secret = |name: &str| {
        let name = name.to_uppercase();
        SECRET_WORDS.iter().any(|word| name.contains(word))
    };
    variables
        .iter()
        .filter(|(name, value)| is_secret(name) && value.len() >= VALUE_BYTES_MIN)
        // A file name is not a secret, even if the file holds one.
        .filter(|(_, value)| !value.starts_with('/'))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

/// Every secret in a program, found in one pass.
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
        // Inside a longer word the prefix is part of that word.
        let begins_word = !before.is_some_and(is_alphanumeric);
        let following = tail.iter().take_while(|byte| (self.follows)(**byte));
        // AWS's documentation has keys that end so, and manuals in images quote it.
        let is_example = tail
            .get(..self.count)
            .is_some_and(|it| it.ends_with(b"EXAMPLE"));
        begins_word && !is_example && following.take(self.count).count() == self.count
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

    /// The leaks of a program that contains the text.
    fn found(secret: &str) -> Vec<String> {
        let program = format!("\0\u{7f}ELF {secret}\0more");
        let leaks = scan(program.as_bytes(), &BTreeMap::new());
        leaks.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn secrets_are_found_by_their_pattern() {
        // In two parts, so that scanners of this repository do not report it.
        let key = ["AKIA", "Q7JXN2K4P6R8T0V2"].concat();
        assert_eq!(found(&key), ["an AWS access key at offset 6"]);
        let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n".repeat(3);
        let key = ["-----BEGIN RSA PRIV", "ATE KEY-----\n", &body].concat();
        assert_eq!(found(&key), ["a private key at offset 21"]);
        let token = ["ghp", "_", &"a1B2".repeat(9)].concat();
        assert_eq!(found(&token), ["a GitHub token at offset 6"]);
    }

    #[test]
    fn a_pattern_without_its_secret_is_no_leak() {
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
    fn values_of_variables_are_found() {
        let variables: BTreeMap<String, String> = [
            ("DATABASE_PASSWORD", "correct horse battery"),
            ("API_KEY", "short"),
            ("SSL_KEY_FILE", "/etc/ssl/private/key.pem"),
            ("HOME", "/home/a-user-with-a-long-name"),
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
