//! `local rehearse`: faults in front of the requests of one command. They are drawn from a seed, by
//! the name of a call and how often it was made before, so that the same seed spoils the same
//! calls. Only this process is affected: the local AWS knows nothing of it.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::report::RehearsedFault;

/// How much goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaultSettings {
    pub seed: u64,
    /// The share of the calls that fail or are slow.
    pub rate: f64,
    /// The share of the reads that are answered with an earlier answer.
    pub stale: f64,
    /// How long there is no network. It begins after the first call that changes something.
    pub blackout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Throttled,
    Failed,
    Delayed,
    /// The call is made, and the connection is closed before its answer.
    AnswerLost,
    /// The caller is told that the call timed out, and it is made later.
    MadeLater,
    Stale,
    NoNetwork,
}

impl Fault {
    fn text(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::AnswerLost => "answer lost",
            Self::MadeLater => "made later",
            Self::Stale => "stale",
            Self::NoNetwork => "no network",
        }
    }
}

/// Every rate falls on these in equal parts.
const OF_CALLS: [Fault; 5] = [
    Fault::Throttled,
    Fault::Failed,
    Fault::Delayed,
    Fault::AnswerLost,
    Fault::MadeLater,
];
/// Of requests that are not signed for AWS: probes, and pushes to the registry.
const OF_REQUESTS: [Fault; 2] = [Fault::Delayed, Fault::AnswerLost];

/// How old a stale answer is at most.
const STALE_MAX: Duration = Duration::from_secs(8);
/// The seconds of a delay, of a call that is made later, and until the network is gone.
const DELAY: std::ops::Range<f64> = 0.5..3.0;
const LATER: std::ops::Range<f64> = 2.0..10.0;
const UNTIL_BLACKOUT: std::ops::Range<f64> = 0.0..12.0;
/// How long an attempt without a network takes.
const UNREACHABLE: Duration = Duration::from_millis(500);

/// The faults of one command.
#[derive(Debug)]
pub struct Rehearsal {
    settings: FaultSettings,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    made: HashMap<String, u64>,
    /// The last answers to each read.
    answers: HashMap<u64, VecDeque<(Instant, RecordedAnswer)>>,
    blackout: Option<(Instant, Instant)>,
    counts: BTreeMap<(Fault, String), u32>,
}

