//! Evaluates the policies for one request. It fails closed: without a policy that permits, or
//! with one that cannot be evaluated, the answer is no.

use cedar_policy::{
    Authorizer, Context, Decision as CedarDecision, EntityUid, PolicyId, Request, Response,
};
use serde::Serialize;
use serde_json::json;

use crate::policies::{Policies, sorted};
use crate::question::{NAME_CHARACTERS_MAX, Question, is_name};

/// The most of a name that a reason quotes.
const QUOTED_CHARACTERS_MAX: usize = 64;
/// Bounds reasons and faults: texts of policies and of Cedar may have any length.
const REASON_CHARACTERS_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyDecision {
    pub verdict: Verdict,
    /// The ids of the policies that decided; empty where none did.
    pub policies: Vec<String>,
    /// The reason for the caller.
    pub reason: String,
    /// Why the policies could not be evaluated: for the log only.
    pub faults: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Permitted,
    Forbidden,
    /// No policy matched, and none that permits means no.
    NothingPermits,
    /// The service or the intent is not a valid name. The policies are not evaluated.
    Invalid,
    /// The policies could not be evaluated, which means no.
    Failed,
}

/// The response to the caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DecisionResponse {
    pub allowed: bool,
    pub reason: String,
}

impl PolicyDecision {
    pub fn answer(&self) -> DecisionResponse {
        DecisionResponse {
            allowed: self.verdict == Verdict::Permitted,
            reason: self.reason.clone(),
        }
    }
}

/// Cedar ignores a policy that fails to evaluate, even a forbid; here the answer is no then.
pub fn decide(policies: &Policies, question: &Question) -> PolicyDecision {
    for (field, text) in [("service", &question.service), ("intent", &question.intent)] {
        if !is_name(text) {
            return invalid(field);
        }
    }
    let response = match request(policies, question) {
        Ok(request) => Authorizer::new().is_authorized(&request, &policies.set, &policies.entities),
        Err(error) => return failed(&[error]),
    };
    let errors = sorted(response.diagnostics().errors());
    if errors.is_empty() {
        explain(policies, question, &response)
    } else {
        failed(&errors)
    }
}

fn request(policies: &Policies, question: &Question) -> Result<Request, String> {
    Request::new(
        entity("Service", &question.service)?,
        entity("Action", "dispatch")?,
        entity("Intent", &question.intent)?,
        Context::empty(),
        Some(&policies.schema),
    )
    .map_err(|error| error.to_string())
}

/// From JSON, so that a caller's text is never parsed as Cedar.
fn entity(kind: &str, id: &str) -> Result<EntityUid, String> {
    EntityUid::from_json(json!({ "type": kind, "id": id })).map_err(|error| error.to_string())
}

fn explain(policies: &Policies, question: &Question, response: &Response) -> PolicyDecision {
    let deciding = sorted(response.diagnostics().reason());
    let (verdict, reason) = match response.decision() {
        CedarDecision::Allow => (Verdict::Permitted, cite(policies, "permitted", &deciding)),
        CedarDecision::Deny if deciding.is_empty() => (
            Verdict::NothingPermits,
            format!(
                "no policy permits service \"{}\" to dispatch \"{}\"",
                cut(&question.service, QUOTED_CHARACTERS_MAX),
                cut(&question.intent, QUOTED_CHARACTERS_MAX)
            ),
        ),
        CedarDecision::Deny => (Verdict::Forbidden, cite(policies, "forbidden", &deciding)),
    };
    PolicyDecision {
        verdict,
        policies: deciding,
        reason: cut(&reason, REASON_CHARACTERS_MAX),
        faults: vec![],
    }
}

fn cite(policies: &Policies, verb: &str, ids: &[String]) -> String {
    let cited: Vec<String> = ids
        .iter()
        .map(
            |id| match policies.set.annotation(&PolicyId::new(id), "reason") {
                Some(reason) => format!("{id} ({reason})"),
                None => id.clone(),
            },
        )
        .collect();
    format!("{verb} by policy {}", cited.join(", "))
}

fn invalid(field: &str) -> PolicyDecision {
    PolicyDecision {
        verdict: Verdict::Invalid,
        policies: vec![],
        reason: format!("{field} is not 1 to {NAME_CHARACTERS_MAX} characters of [A-Za-z0-9._-]"),
        faults: vec![],
    }
}

/// Errors of Cedar go to the log only, because they describe the policies.
fn failed(errors: &[String]) -> PolicyDecision {
    let cut = |error: &String| cut(error, REASON_CHARACTERS_MAX);
    PolicyDecision {
        verdict: Verdict::Failed,
        policies: vec![],
        reason: "the policies could not be evaluated".to_owned(),
        faults: errors.iter().map(cut).collect(),
    }
}

