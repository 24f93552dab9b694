//! Criteria for one image that runs by itself, with stubs for the services that it calls.

use serde_json::{Value, json};

use super::Observations;
use super::responses::{self, HttpResult};

/// Observations of one service in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsolatedService {
    pub health: HttpResult,
    /// The exit code of the health check of the definition, run in the container.
    pub health_check: Result<i64, String>,
    /// The lines of its log.
    pub lines: Vec<String>,
}

/// The stubbed answers that a dispatch gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DispatchCase {
    /// Governance permits.
    Permitted,
    /// Governance permits, and the request has no correlation id.
    WithoutId,
    /// Governance denies.
    Denied,
    /// Governance answers with an error.
    Unanswered,
}

/// One dispatch and the calls that it caused, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    pub case: DispatchCase,
    /// The id of the request.
    pub correlation_id: Option<String>,
    pub response: HttpResult,
    pub calls: Vec<RecordedCall>,
}

/// A call that a stub received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedCall {
    pub peer: Peer,
    /// For governance that of the payload, since a function gets no headers.
    pub correlation_id: Option<String>,
    pub body: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Governance,
    Axon,
}

/// The message of the axon stub. It differs from the real heartbeat, so that orbit cannot make it
/// up.
pub const STUB_MESSAGE: &str = "the heartbeat of a stub";
/// The reason with which the governance stub denies.
pub const STUB_REASON: &str = "denied by a stub";

/// The health route, and the health check of the definition.
pub fn health(service: &str, alone: &IsolatedService) -> Observations {
    let check = format!("the health check of {service}'s definition");
    let checked = match &alone.health_check {
        Ok(0) => Ok(format!("{check}: exit 0")),
        Ok(code) => Err(format!("{check}: exit {code}")),
        Err(why) => Err(format!("{check}: {why}")),
    };
    Observations::of([responses::healthy(service, &alone.health), checked])
}

/// Orbit calls governance with the payload of its contract before it calls axon, and does not call
/// axon without an answer.
pub fn governance_first(dispatches: &[Dispatch]) -> Observations {
    let permitted = find(dispatches, DispatchCase::Permitted).and_then(|dispatch| {
        responses::dispatched(&dispatch.response, STUB_MESSAGE)?;
        calls(
            "a permitted dispatch",
            dispatch,
            &[Peer::Governance, Peer::Axon],
        )?;
        expect_question(&dispatch.calls[0].body)?;
        Ok("governance was called, then axon".to_owned())
    });
    let unanswered = find(dispatches, DispatchCase::Unanswered).and_then(|dispatch| {
        let what = "a dispatch without an answer of governance";
        let answer = dispatch
            .response
            .as_ref()
            .map_err(|why| format!("{what}: {why}"))?;
        if answer.status != 503 {
            return Err(format!("{what}: {}, expected 503", answer.status));
        }
        calls(what, dispatch, &[Peer::Governance])?;
        Ok("when governance fails: 503, axon not called".to_owned())
    });
    Observations::of([permitted, unanswered])
}

pub fn denial_blocks(dispatches: &[Dispatch]) -> Observations {
    Observations::of(
        [find(dispatches, DispatchCase::Denied).and_then(|dispatch| {
            let denied = responses::denied(&dispatch.response)?;
            calls("a denied dispatch", dispatch, &[Peer::Governance])?;
            Ok(format!("{denied}, axon not called"))
        })],
    )
}

/// The correlation id is the same in the response, in each call and in the log line of the request.
pub fn correlation(dispatches: &[Dispatch], lines: &[String]) -> Observations {
    let mut observations = Vec::new();
    let mut ids = Vec::new();
    for dispatch in dispatches {
        let request = match dispatch.case {
            DispatchCase::Permitted => "permitted",
            DispatchCase::WithoutId => "without an id",
            DispatchCase::Denied => "denied",
            DispatchCase::Unanswered => "without an answer of governance",
        };
        let given = dispatch.correlation_id.as_deref();
        observations.push(responses::correlated(request, &dispatch.response, given));
        let answered = dispatch.response.as_ref().ok();
        let id = answered.and_then(|answer| answer.correlation_id.clone());
        for call in &dispatch.calls {
            if call.correlation_id != id || id.is_none() {
                observations.push(Err(format!(
                    "{request}: the call to {:?} has the id {}",
                    call.peer,
                    call.correlation_id.as_deref().unwrap_or("none")
                )));
            }
        }
        ids.extend(id);
    }
    observations.push(responses::logged("orbit", lines, &ids));
    Observations::of(observations)
}

