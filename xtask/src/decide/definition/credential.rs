//! Recognizes variables that look like credentials. Their values are not shown, and lint reports
//! them when they are in plain text.

/// Words of a name whose value is a secret where they are what the name is about.
const SECRETS: [&str; 33] = [
    "ACCESSKEY",
    "APIKEY",
    "AUTHORIZATION",
    "CRED",
    "CREDENTIAL",
    "CREDENTIALS",
    "CREDS",
    "DBPASS",
    "DBPWD",
    "HTPASSWD",
    "KEYPASS",
    "MNEMONIC",
    "PASS",
    "PASSCODE",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "PASSWORDS",
    "PAT",
    "PEPPER",
    "PRIVATEKEY",
    "PW",
    "PWD",
    "ROOTPASS",
    "SALT",
    "SECRET",
    "SECRETKEY",
    "SECRETS",
    "SEEDPHRASE",
    "SMTPPASS",
    "STOREPASS",
    "TOKEN",
    "USERPASS",
];
/// Ends of words that are written together, such as `PGPASSWORD` and `CLIENTSECRET`.
const SECRET_ENDS: [&str; 8] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "APIKEY",
    "SECRET",
    "SECRETKEY",
    "ACCESSKEY",
    "TOKEN",
];
/// Words before `KEY` that make it a secret: the key of a cache or of a table is none.
const KEYS: [&str; 43] = [
    "ACCESS",
    "ACCOUNT",
    "ADMIN",
    "AES",
    "API",
    "APP",
    "AUTH",
    "AUTHENTICATION",
    "CIPHER",
    "CLIENT",
    "COOKIE",
    "CRYPT",
    "CRYPTO",
    "DECRYPTION",
    "DEPLOY",
    "ENC",
    "ENCRYPTION",
    "FERNET",
    "FUNCTION",
    "GPG",
    "HMAC",
    "JWT",
    "LICENSE",
    "MASTER",
    "NONCE",
    "PAYMENT",
    "PGP",
    "PRIVATE",
    "SAS",
    "SECRET",
    "SERVER",
    "SERVICE",
    "SESSION",
    "SHARED",
    "SIGN",
    "SIGNATURE",
    "SIGNING",
    "SSH",
    "STORAGE",
    "SUBSCRIPTION",
    "TLS",
    "WALLET",
    "WEBHOOK",
];
/// Words before `AUTH` with which its value has a password: `REDIS_AUTH`, but not `SMTP_AUTH`.
const AUTHS: [&str; 6] = ["BASIC", "DOCKER", "HTTP", "NPM", "REDIS", "REGISTRY"];
/// Words before `KEY` with which anybody may know it.
const OPEN_KEYS: [&str; 24] = [
    "CACHE",
    "COMPOSITE",
    "FOREIGN",
    "HASH",
    "IDEMPOTENCY",
    "INDEX",
    "INSTRUMENTATION",
    "KMS",
    "LOOKUP",
    "MESSAGE",
    "OBJECT",
    "PARTITION",
    "PRIMARY",
    "PUB",
    "PUBLIC",
    "PUBLISHABLE",
    "RANGE",
    "ROUTING",
    "S3",
    "SHARD",
    "SITE",
    "SORT",
    "TRACKING",
    "VERIFICATION",
];
/// Words after the secret that leave it one.
const QUALIFIERS: [&str; 21] = [
    "B64",
    "BASE",
    "BASE64",
    "CURRENT",
    "DEV",
    "DEVELOPMENT",
    "HEX",
    "LOCAL",
    "NEW",
    "NEXT",
    "OLD",
    "PLAIN",
    "PREVIOUS",
    "PRIMARY",
    "PROD",
    "PRODUCTION",
    "SECONDARY",
    "STAGING",
    "STRING",
    "TEST",
    "VALUE",
];
/// Words with which a name is about something else: a limit, a switch, a place.
const DESCRIPTORS: [&str; 111] = [
    "ADDR",
    "ADDRESS",
    "AGE",
    "ALG",
    "ALGORITHM",
    "ALIAS",
    "ALLOW",
    "ALLOWED",
    "ARN",
    "AUDIENCE",
    "BACKEND",
    "BUCKET",
    "CHARSET",
    "CHECK",
    "CLAIM",
    "CLASS",
    "COLUMN",
    "CONTRACT",
    "COOKIE",
    "COUNT",
    "DAY",
    "DECIMAL",
    "DEPRECATED",
    "DISABLE",
    "DISABLED",
    "DOMAIN",
    "DRIVER",
    "DURATION",
    "ENABLE",
    "ENABLED",
    "ENCODER",
    "ENCODING",
    "ENDPOINT",
    "EXPIRATION",
    "EXPIRE",
    "EXPIRY",
    "FIELD",
    "FILE",
    "FORMAT",
    "GRANT",
    "GROUP",
    "HAS",
    "HASHER",
    "HEADER",
    "HINT",
    "HOST",
    "HOUR",
    "ID",
    "INTERVAL",
    "IS",
    "ISS",
    "ISSUER",
    "KEY",
    "KIND",
    "LABEL",
    "LEEWAY",
    "LENGTH",
    "LIFETIME",
    "LIMIT",
    "LOCATION",
    "LOOKUP",
    "MANAGER",
    "MAX",
    "MIN",
    "MINUTE",
    "MODE",
    "MS",
    "NAME",
    "NAMESPACE",
    "NUM",
    "OPTION",
    "PARAMETER",
    "PATH",
    "PATTERN",
    "PER",
    "POLICY",
    "PREFIX",
    "PROVIDER",
    "QUEUE",
    "REFRESH",
    "REGEX",
    "REGEXP",
    "REGION",
    "REQUIRE",
    "REQUIRED",
    "RESET",
    "ROLE",
    "ROTATION",
    "ROUND",
    "SCOPE",
    "SECOND",
    "SERVICE",
    "SIZE",
    "SOURCE",
    "STORE",
    "STRATEGY",
    "STRENGTH",
    "SUBJECT",
    "SYMBOL",
    "TABLE",
    "TIMEOUT",
    "TOPIC",
    "TTL",
    "TYPE",
    "URL",
    "USER",
    "USERNAME",
    "VALIDATION",
    "VALIDATOR",
    "VERSION",
    "WORK",
];
/// Values that switch something, or say that there is none.
const SWITCHES: [&str; 16] = [
    "0",
    "1",
    "true",
    "false",
    "yes",
    "no",
    "on",
    "off",
    "enabled",
    "disabled",
    "none",
    "null",
    "undefined",
    "required",
    "optional",
    "auto",
];

