//! Recognizes variables that look like credentials. Their values are not shown, and lint reports
//! them when they are in plain text.

/// Parts of a name that mark the value as a secret.
const SECRET_WORDS: [&str; 10] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "CREDENTIAL",
    "API_KEY",
    "APIKEY",
    "PRIVATE_KEY",
    "ACCESS_KEY",
];

/// Suffixes of names whose value is a reference or a duration, not the secret.
const REFERENCES: [&str; 9] = [
    "_ARN", "_ID", "_NAME", "_PATH", "_FILE", "_URL", "_TTL", "_SECONDS", "_MS",
];

/// Prefixes that only credentials have.
const SECRET_PREFIXES: [&str; 8] = [
    "-----BEGIN",
    "AKIA",
    "ASIA",
    "ghp_",
    "github_pat_",
    "xoxb-",
    "xoxp-",
    "eyJ",
];

/// Shorter values with such a prefix are ordinary words.
const SECRET_LENGTH_MIN: usize = 16;

/// Whether a variable looks like a credential in plain text.
pub fn is_credential(name: &str, value: &str) -> bool {
    !value.is_empty() && (name_is_secret(name) || value_is_secret(value))
}

fn name_is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace(['-', '.'], "_");
    SECRET_WORDS.iter().any(|word| name.contains(word))
        && !REFERENCES.iter().any(|end| name.ends_with(end))
}

fn value_is_secret(value: &str) -> bool {
    let begins = SECRET_PREFIXES
        .iter()
        .any(|prefix| value.starts_with(prefix));
    (begins && value.len() >= SECRET_LENGTH_MIN) || has_password_in_url(value)
}

/// `scheme://user:password@host`
fn has_password_in_url(value: &str) -> bool {
    let authority = value
        .split_once("://")
        .and_then(|(_, rest)| rest.split('/').next());
    let userinfo = authority.and_then(|authority| authority.rsplit_once('@'));
    userinfo
        .and_then(|(userinfo, _)| userinfo.split_once(':'))
        .is_some_and(|(_, password)| !password.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_differ_from_references() {
        let table = [
            ("API_KEY", "k", true),
            ("db-password", "p", true),
            ("AWS_SECRET_ACCESS_KEY", "s", true),
            ("GREETING", "AKIAIOSFODNN7EXAMPLE", true),
            ("DATABASE_URL", "postgres://app:hunter2@db/app", true),
            ("DATABASE_URL", "postgres://db/app", false),
            ("AXON_SERVICE_URL", "http://axon.demo.local/reason", false),
            (
                "AXON_SECRET_ARN",
                "arn:aws:secretsmanager:us-east-1:0:secret:x-AbCdEf",
                false,
            ),
            ("AWS_ACCESS_KEY_ID", "test", false),
            ("API_KEY", "", false),
            ("SIGNATURES", "required", false),
            ("SECRET_REFRESH_MS", "2000", false),
            ("CONTINENT", "ASIA", false),
        ];
        for (name, value, expected) in table {
            assert_eq!(is_credential(name, value), expected, "{name}={value}");
        }
    }
}
