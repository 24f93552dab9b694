//! Rules about volumes.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_EFSVolumeConfiguration.html>

use super::{Input, LintFault, fault};
use crate::decide::definition::node::Node;

const KINDS: [&str; 5] = [
    "host",
    "dockerVolumeConfiguration",
    "efsVolumeConfiguration",
    "s3filesVolumeConfiguration",
    "fsxWindowsFileServerVolumeConfiguration",
];

/// T67
pub(super) fn volumes(input: &Input<'_>) -> Vec<LintFault> {
    let mut faults = Vec::new();
    for volume in input.definition.root().items("volumes") {
        let kinds = KINDS.iter().filter_map(|key| volume.get(key));
        // `describe-task-definition` prints an empty `host` beside the others.
        let kinds: Vec<Node<'_>> = kinds
            .filter(|kind| kind.value.as_object().is_some_and(|it| !it.is_empty()))
            .collect();
        if let [_, other, ..] = kinds.as_slice() {
            let what = "a volume has one configuration";
            faults.push(fault(other.json_path(), what, "remove one of them"));
        }
        if let Some(efs) = volume.get("efsVolumeConfiguration") {
            faults.extend(encryption(&efs));
            let access = efs.get("authorizationConfig");
            let point = access.and_then(|access| access.get("accessPointId"));
            faults.extend(root_of_access_point(&efs, point.as_ref()));
            faults.extend(wrong_id(efs.get("fileSystemId"), "fs"));
            faults.extend(wrong_id(point, "fsap"));
        }
        if let Some(files) = volume.get("s3filesVolumeConfiguration") {
            let point = files.get("accessPointArn");
            faults.extend(root_of_access_point(&files, point.as_ref()));
        }
    }
    faults
}

/// Whoever asks EFS for permission does so over TLS.
fn encryption(efs: &Node<'_>) -> Option<LintFault> {
    let access = efs.get("authorizationConfig")?;
    let by = if access.text("iam") == Some("ENABLED") {
        "authorization by IAM"
    } else if access
        .text("accessPointId")
        .is_some_and(|id| !id.is_empty())
    {
        "an access point"
    } else {
        return None;
    };
    let is_encrypted = efs.text("transitEncryption") == Some("ENABLED");
    (!is_encrypted).then(|| {
        let what = format!("not ENABLED, which {by} needs");
        fault(efs.path_of("transitEncryption"), what, "set ENABLED")
    })
}

fn root_of_access_point(volume: &Node<'_>, point: Option<&Node<'_>>) -> Option<LintFault> {
    point?.string().filter(|point| !point.is_empty())?;
    let directory = volume.text("rootDirectory")?;
    let is_left_to_it = matches!(directory, "" | "/");
    (!is_left_to_it).then(|| {
        let what = format!("{directory} beside an access point, which has a root of its own");
        fault(volume.path_of("rootDirectory"), what, "set /, or remove it")
    })
}

/// `fs-` and hexadecimal digits, by the pattern of EFS's own API.
fn wrong_id(node: Option<Node<'_>>, kind: &str) -> Option<LintFault> {
    const DIGITS: std::ops::RangeInclusive<usize> = 8..=40;
    let node = node?;
    let id = node.string().filter(|id| !id.is_empty())?;
    let digits = id
        .strip_prefix(kind)
        .and_then(|rest| rest.strip_prefix('-'));
    let is_hex = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fits = digits.is_some_and(|it| DIGITS.contains(&it.len()) && is_hex(it));
    let is_arn = id.starts_with("arn:");
    (!fits && !is_arn).then(|| {
        let what = format!("`{id}` is no id of EFS");
        fault(
            node.json_path(),
            what,
            format!("set {kind}- and its digits"),
        )
    })
}
