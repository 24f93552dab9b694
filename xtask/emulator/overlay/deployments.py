"""Service deployments and service revisions, recorded while the scheduler decides.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html
The texts of `statusReason` are not documented.
"""

import secrets
import string
import time

from ministack.core.responses import error_response_json, get_account_id, get_region, json_response
from ministack.services import ecs

from .pins import rely, replace

rely(ecs, "_sanitize", "_dispatch_action")

KEPT = 100
OPEN = ("PENDING", "IN_PROGRESS", "STOP_REQUESTED", "ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS")
GOING_BACK = ("ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS")


def arn(service, kind, identity):
    cluster = service["clusterArn"].rsplit("/", 1)[-1]
    name = service["serviceName"]
    return f"arn:aws:ecs:{get_region()}:{get_account_id()}:{kind}/{cluster}/{name}/{identity}"


def revision_arn(service, deployment):
    return arn(service, "service-revision", deployment["id"].rsplit("/", 1)[-1])


def begin(service):
    """A deployment that was still open is stopped by the next one."""
    records = service.setdefault("_service_deployments", [])
    current = open_one(service)
    if current:
        close(current, "STOPPED", "Service deployment was stopped by a newer one.")
    primary = ecs._primary_deployment(service)
    target = add_revision(service, primary)
    before = service.get("_completed")
    now = time.time()
    record = {
        "serviceDeploymentArn": arn(service, "service-deployment", identity()),
        "serviceArn": service["serviceArn"],
        "clusterArn": service["clusterArn"],
        "createdAt": now,
        "startedAt": now,
        "updatedAt": now,
        "sourceServiceRevisions": [{"arn": revision_arn(service, before)}] if before else [],
        "targetServiceRevision": {"arn": target},
        "status": "PENDING",
        "deploymentConfiguration": service.get("deploymentConfiguration") or {},
    }
    service["_service_deployments"] = [record, *records][:KEPT]
    prune(service)


def identity():
    return "".join(secrets.choice(string.ascii_letters + string.digits + "_-") for _ in range(21))


def add_revision(service, deployment):
    target = revision_arn(service, deployment)
    definition = ecs._task_defs.get(ecs._resolve_td_key(deployment["taskDefinition"])) or {}
    revision = {
        "serviceRevisionArn": target,
        "serviceArn": service["serviceArn"],
        "clusterArn": service["clusterArn"],
        "taskDefinition": deployment["taskDefinition"],
        "launchType": service.get("launchType"),
        "platformVersion": service.get("platformVersion"),
        "loadBalancers": service.get("loadBalancers"),
        "networkConfiguration": service.get("networkConfiguration"),
        "containerImages": [
            {"containerName": it["name"], "image": it["image"], "imageDigest": digest(it["image"])}
            for it in definition.get("containerDefinitions", [])
        ],
        "createdAt": time.time(),
    }
    service.setdefault("_revisions", {})[target] = revision
    return target


def digest(image):
    return image.split("@", 1)[1] if "@" in image else None


def prune(service):
    """Revisions that no record names."""
    named = {it["targetServiceRevision"]["arn"] for it in service["_service_deployments"]}
    for record in service["_service_deployments"]:
        named |= {source["arn"] for source in record["sourceServiceRevisions"]}
    service["_revisions"] = {name: it for name, it in service["_revisions"].items() if name in named}


def open_one(service):
    records = service.get("_service_deployments") or []
    return records[0] if records and records[0]["status"] in OPEN else None


def close(record, status, reason=None):
    now = time.time()
    record.update(status=status, statusReason=reason, finishedAt=now, updatedAt=now)
    if status == "STOPPED":
        record["stoppedAt"] = now


def follow(service):
    """What the scheduler saw in this tick."""
    record = open_one(service)
    if record is None:
        return
    if record["status"] == "PENDING":
        record["status"] = "IN_PROGRESS"
    target = record["targetServiceRevision"]["arn"]
    deployment = next((it for it in service["deployments"] if revision_arn(service, it) == target), None)
    if deployment:
        record["_failures"] = max(record.get("_failures", 0), deployment["failedTasks"])
    record["_threshold"] = ecs._circuit_breaker_threshold(service)


def failed(service, reason):
    """Without a way back."""
    record = open_one(service)
    if record:
        close(record, "ROLLBACK_FAILED" if record["status"] in GOING_BACK else "STOPPED", reason)
        record["_triggered"] = True


def rolling_back(service, back, reason):
    record = open_one(service)
    if record:
        record["rollback"] = {
            "reason": reason,
            "startedAt": time.time(),
            "serviceRevisionArn": revision_arn(service, back),
        }
        record.update(status="ROLLBACK_IN_PROGRESS", statusReason=reason, updatedAt=time.time())
        record["_triggered"] = reason.startswith("ECS deployment circuit breaker")
        if record["_triggered"]:
            record["_failures"] = ecs._circuit_breaker_threshold(service)


def completed(service):
    record = open_one(service)
    if record and record["status"] in GOING_BACK:
        close(record, "ROLLBACK_SUCCESSFUL", record["statusReason"])
    elif record:
        close(record, "SUCCESSFUL")


