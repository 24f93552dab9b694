//! Governance as a Lambda function, invoked at its alias by one signed POST
//! (<https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>). The SDK resolves the
//! endpoint and the credentials. The call is made by the kit: a call by the SDK takes twice the
//! processor time of everything else in a dispatch.

use anyhow::Context as _;
use aws_sdk_lambda::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
use http::{HeaderMap, StatusCode, Uri};
use service_kit::outbound::{AttemptOutcome, CallTarget};
use service_kit::sigv4::{SignedFor, Signer};
use service_kit::{AwsSdk, Dependencies};

use super::{FUNCTION_ERROR, target_at};
use crate::settings::{FunctionName, Settings};

pub(super) async fn target(
    function: &FunctionName,
    settings: &Settings,
    dependencies: &Dependencies,
) -> anyhow::Result<CallTarget> {
    let region = settings.base.region.clone();
    let region = region.context("AWS_REGION is not set: the function's region is unknown")?;
    let url = url(function, &region, &dependencies.aws).await?;
    let clock = dependencies.clock.clone();
    let role = dependencies.aws.credentials();
    let signer = Signer::with_role(role, SignedFor::Lambda, region, clock);
    Ok(CallTarget {
        outcome,
        signer: Some(signer),
        ..target_at(url, settings)
    })
}

/// The invoke URL: at the endpoint of the region's partition, or at `AWS_ENDPOINT_URL`.
async fn url(function: &FunctionName, region: &str, aws: &AwsSdk) -> anyhow::Result<Uri> {
    let config = aws.config();
    let parameters = Params::builder()
        .region(region)
        .set_endpoint(config.endpoint_url().map(str::to_owned))
        .build()?;
    let endpoint = DefaultResolver::new()
        .resolve_endpoint(&parameters)
        .await
        .map_err(anyhow::Error::from_boxed)
        .with_context(|| format!("Lambda has no known endpoint in {region}"))?;
    let FunctionName { name, alias } = function;
    let endpoint = endpoint.url().trim_end_matches('/');
    let url = format!("{endpoint}/2015-03-31/functions/{name}/invocations?Qualifier={alias}");
    url.parse().with_context(|| format!("{url} is not a URL"))
}

/// Where the function failed, Lambda answers 200 with `X-Amz-Function-Error`. Lambda's own 500 is
/// transient (`ServiceException`), unlike the 500 of a service that fails on one request.
fn outcome(status: StatusCode, headers: &HeaderMap) -> AttemptOutcome {
    match status {
        _ if headers.contains_key(FUNCTION_ERROR) => AttemptOutcome::Broken,
        StatusCode::INTERNAL_SERVER_ERROR => {
            AttemptOutcome::of_response(StatusCode::SERVICE_UNAVAILABLE, headers)
        }
        _ => AttemptOutcome::of_response(status, headers),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use service_kit::TrustRoots;

    use super::*;

    #[test]
    fn transient_errors_of_lambda_are_unavailable_and_the_callers_errors_are_answers() {
        let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, 2.into())]);
        let retry_after = Some(Duration::from_secs(2));
        for (status, expected) in [
            (400, AttemptOutcome::Answered),
            (403, AttemptOutcome::Answered),
            (404, AttemptOutcome::Answered),
            (429, AttemptOutcome::Throttled { retry_after }),
            (500, AttemptOutcome::Unavailable { retry_after }),
            (502, AttemptOutcome::Unavailable { retry_after }),
            (504, AttemptOutcome::Unavailable { retry_after }),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(outcome(status, &headers), expected, "{status}");
        }
    }

    #[tokio::test]
    async fn lambda_is_called_in_the_partition_of_the_region() {
        for (region, host) in [
            ("eu-central-1", "lambda.eu-central-1.amazonaws.com"),
            ("cn-north-1", "lambda.cn-north-1.amazonaws.com.cn"),
        ] {
            let aws = AwsSdk::new(Some(region.to_owned()), None, TrustRoots::default());
            let function = "demo-governance:live".parse().unwrap();
            let url = url(&function, region, &aws).await.unwrap();
            assert_eq!(
                url.to_string(),
                format!(
                    "https://{host}/2015-03-31/functions/demo-governance/invocations?Qualifier=live"
                )
            );
        }
    }
}
