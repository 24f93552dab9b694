//! T52 and T71: values that somebody was to fill in. They are found by what they look like, in whole
//! words and by known marks, and in values that must not have them: `${X}` is a variable in a
//! command, `<strong>` a text in a setting, and either is wrong in the name of an image.

use std::collections::BTreeSet;

use super::arn::{self, Arn};
use super::{Input, LintFault, fault};
use crate::decide::definition::model::READ_ONLY;
use crate::decide::definition::node::Node;
use crate::decide::definition::node::PathStep::{self, Item, Member};

/// What a value is for, by which a mark is a placeholder or a text of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// A name, an ARN, an image: has a form of its own, without marks.
    Identifier,
    /// A setting, a label: any text.
    Text,
    /// An option of a log driver or a log router, which have variables of their own.
    Option,
    /// A word of a command: any text, and variables of the shell.
    Command,
}

/// Texts that may be empty, since ECS or Docker has a default for them.
const MAY_BE_EMPTY: [&str; 8] = [
    "attestationPolicy",
    "driver",
    "expression",
    "hostname",
    "rootDirectory",
    "sourcePath",
    "user",
    "workingDirectory",
];

/// Whole words that stand for an identifier and are none.
const IDENTIFIERS: [&str; 52] = [
    "ACCOUNT",
    "ACCOUNTID",
    "ACCOUNT_ID",
    "ACCOUNT_NUMBER",
    "APP_NAME",
    "AWS_ACCOUNT",
    "AWS_ACCOUNT_ID",
    "AWS_ACCOUNT_NUMBER",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "BUILD_ID",
    "BUILD_NUMBER",
    "CLUSTER_NAME",
    "COMMIT_SHA",
    "CONTAINER_IMAGE",
    "CONTAINER_NAME",
    "DOCKER_IMAGE",
    "ECR_IMAGE",
    "ECR_REGISTRY",
    "ECR_REPO",
    "ECR_REPOSITORY",
    "ECR_REPO_NAME",
    "ECR_URI",
    "ENVIRONMENT_NAME",
    "ENV_NAME",
    "EXECUTION_ROLE_ARN",
    "FAMILY_NAME",
    "GIT_SHA",
    "IMAGE",
    "IMAGE_NAME",
    "IMAGE_REPO",
    "IMAGE_TAG",
    "IMAGE_URI",
    "IMAGE_URL",
    "LOG_GROUP",
    "LOG_GROUP_NAME",
    "PROJECT_NAME",
    "REGION",
    "REPOSITORY",
    "REPOSITORY_NAME",
    "REPOSITORY_URI",
    "REPO_NAME",
    "ROLE_ARN",
    "ROLE_NAME",
    "SECRET_ARN",
    "SECRET_NAME",
    "SERVICE_NAME",
    "STACK_NAME",
    "TAG",
    "TASK_FAMILY",
    "TASK_ROLE_ARN",
    "VERSION",
];

/// Marks for later, in parts for the test that looks for them in the sources.
const LATER: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), "TBD"];

/// Beginnings of words that stand for any value.
const PLACEHOLDER_STARTS: [&str; 6] = [
    "CHANGEME",
    "CHANGE_ME",
    "REPLACEME",
    "REPLACE_ME",
    "REPLACE_THIS",
    "REPLACE_WITH",
];

pub(super) const ECSPRESSO: &str = "ecspresso";

/// Marks of template languages that have a tool of their own, and the tool.
const TEMPLATES: [(&str, &str); 11] = [
    ("{{must_env", ECSPRESSO),
    ("{{env ", ECSPRESSO),
    ("{{tfstate", ECSPRESSO),
    ("{{ssm ", ECSPRESSO),
    ("{{secretsmanager_arn", ECSPRESSO),
    ("${jsonencode(", "Terraform"),
    ("${var.", "Terraform"),
    ("${local.", "Terraform"),
    ("${data.", "Terraform"),
    ("${module.", "Terraform"),
    ("${aws_", "Terraform"),
];

pub(super) struct Placeholder<'a> {
    pub(super) node: Node<'a>,
    /// As it stands in the value; empty where the value is.
    mark: &'a str,
    /// What fills it, if that is known.
    tool: Option<&'static str>,
}

