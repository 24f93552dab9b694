//! Rules about the task as a whole: its size, its roles, the requirements of what runs it.

use super::arn::{self, Arn};
use super::platform::Network;
use super::{Input, LintFault, fault};
use crate::decide::definition::node::Node;

/// CPU units, and the minimum, the maximum and the step of the memory in MiB.
const FARGATE_SIZES: [(i64, i64, i64, i64); 7] = [
    (256, 512, 2048, 512),
    (512, 1024, 4096, 1024),
    (1024, 2048, 8192, 1024),
    (2048, 4096, 16_384, 1024),
    (4096, 8192, 30_720, 1024),
    (8192, 16_384, 61_440, 4096),
    (16_384, 32_768, 122_880, 8192),
];
/// Windows on Fargate has no smaller and no larger sizes.
const WINDOWS_CPU: std::ops::RangeInclusive<i64> = 1024..=4096;

/// T01
pub(super) fn fargate_pair(input: &Input<'_>) -> Vec<LintFault> {
    let root = input.definition.root();
    let (Some(cpu_text), Some(memory_text)) = (root.text("cpu"), root.text("memory")) else {
        return Vec::new();
    };
    if !input.platform.is_fargate {
        return Vec::new();
    }
    let is_windows = input.platform.is_windows;
    let size = cpu(cpu_text)
        .filter(|cpu| !is_windows || WINDOWS_CPU.contains(cpu))
        .and_then(|cpu| FARGATE_SIZES.into_iter().find(|(known, ..)| *known == cpu));
    let Some((_, least, most, step)) = size else {
        let (of, remedy) = if is_windows {
            (" of Windows", "set 1024, 2048 or 4096")
        } else {
            ("", "set 256, 512, 1024, 2048, 4096, 8192 or 16384")
        };
        let what = format!("Fargate has no cpu size {cpu_text}{of}");
        return vec![fault("cpu", what, remedy)];
    };
    let fits = memory(memory_text).is_some_and(|memory| {
        // 256 CPU units go with 512, 1024 and 2048 MiB only.
        let is_gap = least == 512 && memory == 1536;
        (least..=most).contains(&memory) && (memory - least) % step == 0 && !is_gap
    });
    if fits {
        return Vec::new();
    }
    let what = format!("Fargate has no memory size {memory_text} for cpu {cpu_text}");
    let remedy = if least == 512 {
        "set 512, 1024 or 2048".to_owned()
    } else {
        format!("set {least} to {most} in steps of {step}")
    };
    vec![fault("memory", what, remedy)]
}

/// T02
pub(super) fn shape(input: &Input<'_>) -> Vec<LintFault> {
    let root = input.definition.root();
    let platform = &input.platform;
    let mut faults = Vec::new();
    let is_listed = root.texts("requiresCompatibilities").contains(&"FARGATE");
    let has_size = root.get("cpu").is_some() && root.get("memory").is_some();
    let looks_like_fargate = platform.is_unknown && platform.network == Network::Awsvpc && has_size;
    if (platform.is_fargate || looks_like_fargate) && !is_listed {
        // ECS computes what a definition is compatible with, so it runs all the same.
        let what = "FARGATE is not listed, so ECS checks nothing for it before the task starts";
        let remedy = "set [\"FARGATE\"]";
        faults.push(fault("requiresCompatibilities", what, remedy).advice());
    }
    let mode = root.text("networkMode");
    if platform.is_fargate {
        if platform.network != Network::Awsvpc && is_known_mode(mode) {
            let what = format!(
                "is {}, and Fargate has awsvpc only",
                mode.unwrap_or("missing")
            );
            faults.push(fault("networkMode", what, "set awsvpc"));
        }
        for key in ["cpu", "memory"] {
            if root.get(key).is_none() {
                let what = "not set for the task, which Fargate needs";
                faults.push(fault(key, what, "set it beside containerDefinitions"));
            }
        }
    }
    if platform.is_external && platform.network == Network::Awsvpc {
        let what = "is awsvpc, which external instances do not have";
        faults.push(fault("networkMode", what, "set bridge, host or none"));
    }
    faults
}

/// Others are told as what the API does not know.
fn is_known_mode(mode: Option<&str>) -> bool {
    mode.is_none_or(|mode| matches!(mode, "awsvpc" | "bridge" | "host" | "none"))
}