/// How values of credentials begin.
const SECRET_PREFIXES: [&str; 19] = [
    "AKIA",
    "ASIA",
    "AIza",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "hvs.",
    "npm_",
    "pypi-",
    "rk_live_",
    "sk_live_",
    "sk_test_",
    "sk-ant-",
    "sk-proj-",
    "whsec_",
    "SG.",
];
const SLACK_PREFIXES: [&str; 5] = ["xoxa-", "xoxb-", "xoxp-", "xoxr-", "xoxs-"];
/// Shorter values with such a prefix are ordinary words.
const SECRET_LENGTH_MIN: usize = 16;

/// Names of a password in a connection string, after which its value follows.
const PASSWORD_FIELDS: [&str; 7] = [
    "password=",
    "pwd=",
    "passwd=",
    "accountkey=",
    "sharedaccesskey=",
    "secretkey=",
    "accesskey=",
];

/// Whether a variable looks like a credential in plain text.
pub fn is_credential(name: &str, value: &str) -> bool {
    if value.trim().is_empty() {
        return false;
    }
    if value_is_secret(value) {
        return true;
    }
    // The cost of a hash is at times called its salt.
    let is_cost = |value: &str| value.len() < 3 && value.bytes().all(|it| it.is_ascii_digit());
    match meaning(name) {
        Meaning::Secret => !is_harmless(value),
        Meaning::Salt => !is_harmless(value) && !is_cost(value),
        Meaning::MaybeSecret => looks_random(value) && !is_harmless(value),
        Meaning::Key => looks_like_key(value) && !is_harmless(value),
        Meaning::Other => false,
    }
}