/// T52
pub(super) fn unresolved(input: &Input<'_>) -> Vec<LintFault> {
    let found = input.placeholders.iter().filter(|it| it.tool.is_none());
    found
        .map(|found| {
            // The text itself may be a secret, so only the placeholder is shown.
            let (what, remedy) = match found.mark {
                "" => ("empty".to_owned(), "write the value, or remove the key"),
                mark => (
                    format!("unresolved placeholder `{mark}`"),
                    "fill in the value",
                ),
            };
            fault(found.node.json_path(), what, remedy)
        })
        .collect()
}

/// Whether the definition is a template of this tool.
pub(super) fn is_of(input: &Input<'_>, tool: &str) -> bool {
    input.placeholders.iter().any(|it| it.tool == Some(tool))
}

/// T71
pub(super) fn templates(input: &Input<'_>) -> Vec<LintFault> {
    let found = input.placeholders.iter();
    let found = found.filter_map(|it| Some((it.node.json_path(), it.tool?)));
    let found: Vec<_> = found.collect();
    let Some((first, tool)) = found.iter().min() else {
        return Vec::new();
    };
    let count = found.len();
    let what = format!("a template of {tool}, which has yet to fill in {count} of its values");
    vec![fault(first, what, "check what the tool renders as well")]
}

/// All values that are not what they will be.
pub(super) fn find<'a>(input: &Input<'a>) -> Vec<Placeholder<'a>> {
    // An empty value of an enumeration is told as one that the API does not have.
    let told = input.model_faults.iter().map(|it| it.json_path.as_str());
    let told: BTreeSet<&str> = told.collect();
    let mut found = Vec::new();
    let members = input.definition.root().members().into_iter();
    let own = members.filter(|(key, _)| !READ_ONLY.contains(key));
    for (node, text) in own.flat_map(|(_, member)| member.strings()) {
        let of = use_of(&node);
        if text.is_empty() {
            let is_wrong = of == Use::Identifier
                && !node.key().is_some_and(|key| MAY_BE_EMPTY.contains(&key))
                && !told.contains(node.json_path().as_str());
            if is_wrong {
                let (mark, tool) = ("", None);
                found.push(Placeholder { node, mark, tool });
            }
            continue;
        }
        let mark = if input.facts.is_rendered {
            let mut parts = text.split("${");
            parts.find_map(|part| mark_in(&node, of, part))
        } else {
            mark_in(&node, of, text)
        };
        if let Some(mark) = mark {
            let tool = tool_of(mark, of);
            found.push(Placeholder { node, mark, tool });
        }
    }
    // Where one mark is a tool's, the others that look like it are too.
    for (tool, start) in [(ECSPRESSO, "{{"), ("Terraform", "${")] {
        let is_used = found.iter().any(|it| it.tool == Some(tool));
        for other in found
            .iter_mut()
            .filter(|it| is_used && it.mark.starts_with(start))
        {
            other.tool = Some(tool);
        }
    }
    found
}

/// The tool of a template's mark. Templates of Terraform name their own variables, in lower case.
fn tool_of(mark: &str, of: Use) -> Option<&'static str> {
    let known = TEMPLATES.iter().find(|(start, _)| {
        let inner = mark.strip_prefix(&start[..2]).map(str::trim_start);
        inner.is_some_and(|inner| inner.starts_with(&start[2..]))
    });
    known.map(|(_, tool)| *tool).or_else(|| {
        let name = mark.strip_prefix("${")?.strip_suffix('}')?;
        let is_lower =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_variable = of == Use::Identifier && !name.is_empty() && name.bytes().all(is_lower);
        is_variable.then_some("Terraform")
    })
}

fn use_of(node: &Node<'_>) -> Use {
    match node.steps() {
        [Member("containerDefinitions"), Item(_), inner @ ..] => use_in_container(inner),
        [Member("tags" | "placementConstraints"), ..]
        | [Member("proxyConfiguration"), Member("properties"), ..] => Use::Text,
        [Member("volumes"), inner @ ..] => {
            let mut keys = inner.iter().filter_map(PathStep::member);
            if keys.any(|key| matches!(key, "driverOpts" | "labels")) {
                Use::Text
            } else {
                Use::Identifier
            }
        }
        _ => Use::Identifier,
    }
}