/// Checks the fields of the payload that governance decides by; others are for logs.
fn expect_question(question: &str) -> Result<(), String> {
    let fields: Value = serde_json::from_str(question).unwrap_or_default();
    let expected = json!({ "service": "orbit", "intent": "call_reasoning" });
    let has = |name: &str| fields[name] == expected[name];
    if has("service") && has("intent") {
        return Ok(());
    }
    Err(format!(
        "governance was called with {question}, expected {expected}"
    ))
}

fn find(dispatches: &[Dispatch], case: DispatchCase) -> Result<&Dispatch, String> {
    let found = dispatches.iter().find(|dispatch| dispatch.case == case);
    found.ok_or_else(|| "orbit was not called".to_owned())
}

fn calls(what: &str, dispatch: &Dispatch, expected: &[Peer]) -> Result<(), String> {
    let found: Vec<Peer> = dispatch.calls.iter().map(|call| call.peer).collect();
    if found == expected {
        return Ok(());
    }
    Err(format!("{what} called {found:?}, expected {expected:?}"))
}

#[cfg(test)]
mod tests {
    use super::super::Criterion::{CorrelationIds, DenialBlocks, GovernanceFirst, OrbitHealth};
    use super::super::Status;
    use super::super::responses::HttpResponse;
    use super::super::responses::testing::line;
    use super::*;

    fn call(peer: Peer, id: &str) -> RecordedCall {
        let question = json!({
            "service": "orbit", "intent": "call_reasoning", "correlation_id": id,
        });
        let body = match peer {
            Peer::Governance => question.to_string(),
            Peer::Axon => String::new(),
        };
        RecordedCall {
            peer,
            correlation_id: Some(id.to_owned()),
            body,
        }
    }

    fn dispatch(
        case: DispatchCase,
        id: &str,
        status: u16,
        body: &Value,
        peers: &[Peer],
    ) -> Dispatch {
        Dispatch {
            case,
            correlation_id: (case != DispatchCase::WithoutId).then(|| id.to_owned()),
            response: Ok(HttpResponse {
                status,
                correlation_id: Some(id.to_owned()),
                task_revision: None,
                body: body.to_string(),
            }),
            calls: peers.iter().map(|peer| call(*peer, id)).collect(),
        }
    }

    /// Dispatches of a correct orbit.
    fn good() -> [Dispatch; 4] {
        use Peer::{Axon, Governance};
        let success = json!({ "status": "success", "message": STUB_MESSAGE });
        let denied = json!({ "status": "denied", "reason": STUB_REASON });
        let both = [Governance, Axon];
        [
            dispatch(DispatchCase::Permitted, "a", 200, &success, &both),
            dispatch(DispatchCase::WithoutId, "b", 200, &success, &both),
            dispatch(DispatchCase::Denied, "c", 403, &denied, &[Governance]),
            dispatch(
                DispatchCase::Unanswered,
                "d",
                503,
                &json!({}),
                &[Governance],
            ),
        ]
    }

    fn lines() -> Vec<String> {
        ["a", "b", "c", "d"]
            .map(|id| line("orbit", "request", Some(id)))
            .to_vec()
    }

    /// The statuses of the three criteria about dispatches.
    fn judged(dispatches: &[Dispatch], lines: &[String]) -> [Status; 3] {
        [
            governance_first(dispatches)
                .judge(GovernanceFirst, "")
                .status,
            denial_blocks(dispatches).judge(DenialBlocks, "").status,
            correlation(dispatches, lines)
                .judge(CorrelationIds, "")
                .status,
        ]
    }

