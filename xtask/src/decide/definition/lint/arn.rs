//! Amazon Resource Names, and the Regions and partitions in them.

/// `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`
#[derive(Debug, Clone, Copy)]
pub(super) struct Arn<'a> {
    pub(super) partition: &'a str,
    pub(super) service: &'a str,
    pub(super) region: &'a str,
    pub(super) account: &'a str,
    pub(super) resource: &'a str,
}

impl<'a> Arn<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        if !text.starts_with("arn:") {
            return None;
        }
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next();
        let (Some("arn"), Some(partition), Some(service)) = (next(), next(), next()) else {
            return None;
        };
        Some(Self {
            partition,
            service,
            region: next()?,
            account: next()?,
            resource: next()?,
        })
    }
}

/// The partition of a Region, by which its ARNs begin.
pub(super) fn partition(region: &str) -> &'static str {
    crate::decide::environment::partition(region)
}

/// `us-east-1`, `us-gov-west-1`: letters, directions, a number.
pub(super) fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [first, middle @ .., last] = parts.as_slice() else {
        return false;
    };
    let is_word = |part: &str| part.len() > 1 && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    is_word(first) && !middle.is_empty() && middle.iter().all(|part| is_word(part)) && is_number
}

pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}