/// T04. On instances of EC2 the role of the instance pulls from ECR and writes to CloudWatch.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html>
pub(super) fn execution_role_missing(input: &Input<'_>) -> Vec<LintFault> {
    if input.definition.root().get("executionRoleArn").is_some() {
        return Vec::new();
    }
    let needs_it_for_all = input.platform.is_fargate || input.platform.is_external;
    let mut needed_for = Vec::new();
    for container in &input.containers {
        let node = &container.0;
        let logging = node.get("logConfiguration");
        let driver = logging
            .as_ref()
            .and_then(|logging| logging.text("logDriver"));
        let options = logging.map(|logging| logging.items("secretOptions"));
        let router = node.at(["firelensConfiguration", "options"]);
        let is_on_s3 = router.is_some_and(|it| it.text("config-file-type") == Some("s3"));
        let is_ecr = container.image().is_some_and(is_private_ecr);
        for (is_needed, what) in [
            (!node.items("secrets").is_empty(), "secrets"),
            (needs_it_for_all && is_ecr, "an ECR image"),
            (needs_it_for_all && driver == Some("awslogs"), "awslogs"),
            (
                !node.items("environmentFiles").is_empty(),
                "environmentFiles",
            ),
            (
                node.get("repositoryCredentials").is_some(),
                "repositoryCredentials",
            ),
            (options.is_some_and(|it| !it.is_empty()), "secretOptions"),
            (is_on_s3, "a FireLens file in S3"),
        ] {
            if is_needed && !needed_for.contains(&what) {
                needed_for.push(what);
            }
        }
    }
    if needed_for.is_empty() {
        return Vec::new();
    }
    let what = format!("not set, and the task uses {}", needed_for.join(" and "));
    vec![fault(
        "executionRoleArn",
        what,
        "set the ARN of the execution role",
    )]
}

/// `ACCOUNT.dkr.ecr.REGION.amazonaws.com`, or `ACCOUNT.dkr-ecr.REGION.on.aws` of two IP versions.
fn is_private_ecr(image: &str) -> bool {
    let host = image.split('/').next().unwrap_or_default();
    let mut labels = host.split('.').skip(1);
    match labels.next() {
        Some("dkr") => labels.next().is_some_and(|label| label.starts_with("ecr")),
        Some(label) => label.starts_with("dkr-ecr"),
        None => false,
    }
}

/// T39
pub(super) fn ephemeral_storage(input: &Input<'_>) -> Vec<LintFault> {
    let storage = input
        .definition
        .root()
        .at(["ephemeralStorage", "sizeInGiB"]);
    let size = storage.and_then(|storage| storage.value.as_i64());
    match size.filter(|size| !(21..=200).contains(size)) {
        Some(size) => {
            let remedy = "use 21 to 200, or remove it for the default of 20";
            vec![fault(
                "ephemeralStorage.sizeInGiB",
                format!("is {size}"),
                remedy,
            )]
        }
        None => Vec::new(),
    }
}

/// T40. Of a container that has both, ECS sums memoryReservation and compares memory with the task's:
/// <https://github.com/pulumi/pulumi-awsx/issues/1220>.
pub(super) fn sums(input: &Input<'_>) -> Vec<LintFault> {
    let root = input.definition.root();
    let sum = |of: fn(&Node<'_>) -> Option<i64>| {
        let amounts = input.containers.iter().filter_map(|it| of(&it.0));
        amounts.fold(0, i64::saturating_add)
    };
    let cpu_sum = sum(|node| node.number("cpu"));
    let memory_sum = sum(|node| {
        node.number("memoryReservation")
            .or_else(|| node.number("memory"))
    });
    let task_memory = root.text("memory").and_then(memory);
    let mut faults = Vec::new();
    for (key, limit, total) in [
        ("cpu", root.text("cpu").and_then(cpu), cpu_sum),
        ("memory", task_memory, memory_sum),
    ] {
        if let Some(limit) = limit.filter(|limit| total > *limit) {
            let what = format!("the containers reserve {total}, the task has {limit}");
            faults.push(fault(
                key,
                what,
                format!("use at least {total}, or reserve less in a container"),
            ));
        }
    }
    for container in &input.containers {
        let node = &container.0;
        faults.extend(container_memory(input, node, task_memory, memory_sum));
    }
    faults
}