def breaker(service, record):
    enabled = ((record["deploymentConfiguration"]).get("deploymentCircuitBreaker") or {}).get("enable")
    if not enabled:
        return {"status": "DISABLED", "failureCount": 0, "threshold": 0}
    state = "MONITORING" if record["status"] in ("PENDING", "IN_PROGRESS") else "MONITORING_COMPLETE"
    return {
        "status": "TRIGGERED" if record.get("_triggered") else state,
        "failureCount": record.get("_failures", 0),
        "threshold": record.get("_threshold", ecs._circuit_breaker_threshold(service)),
    }


def summary(service, name):
    found = next((it for it in service["deployments"] if revision_arn(service, it) == name), None) or {}
    return {
        "arn": name,
        "requestedTaskCount": found.get("desiredCount", 0),
        "runningTaskCount": found.get("runningCount", 0),
        "pendingTaskCount": found.get("pendingCount", 0),
    }


def view(service, record):
    return ecs._sanitize(
        record
        | {
            "deploymentCircuitBreaker": breaker(service, record),
            "alarms": {"status": "DISABLED"},
            "sourceServiceRevisions": [summary(service, it["arn"]) for it in record["sourceServiceRevisions"]],
            "targetServiceRevision": summary(service, record["targetServiceRevision"]["arn"]),
        }
    )


def brief(record):
    names = (
        "serviceDeploymentArn serviceArn clusterArn startedAt createdAt finishedAt status statusReason"
    ).split()
    return ecs._sanitize({name: record.get(name) for name in names}) | {
        "targetServiceRevisionArn": record["targetServiceRevision"]["arn"]
    }


def service_of(data, field):
    """The service that a request names."""
    cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
    reference = ecs._resolve_service_ref(data.get(field) or "")
    return ecs._services.get(f"{cluster}/{reference[0]}") if reference else None


@replace(ecs, "_list_service_deployments")
def list_deployments(data):
    service = service_of(data, "service")
    if not service:
        return error_response_json("ServiceNotFoundException", "Service not found.", 400)
    wanted, span = data.get("status"), data.get("createdAt") or {}
    found = [
        it
        for it in service.get("_service_deployments", [])
        if (not wanted or it["status"] in wanted)
        and span.get("after", 0) <= it["createdAt"] <= span.get("before", float("inf"))
    ]
    begin_at, size = int(data.get("nextToken") or 0), int(data.get("maxResults") or 100)
    answer = {"serviceDeployments": [brief(it) for it in found[begin_at : begin_at + size]]}
    if begin_at + size < len(found):
        answer["nextToken"] = str(begin_at + size)
    return json_response(answer)


def sought(names, of_service):
    """What the services have of these names, with the failures of an answer."""
    found = {}
    for _key, service in ecs._services.all_items():
        found |= {name: (service, it) for name, it in of_service(service).items() if name in names}
    failures = [{"arn": name, "reason": "MISSING"} for name in names if name not in found]
    return found, failures


def by_arn(service):
    return {it["serviceDeploymentArn"]: it for it in service.get("_service_deployments", [])}


@replace(ecs, "_describe_service_deployments")
def describe_deployments(data):
    found, failures = sought(data.get("serviceDeploymentArns") or [], by_arn)
    answer = [view(service, record) for service, record in found.values()]
    return json_response({"serviceDeployments": answer, "failures": failures})


@replace(ecs, "_describe_service_revisions")
def describe_revisions(data):
    names = data.get("serviceRevisionArns") or []
    found, failures = sought(names, lambda service: service.get("_revisions", {}))
    answer = [ecs._sanitize(revision) for _service, revision in found.values()]
    return json_response({"serviceRevisions": answer, "failures": failures})


def stop_deployment(data):
    """One that goes back already goes on.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stop-service-deployment.html
    """
    from . import scheduler

    name = data.get("serviceDeploymentArn", "")
    with scheduler.LOCK:
        found, _ = sought([name], by_arn)
        if not found:
            code = "ServiceDeploymentNotFoundException"
            return error_response_json(code, "The service deployment doesn't exist.", 400)
        service, record = found[name]
        if record["status"] in GOING_BACK:
            return json_response({"serviceDeploymentArn": name})
        if record["status"] not in ("PENDING", "IN_PROGRESS"):
            why = f"The service deployment is {record['status']}."
            return error_response_json("ConflictException", why, 400)
        if data.get("stopType", "ROLLBACK") == "ABORT":
            close(record, "STOPPED", "Service deployment was stopped.")
        else:
            primary = ecs._primary_deployment(service)
            scheduler.fail(service, primary, "Service deployment stopped", "rolling back.")
    return json_response({"serviceDeploymentArn": name})


ecs._ACTION_MAP["StopServiceDeployment"] = stop_deployment


@replace(ecs, "_describe_services")
def describe_services(data):
    status, headers, body = describe_services.original(data)
    if status != 200:
        return status, headers, body
    answer = ecs.json.loads(body)
    for shown in answer["services"]:
        cluster = shown["clusterArn"].rsplit("/", 1)[-1]
        service = ecs._services[f"{cluster}/{shown['serviceName']}"]
        current = open_one(service)
        if current:
            shown["currentServiceDeployment"] = current["serviceDeploymentArn"]
        shown["currentServiceRevisions"] = [
            summary(service, revision_arn(service, it)) for it in service["deployments"]
        ]
    return json_response(answer)
