"""What a release of services takes without xtask, in seconds, as a line of JSON.

`ecs`: what ECS itself needed for the newest deployment of each, one after another. `by_hand`: the
same revisions registered again, updated, and waited for with the waiter of `aws ecs wait
services-stable`, one after another. Afterwards all runs what ran before.
"""

import json
import sys
import time

import botocore.session

READ_ONLY = {
    "taskDefinitionArn", "revision", "status", "requiresAttributes", "compatibilities",
    "registeredAt", "registeredBy", "deregisteredAt",
}


def main(endpoint, region, cluster, *services):
    ecs = botocore.session.get_session().create_client("ecs", region, endpoint_url=endpoint)
    deployments = [newest(ecs, cluster, service) for service in services]
    own = sum((it["finishedAt"] - it["startedAt"]).total_seconds() for it in deployments)
    began = time.monotonic()
    copies = [roll_out_copy(ecs, cluster, service) for service in services]
    by_hand = time.monotonic() - began
    for service, (before, copy) in zip(services, copies):
        update(ecs, cluster, service, before)
        ecs.deregister_task_definition(taskDefinition=copy)
    print(json.dumps({"ecs": own, "by_hand": by_hand}))


def newest(ecs, cluster, service):
    found = ecs.list_service_deployments(
        cluster=cluster, service=service, status=["SUCCESSFUL"], maxResults=1
    )["serviceDeployments"]
    return found[0]


def roll_out_copy(ecs, cluster, service):
    """Returns the revision that ran before, and its copy."""
    described = ecs.describe_services(cluster=cluster, services=[service])["services"][0]
    running = described["taskDefinition"]
    definition = ecs.describe_task_definition(taskDefinition=running)["taskDefinition"]
    copy = {name: value for name, value in definition.items() if name not in READ_ONLY}
    registered = ecs.register_task_definition(**copy)["taskDefinition"]["taskDefinitionArn"]
    update(ecs, cluster, service, registered)
    return running, registered


def update(ecs, cluster, service, revision):
    ecs.update_service(cluster=cluster, service=service, taskDefinition=revision)
    ecs.get_waiter("services_stable").wait(cluster=cluster, services=[service])


main(*sys.argv[1:])