fn container_memory(
    input: &Input<'_>,
    node: &Node<'_>,
    task_memory: Option<i64>,
    memory_sum: i64,
) -> Option<LintFault> {
    let json_path = || node.path_of("memory");
    let (hard, soft) = (node.number("memory"), node.number("memoryReservation"));
    match (hard, soft) {
        // ECS takes equal ones, although its documentation says "greater":
        // https://github.com/awsdocs/amazon-ecs-developer-guide/issues/242
        (Some(hard), Some(soft)) if hard < soft => {
            let what = format!("{hard} is less than the memoryReservation of {soft}");
            let remedy = format!("use at least {soft}, or remove memoryReservation");
            Some(fault(json_path(), what, remedy))
        }
        (Some(hard), _) if task_memory.is_some_and(|most| hard > most && memory_sum <= most) => {
            let most = task_memory.unwrap_or_default();
            let what = format!("{hard} is more than the task's {most}");
            Some(fault(json_path(), what, format!("use at most {most}")))
        }
        (None, None) => {
            let has_one = ["memory", "memoryReservation"]
                .iter()
                .any(|key| node.get(key).is_some());
            let is_needed = input.definition.root().get("memory").is_none();
            let is_told = input.platform.is_fargate || has_one;
            (is_needed && !is_told).then(|| {
                let what = "set neither here nor for the task";
                fault(json_path(), what, "set memory or memoryReservation")
            })
        }
        _ => None,
    }
}

/// T53
pub(super) fn roles(input: &Input<'_>) -> Vec<LintFault> {
    const REMEDY: &str = "set arn:aws:iam::ACCOUNT:role/NAME";
    let root = input.definition.root();
    let target = input.facts.target.as_ref();
    let mut faults = Vec::new();
    let mut accounts = Vec::new();
    for key in ["executionRoleArn", "taskRoleArn"] {
        let Some(text) = root.text(key) else { continue };
        // The API takes "the short name or full ARN".
        if is_role_name(text) {
            continue;
        }
        let Some(arn) = Arn::parse(text).filter(|arn| arn.service == "iam") else {
            let what = format!("{text} is not the ARN of a role");
            faults.push(fault(key, what, REMEDY));
            continue;
        };
        if !arn.resource.starts_with("role/") {
            let what = format!("{} is not a role", arn.resource);
            faults.push(fault(key, what, REMEDY));
        } else if !arn::is_account(arn.account) {
            let what = format!("{} is not an account", arn.account);
            faults.push(fault(key, what, "write the 12 digits of the account"));
        } else if let Some(target) = target.filter(|target| target.account_id != arn.account) {
            let what = format!("belongs to account {}", arn.account);
            let remedy = format!("use a role of {}", target.account_id);
            faults.push(fault(key, what, remedy));
        } else if let Some(expected) = target.map(|it| arn::partition(&it.region)) {
            if arn.partition != expected {
                let what = format!("belongs to the partition {}", arn.partition);
                faults.push(fault(key, what, format!("use a role of {expected}")));
            }
        } else {
            accounts.push(arn.account);
        }
    }
    if let [one, other] = accounts[..]
        && one != other
    {
        let what = format!("belongs to account {other}, and the execution role to {one}");
        faults.push(fault(
            "taskRoleArn",
            what,
            "use roles of the task's own account",
        ));
    }
    let task_role = root.text("taskRoleArn");
    if task_role.is_some() && task_role == root.text("executionRoleArn") {
        let what = "the same as the execution role, which may read every secret";
        let remedy = "use a role of the service's own";
        faults.push(fault("taskRoleArn", what, remedy).warning());
    }
    faults
}

/// The characters that IAM allows in the name of a role, and a path before it.
fn is_role_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-/".contains(&byte);
    !text.is_empty() && text.bytes().all(inner)
}

/// CPU units of `256`, `.25 vCPU` or `1 vCPU`.
pub(super) fn cpu(text: &str) -> Option<i64> {
    with_unit(text, "vcpu", 1024)
}

/// MiB of `512`, `0.5 GB` or `1GB`.
pub(super) fn memory(text: &str) -> Option<i64> {
    with_unit(text, "gb", 1024)
}

/// A whole number, or a decimal one of a unit. Its fraction must be a whole number of small units.
fn with_unit(text: &str, unit: &str, factor: i64) -> Option<i64> {
    const DIGITS_MAX: usize = 9;
    let text = text.trim().to_ascii_lowercase();
    let Some(amount) = text.strip_suffix(unit).map(str::trim) else {
        return text.parse().ok().filter(|amount: &i64| *amount >= 0);
    };
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let is_number = |digits: &str| {
        digits.len() <= DIGITS_MAX && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_number(whole) || !is_number(fraction) || (whole.len() + fraction.len() == 0) {
        return None;
    }
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let scale = 10_i64.pow(u32::try_from(fraction.len()).ok()?);
    let fraction: i64 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let parts = fraction.checked_mul(factor)?;
    let whole = whole.checked_mul(factor)?;
    (parts % scale == 0)
        .then(|| whole.checked_add(parts / scale))
        .flatten()
}
