//! Governance as a Lambda function, asked at its alias by one signed POST
//! (<https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>). The SDK says where Lambda is and
//! has the credentials; the call is the kit's, because the SDK's takes twice as much processor time
//! as all else in a dispatch.

use anyhow::Context as _;
use aws_sdk_lambda::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
use http::{HeaderMap, StatusCode, Uri};
use service_kit::outbound::{Ending, Target};
use service_kit::sigv4::{SignedFor, Signer};
use service_kit::{Aws, Dependencies};

use super::{FUNCTION_ERROR, target_at};
use crate::Settings;
use crate::settings::FunctionName;

pub(super) async fn target(
    function: &FunctionName,
    settings: &Settings,
    dependencies: &Dependencies,
) -> anyhow::Result<Target> {
    let region = settings.base.region.clone();
    let region = region.context("AWS_REGION is not set, and the function is in a region")?;
    let url = url(function, &region, &dependencies.aws).await?;
    let clock = dependencies.clock.clone();
    let role = dependencies.aws.credentials();
    let signer = Signer::with_role(role, SignedFor::Lambda, region, clock);
    Ok(Target {
        ending,
        signer: Some(signer),
        ..target_at(url, settings)
    })
}

/// Of the partition that the region is in, or where `AWS_ENDPOINT_URL` says.
async fn url(function: &FunctionName, region: &str, aws: &Aws) -> anyhow::Result<Uri> {
    let config = aws.config();
    let parameters = Params::builder()
        .region(region)
        .set_endpoint(config.endpoint_url().map(str::to_owned))
        .build()?;
    let endpoint = DefaultResolver::new()
        .resolve_endpoint(&parameters)
        .await
        .map_err(anyhow::Error::from_boxed)
        .with_context(|| format!("no Lambda is known in {region}"))?;
    let FunctionName { name, alias } = function;
    let endpoint = endpoint.url().trim_end_matches('/');
    let url = format!("{endpoint}/2015-03-31/functions/{name}/invocations?Qualifier={alias}");
    url.parse().with_context(|| format!("{url} is no URL"))
}

/// A function that fails answers with status 200 and a header of its own. Lambda's 500 is a passing
/// one, other than that of a service that breaks on a request.
fn ending(status: StatusCode, headers: &HeaderMap) -> Ending {
    match status {
        _ if headers.contains_key(FUNCTION_ERROR) => Ending::Broken,
        StatusCode::INTERNAL_SERVER_ERROR => {
            Ending::of_answer(StatusCode::SERVICE_UNAVAILABLE, headers)
        }
        _ => Ending::of_answer(status, headers),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use service_kit::TrustRoots;

    use super::*;

    #[test]
    fn lambdas_own_errors_pass_and_the_callers_do_not() {
        let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, 2.into())]);
        let retry_after = Some(Duration::from_secs(2));
        for (status, expected) in [
            (400, Ending::Answered),
            (403, Ending::Answered),
            (404, Ending::Answered),
            (429, Ending::Throttled { retry_after }),
            (500, Ending::Unavailable { retry_after }),
            (502, Ending::Unavailable { retry_after }),
            (504, Ending::Unavailable { retry_after }),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(ending(status, &headers), expected, "{status}");
        }
    }

    #[tokio::test]
    async fn lambda_is_where_the_partition_of_the_region_has_it() {
        for (region, host) in [
            ("eu-central-1", "lambda.eu-central-1.amazonaws.com"),
            ("cn-north-1", "lambda.cn-north-1.amazonaws.com.cn"),
        ] {
            let aws = Aws::new(Some(region.to_owned()), None, TrustRoots::default());
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