fn use_in_container(steps: &[PathStep<'_>]) -> Use {
    match steps {
        [Member("command" | "entryPoint"), ..] | [Member("healthCheck"), Member("command"), ..] => {
            Use::Command
        }
        [
            Member("logConfiguration"),
            Member("options"),
            Member("awslogs-group" | "awslogs-region" | "awslogs-stream-prefix"),
        ] => Use::Identifier,
        [
            Member("logConfiguration" | "firelensConfiguration"),
            Member("options"),
            ..,
        ] => Use::Option,
        // The name of a secret is that of a variable.
        [Member("secrets"), _, Member("name")]
        | [
            Member(
                "environment"
                | "dockerLabels"
                | "systemControls"
                | "dockerSecurityOptions"
                | "extraHosts",
            ),
            ..,
        ] => Use::Text,
        _ => Use::Identifier,
    }
}

fn mark_in<'a>(node: &Node<'_>, of: Use, text: &'a str) -> Option<&'a str> {
    match of {
        Use::Identifier => in_identifier(node, text),
        Use::Text => in_text(text),
        Use::Option => text.split('$').find_map(in_text),
        Use::Command => in_command(text),
    }
}

/// Whether there is a character of a mark at all.
fn may_have_mark(text: &str) -> bool {
    text.bytes().any(is_of_mark)
}

/// The same of an identifier: an image has one `@` before its digest, and names have single
/// underscores.
fn identifier_may_have_mark(text: &str) -> bool {
    let (before, after) = text.split_once('@').unwrap_or((text, ""));
    let has_mark = |text: &str| {
        text.contains("__") || text.bytes().any(|byte| byte != b'_' && is_of_mark(byte))
    };
    has_mark(before) || has_mark(after)
}

fn is_of_mark(byte: u8) -> bool {
    matches!(byte, b'$' | b'{' | b'<' | b'[' | b'%' | b'@' | b'#' | b'_')
}

/// A mark anywhere, since no identifier has one.
fn in_identifier<'a>(node: &Node<'_>, text: &'a str) -> Option<&'a str> {
    let mark = identifier_may_have_mark(text).then(|| any_mark(text));
    let mark = mark.flatten();
    let is_replace = |word: &str| word == "REPLACE" || word.starts_with("REPLACE_");
    mark.or_else(|| words(text).find(|word| is_placeholder_word(word) || is_replace(word)))
        .or_else(|| in_form(node, text))
}

fn any_mark(text: &str) -> Option<&str> {
    between(text, "${", "}")
        .or_else(|| between(text, "{{", "}}"))
        .or_else(|| enclosed(text, "#{", "}", is_name))
        .or_else(|| enclosed(text, "$(", ")", is_name))
        .or_else(|| enclosed(text, "{", "}", is_name))
        .or_else(|| enclosed(text, "<", ">", is_words))
        .or_else(|| enclosed(text, "[", "]", is_words))
        .or_else(|| enclosed(text, "%", "%", is_long_name))
        .or_else(|| enclosed(text, "__", "__", is_upper))
        .or_else(|| enclosed(text, "@", "@", is_upper))
        .or_else(|| variable(text))
}

fn is_identifier_word(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_uppercase()) && IDENTIFIERS.contains(&word)
}

/// Words that are wrong where an image, an ARN or a Region has another form.
fn in_form<'a>(node: &Node<'_>, text: &'a str) -> Option<&'a str> {
    let is_named = |word: &&str| is_identifier_word(word);
    if let Some(arn) = Arn::parse(text) {
        let account = Some(arn.account).filter(|account| {
            let is_number = account.bytes().all(|byte| byte.is_ascii_digit());
            // Objects of S3 have no account, policies of AWS have this one.
            !is_number && *account != "aws"
        });
        let region = Some(arn.region).filter(|it| !it.is_empty() && !arn::is_region(it));
        let resource = arn.service == "iam";
        let name = arn
            .resource
            .rsplit('/')
            .next()
            .filter(is_named)
            .filter(|_| resource);
        return account.or(region).or(name);
    }
    match node.key().unwrap_or_default() {
        "image" => in_image(text),
        "cpu"
        | "memory"
        | "executionRoleArn"
        | "taskRoleArn"
        | "awslogs-region"
        | "fileSystemId"
        | "accessPointId"
        | "credentialsParameter" => Some(text).filter(|text| is_upper(text)),
        _ => Some(text).filter(is_named),
    }
}