/// What a name is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Secret,
    Salt,
    /// Some key: of a service, or of a table.
    Key,
    /// A secret, with a word after it that may change what it is.
    MaybeSecret,
    Other,
}

fn meaning(name: &str) -> Meaning {
    let words = words(name);
    let is_secret = |(index, _): (usize, &String)| is_secret_word(&words, index);
    let Some(last) = words.iter().enumerate().rposition(is_secret) else {
        let is_key = matches!(words.as_slice(), [.., before, last]
            if last == "KEY" && !OPEN_KEYS.contains(&before.as_str()));
        return if is_key { Meaning::Key } else { Meaning::Other };
    };
    let (before, after) = (&words[..last], &words[last + 1..]);
    let describes = |word: &String| {
        let one = word.strip_suffix('S').unwrap_or(word);
        DESCRIPTORS.contains(&word.as_str()) || DESCRIPTORS.contains(&one)
    };
    let qualifies = |word: &String| {
        let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
        is_number || QUALIFIERS.contains(&word.as_str())
    };
    let is_switch = before.first().is_some_and(|first| {
        matches!(
            first.as_str(),
            "ENABLE"
                | "DISABLE"
                | "USE"
                | "HAS"
                | "IS"
                | "REQUIRE"
                | "ALLOW"
                | "SKIP"
                | "MAX"
                | "MIN"
                | "NUM"
        )
    });
    if is_switch || after.iter().any(describes) {
        Meaning::Other
    } else if !after.iter().all(qualifies) {
        Meaning::MaybeSecret
    } else if words[last] == "SALT" {
        Meaning::Salt
    } else {
        Meaning::Secret
    }
}

/// Whether a word is a secret behind the one before it.
fn is_secret_word(words: &[String], index: usize) -> bool {
    let word = words[index].as_str();
    let before = index.checked_sub(1).map(|before| words[before].as_str());
    let is_behind = |known: &[&str]| before.is_some_and(|before| known.contains(&before));
    match word {
        "KEY" | "KEYS" => is_behind(&KEYS),
        "TOKENS" => is_behind(&["ACCESS", "API", "AUTH", "BEARER", "REFRESH"]),
        "AUTH" => is_behind(&AUTHS),
        "PHRASE" => is_behind(&["SEED", "RECOVERY"]),
        _ => SECRETS.contains(&word) || is_joined(word),
    }
}

/// `PGPASSWORD`, `ENCRYPTIONKEY`
fn is_joined(word: &str) -> bool {
    let mut ends = SECRET_ENDS.iter();
    let of_key = word.strip_suffix("KEY");
    ends.any(|end| word.len() > end.len() && word.ends_with(end))
        || of_key.is_some_and(|before| KEYS.contains(&before))
}

/// The words of `DB_PASS`, `db-pass`, `spring.db.pass` or `dbPass`, in capitals.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut before = ' ';
    for letter in name.chars() {
        let is_hump = before.is_ascii_lowercase() && letter.is_ascii_uppercase();
        if is_hump || !letter.is_ascii_alphanumeric() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter.is_ascii_alphanumeric()) {
            word.push(letter.to_ascii_uppercase());
        }
        before = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether the value of a name that is about a secret is none: a switch, a duration, a place.