    fn broken(change: impl FnOnce(&mut [Dispatch; 4])) -> [Status; 3] {
        let mut dispatches = good();
        change(&mut dispatches);
        judged(&dispatches, &lines())
    }

    use Status::{Fail, Pass};

    #[test]
    fn a_good_orbit_passes() {
        assert_eq!(judged(&good(), &lines()), [Pass, Pass, Pass]);
    }

    #[test]
    fn axon_before_governance_fails() {
        assert_eq!(broken(|all| all[0].calls.reverse()), [Fail, Pass, Pass]);
    }

    #[test]
    fn governance_not_called_fails() {
        let statuses = broken(|all| drop(all[0].calls.remove(0)));
        assert_eq!(statuses, [Fail, Pass, Pass]);
        for question in ["", "{}", r#"{"service":"orbit","intent":"another"}"#] {
            let other_question = broken(|all| all[0].calls[0].body = question.to_owned());
            assert_eq!(other_question, [Fail, Pass, Pass], "{question}");
        }
    }

    #[test]
    fn a_made_up_message_fails() {
        let made_up = json!({ "status": "success", "message": responses::HEARTBEAT });
        let statuses = broken(|all| {
            all[0] = dispatch(
                DispatchCase::Permitted,
                "a",
                200,
                &made_up,
                &[Peer::Governance],
            );
        });
        assert_eq!(statuses, [Fail, Pass, Pass]);
    }

    #[test]
    fn axon_called_without_permission_fails() {
        let statuses = broken(|all| all[2].calls.push(call(Peer::Axon, "c")));
        assert_eq!(statuses, [Pass, Fail, Pass]);
        let statuses = broken(|all| all[3].calls.push(call(Peer::Axon, "d")));
        assert_eq!(statuses, [Fail, Pass, Pass]);
    }

    #[test]
    fn a_denial_without_a_call_to_governance_fails() {
        assert_eq!(broken(|all| all[2].calls.clear()), [Pass, Fail, Pass]);
    }

    #[test]
    fn failing_open_fails() {
        let statuses = broken(|all| {
            all[3].response = all[0].response.clone().map(|answer| HttpResponse {
                correlation_id: Some("d".to_owned()),
                ..answer
            });
        });
        assert_eq!(statuses, [Fail, Pass, Pass]);
    }

    #[test]
    fn a_lost_id_fails() {
        let in_a_call = broken(|all| all[0].calls[1].correlation_id = None);
        assert_eq!(in_a_call, [Pass, Pass, Fail]);
        let another = broken(|all| all[1].calls[0].correlation_id = Some("x".to_owned()));
        assert_eq!(another, [Pass, Pass, Fail]);
        let in_the_answer = broken(|all| {
            if let Ok(answer) = &mut all[2].response {
                answer.correlation_id = Some("new".to_owned());
            }
        });
        assert_eq!(in_the_answer, [Pass, Pass, Fail]);
        assert_eq!(judged(&good(), &lines()[1..]), [Pass, Pass, Fail]);
    }

    #[test]
    fn no_response_fails_all_criteria() {
        let statuses = broken(|all| {
            for dispatch in all {
                dispatch.response = Err("no answer".to_owned());
            }
        });
        assert_eq!(statuses, [Fail, Fail, Fail]);
        assert_eq!(judged(&[], &[]), [Fail, Fail, Fail]);
    }

    #[test]
    fn the_definitions_health_check_counts() {
        let alone = IsolatedService {
            health: responses::testing::response(
                200,
                &json!({ "status": "healthy", "service": "orbit" }),
            ),
            health_check: Ok(0),
            lines: Vec::new(),
        };
        let status = |alone: &IsolatedService| health("orbit", alone).judge(OrbitHealth, "").status;
        assert_eq!(status(&alone), Pass);
        for broken in [Ok(1), Err("there is none".to_owned())] {
            let health_check = broken;
            assert_eq!(
                status(&IsolatedService {
                    health_check,
                    ..alone.clone()
                }),
                Fail
            );
        }
    }
}
