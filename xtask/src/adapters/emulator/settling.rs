//! Waits after a restart until the services run again, whose tasks are started again.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::access_key::AccessKey;
use super::client;

const LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);

/// `false`: the limit is exceeded.
pub(super) async fn wait(port: u16, key: &AccessKey) -> bool {
    let deadline = Instant::now() + LIMIT;
    while !settled(port, key).await.unwrap_or(false) {
        if Instant::now() > deadline {
            return false;
        }
        sleep(POLL).await;
    }
    true
}

async fn settled(port: u16, key: &AccessKey) -> Option<bool> {
    let clusters = ecs(port, key, "ListClusters", json!({})).await?;
    let mut behind_balancers = false;
    for cluster in strings(&clusters["clusterArns"]) {
        let listed = ecs(port, key, "ListServices", json!({ "cluster": cluster })).await?;
        let names: Vec<&str> = strings(&listed["serviceArns"]).collect();
        if names.is_empty() {
            continue;
        }
        let input = json!({ "cluster": cluster, "services": names });
        let described = ecs(port, key, "DescribeServices", input).await?;
        for service in described["services"].as_array()? {
            if service["runningCount"] != service["desiredCount"] {
                return Some(false);
            }
            let balanced = service["loadBalancers"]
                .as_array()
                .is_some_and(|list| !list.is_empty());
            behind_balancers |= service["desiredCount"] != 0 && balanced;
        }
    }
    Some(!behind_balancers || balancers_answer(port, key).await?)
}

/// Whether every load balancer answers `/health` with a status below 500.
async fn balancers_answer(port: u16, key: &AccessKey) -> Option<bool> {
    let form = "Action=DescribeLoadBalancers&Version=2015-12-01";
    let answer = client::query(port, key, "elasticloadbalancing", form).await?;
    let paths = names(&answer).map(|name| format!("/_alb/{name}/health"));
    let statuses =
        join_all(paths.map(|path| async move { client::status(port, &path).await })).await;
    Some(
        statuses
            .into_iter()
            .all(|status| status.is_some_and(|status| status < 500)),
    )
}

/// The names in the XML of `DescribeLoadBalancers`.
fn names(answer: &str) -> impl Iterator<Item = &str> {
    answer
        .split("<LoadBalancerName>")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('<')?.0))
}

async fn ecs(port: u16, key: &AccessKey, operation: &str, input: Value) -> Option<Value> {
    let target = format!("AmazonEC2ContainerServiceV20141113.{operation}");
    client::json(port, key, &target, &input).await
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_the_answer() {
        let answer = "<member><LoadBalancerName>demo</LoadBalancerName></member>\
            <member><LoadBalancerName>other</LoadBalancerName></member>";
        assert_eq!(names(answer).collect::<Vec<_>>(), ["demo", "other"]);
        assert_eq!(names("<LoadBalancers/>").count(), 0);
    }
}