fn is_harmless(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let amount = lower.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let unit = &lower[amount.len()..];
    let is_duration = !amount.is_empty()
        && amount.bytes().all(|byte| byte.is_ascii_digit())
        && matches!(unit, "ms" | "s" | "m" | "h" | "d");
    // Whoever has the address of a contract, or of a server, has no key to it.
    let hex = lower.strip_prefix("0x").unwrap_or_default();
    let is_address = hex.len() == 40 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let starts = [
        "http://",
        "https://",
        "arn:",
        "file:",
        "/",
        "./",
        "ssm:",
        "vault:",
        "secretsmanager:",
    ];
    // The name of a secret in a store has a path, as `prod/db/password`.
    let in_path =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_/".contains(&byte);
    let is_path = value.contains('/') && value.bytes().all(in_path);
    let is_place = is_path || starts.iter().any(|start| lower.starts_with(start));
    SWITCHES.contains(&lower.as_str()) || is_duration || is_address || is_place
}

/// Letters and digits in one word, as a made-up text of a program has.
fn looks_random(value: &str) -> bool {
    const LENGTH_MIN: usize = 6;
    let has = |is: fn(&u8) -> bool| value.as_bytes().iter().any(is);
    value.len() >= LENGTH_MIN
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic)
        && !value.contains([' ', '/', ':', ',', '.'])
}

/// Longer than names are, and no UUID, which is an identifier more often than a key.
fn looks_like_key(value: &str) -> bool {
    const LENGTH_MIN: usize = 20;
    let is_uuid = value.len() == 36 && value.matches('-').count() == 4;
    value.len() >= LENGTH_MIN && looks_random(value) && !is_uuid
}

/// `Bearer TOKEN`, also as a header: `Authorization=Basic TOKEN`
fn has_scheme(value: &str) -> bool {
    const TOKEN_LENGTH_MIN: usize = 12;
    ["Bearer", "Basic"].iter().any(|scheme| {
        value.split_once(scheme).is_some_and(|(before, token)| {
            let token = token.strip_prefix("%20").unwrap_or(token).trim_start();
            let end = token.find([',', ';', '"']).unwrap_or(token.len());
            let is_header = before.is_empty() || before.ends_with(['=', ':', ' ']);
            is_header && end >= TOKEN_LENGTH_MIN && !token[..end].contains([' ', '$', '{', '<'])
        })
    })
}

fn value_is_secret(value: &str) -> bool {
    let begins = || {
        let mut prefixes = SECRET_PREFIXES.iter().chain(&SLACK_PREFIXES);
        prefixes.any(|prefix| value.starts_with(prefix)) && !value.contains(char::is_whitespace)
    };
    let is_private_key = || value.contains("-----BEGIN") && value.contains("PRIVATE KEY-----");
    // A JSON Web Token: three parts, the first of which is an object in Base64.
    let is_web_token = value.starts_with("eyJ") && value.matches('.').count() == 2;
    // Most values are short, and without the character that each of these forms has.
    (value.len() >= SECRET_LENGTH_MIN
        && (begins() || is_private_key() || has_scheme(value) || is_webhook(value)))
        || is_web_token
        || value.contains('@') && has_password_in_url(value)
        || value.contains('=') && has_password_field(value)
}

/// Addresses with which anybody can post.
fn is_webhook(value: &str) -> bool {
    const HOOKS: [&str; 3] = [
        "https://hooks.slack.com/services/",
        "https://discord.com/api/webhooks/",
        "https://discordapp.com/api/webhooks/",
    ];
    let mut rests = HOOKS.iter().filter_map(|hook| value.strip_prefix(hook));
    rests.any(|rest| rest.contains('/') && !rest.contains(['$', '{', '<']))
}

/// `scheme://user:password@host`, and `user:password@tcp(host)` of Go's driver of `MySQL`.
fn has_password_in_url(value: &str) -> bool {
    let of_go = ["@tcp(", "@unix("]
        .iter()
        .find_map(|mark| value.split_once(mark));
    let userinfo = match (value.split_once("://"), of_go) {
        (Some((_, rest)), _) => {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            authority.rsplit_once('@').map(|(userinfo, _)| userinfo)
        }
        (None, go) => go.map(|(userinfo, _)| userinfo),
    };
    userinfo
        .and_then(|userinfo| userinfo.split_once(':'))
        .is_some_and(|(_, password)| !password.is_empty())
}