#[derive(Debug, Clone)]
struct RecordedAnswer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Rehearsal {
    pub fn new(settings: FaultSettings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            state: Mutex::default(),
        })
    }

    /// What went wrong so far.
    pub fn counts(&self) -> Vec<RehearsedFault> {
        let counts = &self.state().counts;
        let counts = counts.iter().map(|((fault, call), count)| RehearsedFault {
            fault: fault.text().to_owned(),
            call: call.clone(),
            count: *count,
        });
        counts.collect()
    }

    pub(super) fn in_front_of(this: &Arc<Self>, real: SharedHttpConnector) -> SharedHttpConnector {
        SharedHttpConnector::new(FaultyConnector {
            rehearsal: Arc::clone(this),
            real,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault of this call, if any, and the randomness for it.
    fn draw(&self, call: &NamedCall) -> (Option<Fault>, fastrand::Rng) {
        let FaultSettings {
            seed,
            rate,
            stale,
            blackout,
        } = self.settings;
        let state = &mut *self.state();
        let made = state.made.entry(call.name.clone()).or_default();
        *made += 1;
        let mut random = fastrand::Rng::with_seed(hash(&(seed, &call.name, *made)));
        let now = Instant::now();
        if state.blackout.is_none() && call.changes() && !blackout.is_zero() {
            let begins = now + within(&mut fastrand::Rng::with_seed(seed), UNTIL_BLACKOUT);
            state.blackout = Some((begins, begins + blackout));
        }
        let is_gone = |(begins, ends)| begins <= now && now < ends;
        let fault = if state.blackout.is_some_and(is_gone) {
            Some(Fault::NoNetwork)
        } else if random.f64() < rate {
            let faults = if call.is_signed {
                &OF_CALLS[..]
            } else {
                &OF_REQUESTS
            };
            Some(faults[random.usize(..faults.len())])
        } else if call.may_be_stale() && random.f64() < stale {
            Some(Fault::Stale).filter(|_| state.answers.contains_key(&call.hash))
        } else {
            None
        };
        if let Some(fault) = fault {
            *state.counts.entry((fault, call.name.clone())).or_default() += 1;
        }
        (fault, random)
    }

    /// The oldest answer to the same read that is not too old.
    fn earlier(&self, call: &NamedCall) -> Option<RecordedAnswer> {
        let state = self.state();
        let answers = state.answers.get(&call.hash)?;
        answers.front().map(|(_, answer)| answer.clone())
    }

    async fn remember(
        &self,
        call: &NamedCall,
        response: HttpResponse,
    ) -> Result<HttpResponse, BoxError> {
        let answer = RecordedAnswer::of(response).await?;
        let mut state = self.state();
        let answers = state.answers.entry(call.hash).or_default();
        answers.push_back((Instant::now(), answer.clone()));
        while answers.len() > 1 && answers[0].0.elapsed() > STALE_MAX {
            answers.pop_front();
        }
        answer.response()
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl RecordedAnswer {
    async fn of(response: HttpResponse) -> Result<Self, BoxError> {
        let status = response.status().as_u16();
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Self {
            status,
            headers: headers.collect(),
            body: response.into_body().collect().await?.to_bytes(),
        })
    }

    fn response(self) -> Result<HttpResponse, BoxError> {
        let status = StatusCode::from_u16(self.status)?;
        let mut response = HttpResponse::new(status.into(), SdkBody::from(self.body));
        for (name, value) in self.headers {
            response.headers_mut().try_append(name, value)?;
        }
        Ok(response)
    }
}

/// What is known of a request.
struct NamedCall {
    /// The operation of AWS, or method and path.
    name: String,
    hash: u64,
    /// Whether it is signed for AWS.
    is_signed: bool,
    /// Whether AWS always answers with the newest state.
    is_consistent: bool,
}

impl NamedCall {
    fn of(request: &HttpRequest) -> Self {
        let header = |name| request.headers().get(name).unwrap_or_default();
        let body = request.body().bytes().unwrap_or_default();
        let target = header("x-amz-target");
        let form = std::str::from_utf8(body).unwrap_or_default();
        let action = form.split('&').find_map(|it| it.strip_prefix("Action="));
        let name = match (target.rsplit_once('.'), action) {
            (Some((_, operation)), _) => operation.to_owned(),
            (None, Some(action)) => action.to_owned(),
            (None, None) => format!("{} {}", request.method(), path(request.uri())),
        };
        Self {
            hash: hash(&(&name, request.uri(), body)),
            name,
            is_signed: header("authorization").starts_with("AWS4-HMAC-SHA256"),
            is_consistent: target.starts_with("DynamoDB"),
        }
    }

    fn changes(&self) -> bool {
        const READS: [&str; 8] = [
            "Batch", "Describe", "Filter", "GET ", "Get", "HEAD ", "List", "Query",
        ];
        self.is_signed && !READS.iter().any(|read| self.name.starts_with(read))
    }

    fn may_be_stale(&self) -> bool {
        self.is_signed && !self.changes() && !self.is_consistent
    }
}

fn path(uri: &str) -> &str {
    let after_host = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let path = after_host.find('/').map_or("/", |at| &after_host[at..]);
    path.split('?').next().unwrap_or_default()
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn within(random: &mut fastrand::Rng, seconds: std::ops::Range<f64>) -> Duration {
    let share = random.f64();
    Duration::from_secs_f64(seconds.start + share * (seconds.end - seconds.start))
}

#[derive(Debug)]
struct FaultyConnector {
    rehearsal: Arc<Rehearsal>,
    real: SharedHttpConnector,
}

impl HttpConnector for FaultyConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (rehearsal, real) = (Arc::clone(&self.rehearsal), self.real.clone());
        HttpConnectorFuture::new(async move { spoiled(&rehearsal, real, request).await })
    }
}

async fn spoiled(
    rehearsal: &Rehearsal,
    real: SharedHttpConnector,
    request: HttpRequest,
) -> Result<HttpResponse, ConnectorError> {
    let call = NamedCall::of(&request);
    let (fault, mut random) = rehearsal.draw(&call);
    let on_purpose = |fault: Fault| format!("{}, on purpose", fault.text());
    match fault {
        None => {}
        Some(Fault::Throttled) => return refusal(&request, "ThrottlingException", 400),
        Some(Fault::Failed) => return refusal(&request, "InternalFailure", 500),
        Some(Fault::Delayed) => sleep(within(&mut random, DELAY)).await,
        Some(fault @ Fault::AnswerLost) => {
            drop(real.call(request).await?);
            return Err(ConnectorError::io(on_purpose(fault).into()));
        }
        Some(fault @ Fault::MadeLater) => {
            let later = within(&mut random, LATER);
            drop(tokio::spawn(async move {
                sleep(later).await;
                real.call(request).await
            }));
            return Err(ConnectorError::timeout(on_purpose(fault).into()));
        }
        Some(Fault::Stale) => {
            if let Some(answer) = rehearsal.earlier(&call) {
                return answer.response().map_err(ConnectorError::io);
            }
        }
        Some(fault @ Fault::NoNetwork) => {
            sleep(UNREACHABLE).await;
            return Err(ConnectorError::io(on_purpose(fault).into()));
        }
    }
    let response = real.call(request).await?;
    if call.may_be_stale() && response.status().is_success() {
        return rehearsal
            .remember(&call, response)
            .await
            .map_err(ConnectorError::io);
    }
    Ok(response)
}

/// An error as the protocol of the request has it: XML for the query protocol, JSON for the others.
fn refusal(request: &HttpRequest, code: &str, status: u16) -> Result<HttpResponse, ConnectorError> {
    let message = "on purpose";
    let form = request.headers().get("content-type").unwrap_or_default();
    let body = if form.starts_with("application/x-www-form-urlencoded") {
        format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
             <Message>{message}</Message></Error><RequestId>0</RequestId></ErrorResponse>"
        )
    } else {
        json!({ "__type": code, "message": message }).to_string()
    };
    let answer = RecordedAnswer {
        status,
        headers: vec![("x-amzn-errortype".to_owned(), code.to_owned())],
        body: body.into(),
    };
    answer.response().map_err(ConnectorError::io)
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::http::SharedHttpConnector;

    use super::*;

    /// Answers with how many requests it has got.
    #[derive(Debug, Default, Clone)]
    struct Counting(Arc<Mutex<u32>>);

    impl Counting {
        fn count(&self) -> u32 {
            *self.0.lock().unwrap()
        }
    }

    impl HttpConnector for Counting {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            let mut count = self.0.lock().unwrap();
            *count += 1;
            let body = SdkBody::from(count.to_string());
            HttpConnectorFuture::ready(Ok(HttpResponse::new(StatusCode::OK.into(), body)))
        }
    }

    const NONE: FaultSettings = FaultSettings {
        seed: 1,
        rate: 0.0,
        stale: 0.0,
        blackout: Duration::ZERO,
    };

    fn rehearsed(settings: FaultSettings) -> (Arc<Rehearsal>, SharedHttpConnector, Counting) {
        let (rehearsal, real) = (Rehearsal::new(settings), Counting::default());
        let connector = SharedHttpConnector::new(real.clone());
        let connector = Rehearsal::in_front_of(&rehearsal, connector);
        (rehearsal, connector, real)
    }

    fn ecs(operation: &str) -> HttpRequest {
        let mut request = HttpRequest::get("http://127.0.0.1/").unwrap();
        let headers = request.headers_mut();
        headers.insert("x-amz-target", format!("AmazonECS.{operation}"));
        headers.insert("authorization", "AWS4-HMAC-SHA256 Credential=a");
        request
    }

    async fn body(response: HttpResponse) -> String {
        let bytes = RecordedAnswer::of(response).await.unwrap().body;
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// What becomes of each of some calls, as text.
    async fn endings(settings: FaultSettings, calls: &[&str]) -> Vec<String> {
        let (_, connector, _) = rehearsed(settings);
        let mut endings = Vec::new();
        for call in calls {
            endings.push(match connector.call(ecs(call)).await {
                Ok(response) => response.status().as_u16().to_string(),
                Err(error) => format!("{error:?}"),
            });
        }
        endings
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_seed_spoils_the_same_calls_whatever_comes_between() {
        let settings = FaultSettings { rate: 0.5, ..NONE };
        let calls = ["UpdateService"; 30];
        let first = endings(settings, &calls).await;
        assert_eq!(first, endings(settings, &calls).await);
        assert!(first.contains(&"400".to_owned()) && first.contains(&"500".to_owned()));
        let between: Vec<&str> = calls.iter().flat_map(|it| [*it, "ListTasks"]).collect();
        let mixed = endings(settings, &between).await;
        let ours: Vec<_> = mixed.into_iter().step_by(2).collect();
        assert_eq!(first, ours);
        let other = FaultSettings {
            seed: 2,
            ..settings
        };
        assert_ne!(first, endings(other, &calls).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_made_although_its_answer_is_lost_or_it_is_made_later() {
        let (rehearsal, connector, real) = rehearsed(FaultSettings { rate: 1.0, ..NONE });
        for _ in 0..40 {
            drop(connector.call(ecs("UpdateService")).await);
        }
        sleep(Duration::from_secs(20)).await;
        let made = real.count();
        let counts = rehearsal.counts();
        let of = |faults: &[&str]| -> u32 {
            let of_these = counts
                .iter()
                .filter(|it| faults.contains(&it.fault.as_str()));
            of_these.map(|it| it.count).sum()
        };
        assert_eq!(of(&["throttled", "failed"]), 40 - made);
        assert_eq!(of(&["delayed", "answer lost", "made later"]), made);
        assert_eq!(counts.len(), OF_CALLS.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_read_gets_an_earlier_answer_and_a_table_none() {
        let (_, connector, real) = rehearsed(FaultSettings { stale: 1.0, ..NONE });
        for _ in 0..3 {
            let answer = connector.call(ecs("DescribeServices")).await.unwrap();
            assert_eq!(body(answer).await, "1");
        }
        let mut query = ecs("Query");
        query
            .headers_mut()
            .insert("x-amz-target", "DynamoDB_2012.Query");
        drop(connector.call(query.try_clone().unwrap()).await);
        let answer = connector.call(query).await.unwrap();
        assert_eq!(body(answer).await, real.count().to_string());
    }

    #[tokio::test(start_paused = true)]
    async fn the_network_is_gone_for_a_while_after_the_first_change() {
        let blackout = Duration::from_secs(45);
        let (_, connector, _) = rehearsed(FaultSettings { blackout, ..NONE });
        let probe = || async {
            let probe = HttpRequest::get("http://127.0.0.1/health").unwrap();
            connector.call(probe).await.is_ok()
        };
        assert!(probe().await);
        sleep(Duration::from_mins(1)).await;
        assert!(probe().await);
        connector.call(ecs("UpdateService")).await.unwrap();
        let mut gone = Duration::ZERO;
        for _ in 0..80 {
            let began = Instant::now();
            let failed = !probe().await;
            sleep(Duration::from_secs(1)).await;
            gone += began.elapsed() * u32::from(failed);
        }
        assert!(gone.abs_diff(blackout) < Duration::from_secs(3), "{gone:?}");
        assert!(probe().await);
    }
}