/// The grammar of images has lower case only, so a word in capitals is no repository.
fn in_image(text: &str) -> Option<&str> {
    let name = text.split('@').next().unwrap_or_default();
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (name, ""),
    };
    let is_named = |word: &&str| is_identifier_word(word);
    let labels: Vec<&str> = name
        .split('/')
        .next()
        .unwrap_or_default()
        .split('.')
        .collect();
    // `aws_account_id.dkr.ecr.region.amazonaws.com` is how AWS's documentation writes it.
    let of_ecr = match labels[..] {
        [account, "dkr", "ecr", region, ..] => {
            let account = Some(account).filter(|it| !arn::is_account(it));
            account.or(Some(region).filter(|it| !arn::is_region(it)))
        }
        _ => None,
    };
    of_ecr
        .or_else(|| name.split('/').find(|part| is_upper(part)))
        .or_else(|| words(name).find(is_named))
        .or_else(|| enclosed(tag, "__", "__", is_name).or(Some(tag).filter(is_named)))
}

/// A mark that is the whole value, or one that no text has by itself.
fn in_text(text: &str) -> Option<&str> {
    let is_variable =
        |inner: &str| inner.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let word = in_capitals(text).or_else(|| {
        let is_word = is_placeholder_word(text) && words(text).eq([text]);
        is_word.then_some(text)
    });
    let word = word.or_else(|| crossed_out_host(text));
    if word.is_some() || !may_have_mark(text) {
        return word;
    }
    enclosed(text, "${", "}", is_variable)
        .or_else(|| unclosed(text))
        .or_else(|| host(text))
        .or_else(|| enclosed(text, "#{", "}#", is_name))
        .or_else(|| braces(text))
        .or_else(|| angle_brackets(text))
        .or_else(|| is_whole_mark(text).then_some(text))
}

/// The shell and the program have marks of their own, so only what names a person's task counts.
fn in_command(text: &str) -> Option<&str> {
    let is_snake = |inner: &str| is_words(inner) && inner.contains(['-', '_', ' ']);
    let whole = enclosed(text, "<", ">", is_snake).filter(|mark| *mark == text);
    whole.or_else(|| in_capitals(text))
}

/// `YOUR_NAME`
fn in_capitals(text: &str) -> Option<&str> {
    text.contains('Y')
        .then(|| words(text).find(|word| is_your(word) && is_upper(word)))?
}

/// Whether the value is nothing but a mark.
fn is_whole_mark(text: &str) -> bool {
    let is_all = |mark: Option<&str>| mark == Some(text);
    let is_snake =
        |inner: &str| is_upper(&inner.replace([' ', '-'], "_")) && inner.contains(['_', ' ', '-']);
    is_all(enclosed(text, "#{", "}", is_name))
        || is_all(enclosed(text, "$(", ")", is_name))
        || is_all(enclosed(text, "[", "]", is_snake))
        || is_all(enclosed(text, "%", "%", is_long_name))
        || is_all(enclosed(text, "__", "__", is_upper))
        || is_all(variable(text).filter(|name| is_upper(&name[1..])))
}

/// `http://MONITORING_HOST:4318`: no host has such a name.
fn host(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let name = authority.rsplit('@').next()?.split(':').next()?;
    (name.contains('_') && is_upper(name)).then_some(name)
}

/// `db.xxxxx.us-east-1.rds.amazonaws.com`
fn crossed_out_host(text: &str) -> Option<&str> {
    let is_of_aws = text.contains('.') && text.contains(".amazonaws.com");
    is_of_aws.then(|| words(text).find(|word| is_crossed_out(word)))?
}

/// `${` without its end.
fn unclosed(text: &str) -> Option<&str> {
    let (_, rest) = text.rsplit_once("${")?;
    let start = text.len() - rest.len() - 2;
    let is_name = !rest.is_empty() && is_upper(rest);
    is_name.then(|| &text[start..])
}

/// `{{ name }}` of a template in a value that is one word apart from it. A text with several words
/// may be one of the program's own templates, and `{{.Name}}` is one of Go's.
fn braces(text: &str) -> Option<&str> {
    let mark = between(text, "{{", "}}")?;
    let inner = mark.strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let is_template = inner.starts_with(|first: char| first.is_ascii_alphabetic());
    let mut outside = text
        .split("{{")
        .map(|part| part.rsplit("}}").next().unwrap_or_default());
    let is_one_word = outside.all(|part| !part.contains(char::is_whitespace));
    let is_known = tool_of(mark, Use::Text).is_some();
    (is_template && (is_one_word || is_known)).then_some(mark)
}