fn cut(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::{PolicyFile, SCHEMA};

    fn question(service: &str, intent: &str) -> Question {
        Question {
            service: service.to_owned(),
            intent: intent.to_owned(),
            correlation_id: None,
        }
    }

    fn decide_in_force(service: &str, intent: &str) -> PolicyDecision {
        decide(&Policies::built_in().unwrap(), &question(service, intent))
    }

    fn parse(schema: &str, text: &'static str) -> Policies {
        Policies::parse(
            schema,
            &[PolicyFile {
                name: "test.cedar",
                text,
            }],
        )
        .unwrap()
    }

    #[test]
    fn a_permit_is_named() {
        let decision = decide_in_force("orbit", "call_reasoning");
        assert_eq!(decision.verdict, Verdict::Permitted);
        assert_eq!(decision.policies, ["orbit-may-call-reasoning"]);
        let answer = decision.answer();
        assert!(answer.allowed);
        assert_eq!(
            answer.reason,
            "permitted by policy orbit-may-call-reasoning (orbit dispatches reasoning)"
        );
    }

    #[test]
    fn a_forbid_is_named() {
        for intent in ["restart", "shutdown"] {
            let decision = decide_in_force("orbit", intent);
            assert_eq!(decision.verdict, Verdict::Forbidden);
            assert_eq!(decision.policies, ["operators-only"]);
            assert!(!decision.answer().allowed);
            assert_eq!(
                decision.reason,
                "forbidden by policy operators-only (only operators stop or restart what runs)"
            );
        }
    }

    #[test]
    fn what_nothing_permits_is_refused() {
        for (service, intent) in [
            ("orbit", "call_home"),
            ("axon", "call_reasoning"),
            ("Orbit", "call_reasoning"),
            ("orbit", "Call_reasoning"),
        ] {
            let decision = decide_in_force(service, intent);
            assert_eq!(
                decision.verdict,
                Verdict::NothingPermits,
                "{service} {intent}"
            );
            assert!(decision.policies.is_empty());
            assert!(!decision.answer().allowed);
            assert_eq!(
                decision.reason,
                format!("no policy permits service {service:?} to dispatch {intent:?}")
            );
        }
    }

    #[test]
    fn what_is_no_name_is_refused_although_a_policy_permits_all() {
        let policies = parse(
            SCHEMA,
            r#"@id("all") permit (principal, action, resource);"#,
        );
        let long = "x".repeat(129);
        for intent in [
            "",
            " ",
            "call_reasoning ",
            "a\" || true || \"",
            "\u{7f}",
            "é",
            &long,
        ] {
            for (service, intent, field) in [("orbit", intent, "intent"), (intent, "x", "service")]
            {
                let decision = decide(&policies, &question(service, intent));
                assert_eq!(decision.verdict, Verdict::Invalid, "{intent:?}");
                let answer = decision.answer();
                assert!(!answer.allowed);
                let expected = format!("{field} is not 1 to 128 characters of [A-Za-z0-9._-]");
                assert_eq!(answer.reason, expected);
            }
        }
    }

    #[test]
    fn a_reason_is_short_whatever_is_asked_and_whatever_policies_say() {
        let longest = "x".repeat(128);
        let reason = decide_in_force(&longest, &longest).reason;
        let quoted = format!("\"{}…\"", "x".repeat(64));
        assert_eq!(
            reason,
            format!("no policy permits service {quoted} to dispatch {quoted}")
        );
        let text = format!(
            r#"@id("all") @reason("{}") permit (principal, action, resource);"#,
            "é".repeat(10_000)
        );
        let policies = parse(SCHEMA, text.leak());
        let answer = decide(&policies, &question("orbit", "x")).answer();
        assert!(answer.allowed);
        assert_eq!(answer.reason.chars().count(), 257);
    }

    #[test]
    fn a_forbid_outweighs_a_permit() {
        let policies = parse(
            SCHEMA,
            r#"@id("all") permit (principal, action, resource);
               @id("not-x") forbid (principal, action, resource == Intent::"x");"#,
        );
        assert_eq!(
            decide(&policies, &question("orbit", "y")).reason,
            "permitted by policy all"
        );
        assert_eq!(
            decide(&policies, &question("orbit", "x")).reason,
            "forbidden by policy not-x"
        );
    }

    #[test]
    fn policies_that_agree_are_named_together() {
        let policies = parse(
            SCHEMA,
            r#"@id("b") permit (principal, action, resource);
               @id("a") @reason("why") permit (principal, action, resource);"#,
        );
        assert_eq!(
            decide(&policies, &question("orbit", "x")).reason,
            "permitted by policy a (why), b"
        );
    }

    #[test]
    fn an_evaluation_error_means_no_although_another_policy_permits() {
        let policies = parse(
            SCHEMA,
            r#"@id("all") permit (principal, action, resource);
               @id("overflows") forbid (principal, action, resource)
               when { 9223372036854775807 + 1 > 0 };"#,
        );
        let decision = decide(&policies, &question("orbit", "x"));
        assert_eq!(decision.verdict, Verdict::Failed);
        assert!(!decision.answer().allowed);
        assert_eq!(decision.reason, "the policies could not be evaluated");
        let faults = decision.faults.join(";");
        assert!(faults.contains("overflows"), "{faults}");
    }

    #[test]
    fn a_question_outside_the_schema_means_no() {
        let schema = r#"entity Service enum ["orbit"]; entity Intent;
            action dispatch appliesTo { principal: [Service], resource: [Intent] };"#;
        let policies = parse(
            schema,
            r#"@id("all") permit (principal, action, resource);"#,
        );
        assert!(decide(&policies, &question("orbit", "x")).answer().allowed);
        let decision = decide(&policies, &question("axon", "x"));
        assert_eq!(decision.verdict, Verdict::Failed);
        assert!(!decision.answer().allowed);
    }
}
