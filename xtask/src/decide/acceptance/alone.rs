//! What the images have to do when each runs alone, with stand-ins for what it calls.

use serde_json::{Value, json};

use super::Sights;
use super::answers::{self, Heard};

/// One service's image in a container of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alone {
    pub health: Heard,
    /// Exit code of the definition's health check, run in the container.
    pub health_check: Result<i64, String>,
    /// All that it wrote, line by line.
    pub lines: Vec<String>,
}

/// What a dispatch is asked under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// Governance says yes.
    Permitted,
    /// Governance says yes, and the request has no correlation id.
    WithoutId,
    /// Governance says no.
    Denied,
    /// Governance answers with an error.
    Unanswered,
}

/// One dispatch, and the calls that it led to, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    pub case: Case,
    /// The id that was given.
    pub correlation_id: Option<String>,
    pub heard: Heard,
    pub calls: Vec<Call>,
}

/// A call that a stand-in took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub peer: Peer,
    /// Governance has it from the question: a function sees no header.
    pub correlation_id: Option<String>,
    pub body: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Governance,
    Axon,
}

/// What axon's stand-in says: not the heartbeat, so that nobody can have made it up.
pub const STAND_IN_MESSAGE: &str = "the heartbeat of a stand-in";
/// What governance's stand-in says no with.
pub const STAND_IN_REASON: &str = "a stand-in says no";

/// The health route, and the definition's own health check.
pub fn health(service: &str, alone: &Alone) -> Sights {
    let checked = match &alone.health_check {
        Ok(0) => Ok("the definition's health check: exit 0".to_owned()),
        Ok(code) => Err(format!("the definition's health check: exit {code}")),
        Err(why) => Err(format!("the definition's health check: {why}")),
    };
    Sights::of([answers::healthy(service, &alone.health), checked])
}

/// Governance is asked the question of its contract, and before axon; without its answer axon is
/// not called.
pub fn governance_first(dispatches: &[Dispatch]) -> Sights {
    let permitted = find(dispatches, Case::Permitted).and_then(|dispatch| {
        answers::dispatched(&dispatch.heard, STAND_IN_MESSAGE)?;
        calls(
            "a permitted dispatch",
            dispatch,
            &[Peer::Governance, Peer::Axon],
        )?;
        asked(&dispatch.calls[0].body)?;
        Ok("governance was asked, then axon".to_owned())
    });
    let unanswered = find(dispatches, Case::Unanswered).and_then(|dispatch| {
        let what = "a dispatch without governance's answer";
        let answer = dispatch
            .heard
            .as_ref()
            .map_err(|why| format!("{what}: {why}"))?;
        if answer.status != 503 {
            return Err(format!("{what}: {}, expected 503", answer.status));
        }
        calls(what, dispatch, &[Peer::Governance])?;
        Ok("when governance fails: 503, axon not called".to_owned())
    });
    Sights::of([permitted, unanswered])
}

pub fn denial_blocks(dispatches: &[Dispatch]) -> Sights {
    Sights::of([find(dispatches, Case::Denied).and_then(|dispatch| {
        let told = answers::denied(&dispatch.heard)?;
        calls("a denied dispatch", dispatch, &[Peer::Governance])?;
        Ok(format!("{told}, axon not called"))
    })])
}

/// The id is the same in the answer, in each call and on the request's line in the log.
pub fn correlation(dispatches: &[Dispatch], lines: &[String]) -> Sights {
    let mut sights = Vec::new();
    let mut ids = Vec::new();
    for dispatch in dispatches {
        let request = match dispatch.case {
            Case::Permitted => "permitted",
            Case::WithoutId => "without an id",
            Case::Denied => "denied",
            Case::Unanswered => "without governance's answer",
        };
        let given = dispatch.correlation_id.as_deref();
        sights.push(answers::correlated(request, &dispatch.heard, given));
        let answered = dispatch.heard.as_ref().ok();
        let id = answered.and_then(|answer| answer.correlation_id.clone());
        for call in &dispatch.calls {
            if call.correlation_id != id || id.is_none() {
                sights.push(Err(format!(
                    "{request}: the call to {:?} has the id {}",
                    call.peer,
                    call.correlation_id.as_deref().unwrap_or("none")
                )));
            }
        }
        ids.extend(id);
    }
    sights.push(answers::logged("orbit", lines, &ids));
    Sights::of(sights)
}

/// The question of the contract. What else stands in it is for logs, and decides nothing.
fn asked(question: &str) -> Result<(), String> {
    let fields: Value = serde_json::from_str(question).unwrap_or_default();
    let expected = json!({ "service": "orbit", "intent": "call_reasoning" });
    let has = |name: &str| fields[name] == expected[name];
    if has("service") && has("intent") {
        return Ok(());
    }
    Err(format!("governance was asked {question}, not {expected}"))
}