/// `Server=db;Password=x`, `jdbc:...?user=app&password=x`, `host=db password=x`
fn has_password_field(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let mut fields = lower.split([';', '&', '?', ' ']).map(str::trim_start);
    let settings = fields.clone().filter(|field| field.contains('=')).count();
    // A sentence may say `password=secret` too.
    let is_string = settings > 1 || lower.contains([';', '?']);
    is_string
        && fields.any(|field| {
            let value = PASSWORD_FIELDS
                .iter()
                .find_map(|name| field.replace(' ', "").strip_prefix(name).map(str::to_owned));
            value.is_some_and(|value| !value.is_empty())
        })
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

    /// Names and values that stand for their kind.
    const CREDENTIALS: &[(&str, &str)] = &[
        ("DB_PASS", "x"),
        ("MYSQL_PWD", "x"),
        ("PGPASSWORD", "x"),
        ("JWT_KEY", "x"),
        ("ENCRYPTION_KEY", "x"),
        ("SECRET_KEY_BASE", "x"),
        ("API_TOKEN", "test"),
        ("ENC_KEY", "x"),
        ("DBPASS", "x"),
        ("DB_PW", "x"),
        ("DB_PASSWORD_PROD", "x"),
        ("API_KEY_2", "x"),
        ("clientSecret", "x"),
        ("spring.datasource.password", "x"),
        ("DB_PASSWORD", "123456"),
        ("SECRET_KEY", "${SECRET_KEY}"),
        ("TOKEN_GITHUB", "a1b2c3d4"),
        ("HASH_SALT", "x"),
        ("API_TOKEN_SALT", "x"),
        ("NONCE_SALT", "x"),
        ("PASSWORD_PEPPER", "x"),
        ("BASIC_AUTH", "app:x"),
        ("REDIS_AUTH", "x"),
        ("DB_CREDS", "app/X"),
        ("APP_KEYS", "x,y"),
        ("NONCE_KEY", "x"),
        ("SECRET_KEYS", "x"),
        ("API_TOKENS", "x"),
        ("GITHUB_PAT", "x"),
        ("WALLET_MNEMONIC", "one two three"),
        ("SEED_PHRASE", "one two three"),
        ("authToken", "x"),
        ("AUTHTOKEN", "x"),
        ("ENCRYPTIONKEY", "x"),
        ("LOGIN_PASSCODE", "x"),
        ("SENDGRID_KEY", "a1b2c3d4e5f6a7b8c9d0"),
        ("DJANGO_SECRETS", "x"),
        ("STOREPASS", "x"),
    ];

    const OTHERS: &[(&str, &str)] = &[
        ("MAX_TOKENS", "4096"),
        ("MAX_TOKEN", "4096"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "30"),
        ("ENABLE_SECRETS_MANAGER", "true"),
        ("PASSWORD_MIN_LENGTH", "12"),
        ("TOKEN_ISSUER", "https://idp.example.com"),
        (
            "TOKEN_CONTRACT_ADDRESS",
            "0x52908400098527886E0F7030069857D2E4169EE7",
        ),
        ("REQUIRE_PASSWORD", "true"),
        ("DB_PASSWORD_FILE", "/run/secrets/db"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/etc/key.json"),
        ("PWD", "/app"),
        ("BYPASS", "x"),
        ("PARTITION_KEY", "id"),
        ("CACHE_KEY", "v2"),
        ("PUBLIC_KEY", "abc"),
        ("USE_TOKEN", "x"),
        ("REFRESH_TOKEN", "7d"),
        ("TOKEN_COLOUR", "blue"),
        ("PASSWORD_HASHER", "argon2"),
        (
            "TOKEN_CONTRACT",
            "0x52908400098527886E0F7030069857D2E4169EE7",
        ),
        ("DB_SECRET", "prod/app/db"),
        ("TOKENS_PER_MINUTE", "1000"),
        ("PASSWORD_HASH_ROUNDS", "10"),
        ("API_KEY_HEADERS", "X-Api-Key-2"),
        ("STRIPE_PUBLISHABLE_KEY", "pk_live_000000000000"),
        ("MYSQL_ALLOW_EMPTY_PASSWORD", "yes"),
        ("COMPASS", "north"),
        ("HASH_ALGORITHM", "sha256"),
        ("AUTH_URL", "x1y2z3"),
        ("BASIC_AUTH_ENABLED", "x"),
        ("BASIC_AUTH_USER", "app1234"),
        ("BASIC_AUTH", "true"),
        ("SMTP_AUTH", "login"),
        ("AUTH", "x"),
        ("SALT_ROUNDS", "10"),
        ("BCRYPT_SALT", "10"),
        ("BCRYPT_SALT_WORK_FACTOR", "10"),
        ("SALTSTACK_HOST", "x"),
        ("TOKEN_TTL", "3600s9"),
        ("TOKEN_COOKIE", "session2"),
        ("PASSWORD_REGEX", "a1b2c3"),
        ("PASSWORD_VALIDATORS", "length12"),
        ("SECRETS_BACKEND", "vault12"),
        ("CREDENTIALS_PROVIDER", "x1y2z3"),
        ("TOKENIZER", "x"),
        ("MAX_AUTH_TOKENS", "5"),
        ("LLM_TOKENS", "4096"),
        ("HOTKEY", "x"),
        ("IDEMPOTENCY_KEY", "a1b2c3d4e5f6a7b8c9d0"),
        ("SENDGRID_KEY", "prod"),
        ("TENANT_KEY", "123e4567-e89b-12d3-a456-426614174000"),
        ("PATTERN", "x"),
        ("PATH", "/bin"),
        ("APP_PATHS", "x"),
        ("AUTHOR", "x"),
        ("PASSWORDLESS", "x"),
    ];

    #[test]
    fn a_name_is_about_its_last_words() {
        for (name, value) in CREDENTIALS {
            assert!(is_credential(name, value), "{name}={value}");
        }
        for (name, value) in OTHERS {
            assert!(!is_credential(name, value), "{name}={value}");
        }
    }

    #[test]
    fn values_of_credentials_have_forms_of_their_own() {
        let key = format!("-----BEGIN RSA PRIVATE KEY-----\n{}", "x");
        let live = format!("sk_live_{}", "0".repeat(24));
        for value in [
            key.as_str(),
            live.as_str(),
            "app:pw@tcp(db:3306)/app",
            "jdbc:postgresql://db/app?user=app&password=x",
            "Server=db;User Id=app;Password=x;",
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=x",
            "host=db user=app password=x",
            "redis://:pw@cache:6379/0",
            "eyJhbGciOi.eyJzdWIi.c2ln",
            "Bearer 0123456789abcdef",
            "Authorization=Basic MDEyMzQ1Njc4OWFi",
            "https://hooks.slack.com/services/T0/B0/x",
        ] {
            assert!(is_credential("X", value), "{value}");
        }
        for value in [
            "-----BEGIN CERTIFICATE-----\nMIIB",
            "-----BEGIN PUBLIC KEY-----\nMIIB",
            "jdbc:postgresql://db/app?user=app",
            "Server=db;User Id=app;Password=;",
            "redis://cache:6379/0",
            "https://example.com/a:b@c",
            "postgres://app@db/app",
            "eyJhIjoxfQ",
            "the password=secret of a text",
            "Bearer ${TOKEN}",
            "Basic authentication of a user",
            "https://hooks.slack.com/services/",
            "https://discord.com/api/webhooks/${ID}/${TOKEN}",
        ] {
            assert!(!is_credential("X", value), "{value}");
        }
    }
}