/// A name in angle brackets such as `<account-id>`, but not `a < b`, `2>&1` or `<strong>`.
fn angle_brackets(text: &str) -> Option<&str> {
    const ELEMENTS: [&str; 32] = [
        "a", "b", "body", "br", "button", "center", "code", "div", "em", "font", "footer", "form",
        "head", "header", "hr", "html", "i", "img", "li", "ol", "p", "pre", "script", "small",
        "span", "strong", "style", "table", "td", "tr", "u", "ul",
    ];
    let mark = enclosed(text, "<", ">", is_words)?;
    let start = text.find(mark)?;
    // `List<Item>` is a type, `(?<name>x)` a regular expression.
    let is_type = text[..start].ends_with(|it: char| it.is_ascii_alphanumeric() || it == '?');
    let name = mark[1..mark.len() - 1].to_ascii_lowercase();
    let first = name.split(' ').next().unwrap_or_default();
    let is_heading = first.len() == 2 && first.starts_with('h');
    let is_markup = text.contains("</") || text.contains("/>") || is_heading;
    (!is_markup && !is_type && !ELEMENTS.contains(&first)).then_some(mark)
}

/// `$NAME`
fn variable(text: &str) -> Option<&str> {
    text.match_indices('$').find_map(|(start, _)| {
        let name = &text[start + 1..];
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let end = name
            .bytes()
            .position(|byte| !inner(byte))
            .unwrap_or(name.len());
        let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        begins.then(|| &text[start..=start + end])
    })
}

/// The first part of `text` that starts with `from` and ends with `to`, or the rest of the text
/// where `to` is missing.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let part = &text[text.find(from)?..];
    Some(part.find(to).map_or(part, |end| &part[..end + to.len()]))
}

/// The first part between two marks, with the marks, whose inner text is as it should be.
fn enclosed<'a>(
    text: &'a str,
    from: &str,
    to: &str,
    is_inner: fn(&str) -> bool,
) -> Option<&'a str> {
    text.match_indices(from).find_map(|(start, _)| {
        let inner = &text[start + from.len()..];
        let end = inner.find(to)?;
        let is_mark = end > 0 && is_inner(&inner[..end]);
        is_mark.then(|| &text[start..start + from.len() + end + to.len()])
    })
}

fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(inner)
}

/// `%H%M` of a time format has shorter ones.
fn is_long_name(text: &str) -> bool {
    text.len() >= 3 && is_name(text)
}

fn is_words(text: &str) -> bool {
    is_name(&text.replace([' ', '/'], "_"))
}

fn is_upper(text: &str) -> bool {
    let inner = |byte: u8| {
        byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
    };
    text.len() >= 3
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.bytes().all(inner)
}

/// Runs of letters, digits, `_` and `-`.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_inner = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    text.split(move |letter| !is_inner(letter))
        .filter(|word| !word.is_empty())
}

/// `YOUR_NAME`, `your-name`, `yourName`
fn is_your(word: &str) -> bool {
    let start = word
        .get(..4)
        .filter(|start| start.eq_ignore_ascii_case("your"));
    let next = start.and_then(|_| word[4..].chars().next());
    next.is_some_and(|next| {
        "_-".contains(next) || (next.is_ascii_uppercase() && word.starts_with("your"))
    })
}

/// A word that stands for a value in any place.
fn is_placeholder_word(word: &str) -> bool {
    // Most words are ruled out by their first letter.
    let begins = match word.as_bytes().first() {
        Some(b'Y' | b'y') => is_your(word),
        Some(b'C' | b'c' | b'R' | b'r') => {
            let upper = word.to_ascii_uppercase().replace('-', "_");
            PLACEHOLDER_STARTS.iter().any(|start| {
                let rest = upper.strip_prefix(start);
                rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_alphabetic()))
            })
        }
        _ => false,
    };
    begins || LATER.contains(&word) || is_named_placeholder(word) || is_crossed_out(word)
}

fn is_named_placeholder(word: &str) -> bool {
    const NAME: &str = "PLACEHOLDER";
    word.contains('H')
        && word.split(['_', '-']).any(|part| part == NAME)
        && !word.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// A run of four X or more, also behind a prefix as that of an id.
fn is_crossed_out(word: &str) -> bool {
    const LENGTH_MIN: usize = 4;
    if !word.contains('X') && !word.contains('x') {
        return false;
    }
    let is_run =
        |part: &str, letter| part.len() >= LENGTH_MIN && part.bytes().all(|byte| byte == letter);
    let mut parts = word.split(['-', '_']);
    parts.any(|part| is_run(part, b'X') || is_run(part, b'x'))
}