fn find(dispatches: &[Dispatch], case: Case) -> Result<&Dispatch, String> {
    let found = dispatches.iter().find(|dispatch| dispatch.case == case);
    found.ok_or_else(|| "orbit was not asked".to_owned())
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
    use super::super::answers::Answer;
    use super::super::answers::testing::line;
    use super::*;

    fn call(peer: Peer, id: &str) -> Call {
        let question = json!({
            "service": "orbit", "intent": "call_reasoning", "correlation_id": id,
        });
        let body = match peer {
            Peer::Governance => question.to_string(),
            Peer::Axon => String::new(),
        };
        Call {
            peer,
            correlation_id: Some(id.to_owned()),
            body,
        }
    }

    fn dispatch(case: Case, id: &str, status: u16, body: &Value, peers: &[Peer]) -> Dispatch {
        Dispatch {
            case,
            correlation_id: (case != Case::WithoutId).then(|| id.to_owned()),
            heard: Ok(Answer {
                status,
                correlation_id: Some(id.to_owned()),
                task_revision: None,
                body: body.to_string(),
            }),
            calls: peers.iter().map(|peer| call(*peer, id)).collect(),
        }
    }

    /// An orbit that does all that it should.
    fn good() -> [Dispatch; 4] {
        use Peer::{Axon, Governance};
        let success = json!({ "status": "success", "message": STAND_IN_MESSAGE });
        let denied = json!({ "status": "denied", "reason": STAND_IN_REASON });
        let both = [Governance, Axon];
        [
            dispatch(Case::Permitted, "a", 200, &success, &both),
            dispatch(Case::WithoutId, "b", 200, &success, &both),
            dispatch(Case::Denied, "c", 403, &denied, &[Governance]),
            dispatch(Case::Unanswered, "d", 503, &json!({}), &[Governance]),
        ]
    }

    fn lines() -> Vec<String> {
        ["a", "b", "c", "d"]
            .map(|id| line("orbit", "request", Some(id)))
            .to_vec()
    }

    /// The statuses of the three criteria that speak of dispatches.
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
    fn governance_not_asked_fails() {
        let statuses = broken(|all| drop(all[0].calls.remove(0)));
        assert_eq!(statuses, [Fail, Pass, Pass]);
        for question in ["", "{}", r#"{"service":"orbit","intent":"another"}"#] {
            let asked_otherwise = broken(|all| all[0].calls[0].body = question.to_owned());
            assert_eq!(asked_otherwise, [Fail, Pass, Pass], "{question}");
        }
    }

    #[test]
    fn an_orbit_that_makes_the_message_up_fails() {
        let made_up = json!({ "status": "success", "message": answers::HEARTBEAT });
        let statuses = broken(|all| {
            all[0] = dispatch(Case::Permitted, "a", 200, &made_up, &[Peer::Governance]);
        });
        assert_eq!(statuses, [Fail, Pass, Pass]);
    }

    #[test]
    fn axon_called_in_spite_of_a_denial_or_of_silence_fails() {
        let statuses = broken(|all| all[2].calls.push(call(Peer::Axon, "c")));
        assert_eq!(statuses, [Pass, Fail, Pass]);
        let statuses = broken(|all| all[3].calls.push(call(Peer::Axon, "d")));
        assert_eq!(statuses, [Fail, Pass, Pass]);
    }

    #[test]
    fn a_denial_that_nobody_was_asked_for_fails() {
        assert_eq!(broken(|all| all[2].calls.clear()), [Pass, Fail, Pass]);
    }

    #[test]
    fn failing_open_fails() {
        let statuses = broken(|all| {
            all[3].heard = all[0].heard.clone().map(|answer| Answer {
                correlation_id: Some("d".to_owned()),
                ..answer
            });
        });
        assert_eq!(statuses, [Fail, Pass, Pass]);
    }

    #[test]
    fn an_id_that_is_lost_anywhere_fails() {
        let in_a_call = broken(|all| all[0].calls[1].correlation_id = None);
        assert_eq!(in_a_call, [Pass, Pass, Fail]);
        let another = broken(|all| all[1].calls[0].correlation_id = Some("x".to_owned()));
        assert_eq!(another, [Pass, Pass, Fail]);
        let in_the_answer = broken(|all| {
            if let Ok(answer) = &mut all[2].heard {
                answer.correlation_id = Some("new".to_owned());
            }
        });
        assert_eq!(in_the_answer, [Pass, Pass, Fail]);
        assert_eq!(judged(&good(), &lines()[1..]), [Pass, Pass, Fail]);
    }

    #[test]
    fn no_answer_fails_all_of_it() {
        let statuses = broken(|all| {
            for dispatch in all {
                dispatch.heard = Err("no answer".to_owned());
            }
        });
        assert_eq!(statuses, [Fail, Fail, Fail]);
        assert_eq!(judged(&[], &[]), [Fail, Fail, Fail]);
    }

    #[test]
    fn the_definitions_health_check_counts() {
        let alone = Alone {
            health: answers::testing::heard(
                200,
                &json!({ "status": "healthy", "service": "orbit" }),
            ),
            health_check: Ok(0),
            lines: Vec::new(),
        };
        let status = |alone: &Alone| health("orbit", alone).judge(OrbitHealth, "").status;
        assert_eq!(status(&alone), Pass);
        for broken in [Ok(1), Err("there is none".to_owned())] {
            let health_check = broken;
            assert_eq!(
                status(&Alone {
                    health_check,
                    ..alone.clone()
                }),
                Fail
            );
        }
    }
}
