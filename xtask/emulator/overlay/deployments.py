"""Service deployments and service revisions, recorded while the scheduler decides.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment.html
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceDeployment.html
"""

import secrets
import string
import threading
import time

from ministack.core.responses import error_response_json, get_account_id, get_region, json_response
from ministack.services import ecs

from . import unsure
from .pins import rely, replace

rely(ecs, "_sanitize", "_dispatch_action")

# Held by the scheduler while it decides, and by each operation that changes a service.
LOCK = threading.RLock()
KEPT = 100
OPEN = ("PENDING", "IN_PROGRESS", "STOP_REQUESTED", "ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS")
GOING_BACK = ("ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS")
# tests/transcripts/service-deployment-*.json
BY_BREAKER = "Service deployment rolled back because the circuit breaker threshold was exceeded."
BY_USER = "Service deployment rolled back by user."
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/action-logs-troubleshooting.html
NO_WAY_BACK = "No rollback candidate was found to run the rollback."


def arn(service, kind, identity):
    cluster = service["clusterArn"].rsplit("/", 1)[-1]
    name = service["serviceName"]
    return f"arn:aws:ecs:{get_region()}:{get_account_id()}:{kind}/{cluster}/{name}/{identity}"


def revision_arn(service, deployment):
    return arn(service, "service-revision", deployment["id"].rsplit("/", 1)[-1])


def begin(service):
    """A deployment that was still open is stopped by the next one."""
    current = open_one(service)
    if current:
        close(current, "STOPPED", unsure.choice("superseded"))
    primary, before, now = ecs._primary_deployment(service), service.get("_completed"), time.time()
    identity = "".join(secrets.choice(string.ascii_letters + string.digits + "_-") for _ in range(21))
    record = {
        "serviceDeploymentArn": arn(service, "service-deployment", identity),
        "serviceArn": service["serviceArn"],
        "clusterArn": service["clusterArn"],
        "createdAt": now,
        "startedAt": now,
        "updatedAt": now,
        "sourceServiceRevisions": [{"arn": revision_arn(service, before)}] if before else [],
        "targetServiceRevision": {"arn": revision_arn(service, primary)},
        "status": "PENDING",
        "deploymentConfiguration": service.get("deploymentConfiguration") or {},
        "_revision": revision(service, primary),
    }
    service["_service_deployments"] = [record, *service.get("_service_deployments", [])][:KEPT]


def revision(service, deployment):
    definition = ecs._task_defs.get(ecs._resolve_td_key(deployment["taskDefinition"])) or {}
    copied = "serviceArn clusterArn launchType platformVersion loadBalancers networkConfiguration"
    return {name: service.get(name) for name in copied.split()} | {
        "serviceRevisionArn": revision_arn(service, deployment),
        "taskDefinition": deployment["taskDefinition"],
        "containerImages": [image(it) for it in definition.get("containerDefinitions", [])],
        "createdAt": time.time(),
    }


def image(container):
    _, _, digest = container["image"].partition("@")
    return {"containerName": container["name"], "image": container["image"], "imageDigest": digest or None}


def open_one(service):
    newest = next(iter(service.get("_service_deployments", [])), None)
    return newest if newest and newest["status"] in OPEN else None


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
    deployment = with_revision(service, record["targetServiceRevision"]["arn"])
    if deployment:
        record["_failures"] = max(record.get("_failures", 0), deployment["failedTasks"])
    record["_threshold"] = ecs._circuit_breaker_threshold(service)


def with_revision(service, name):
    return next((it for it in service["deployments"] if revision_arn(service, it) == name), None)


def failed(service, wanted, back, by_user):
    """`wanted`: whether it is rolled back. `back`: to which deployment, if there is any."""
    record = open_one(service)
    if record is None:
        return
    if not by_user:
        record.update(_triggered=True, _failures=ecs._circuit_breaker_threshold(service))
    if not wanted and record["status"] not in GOING_BACK:
        close(record, "STOPPED", unsure.choice("failed"))
    elif not back:
        close(record, "ROLLBACK_FAILED", NO_WAY_BACK)
    else:
        reason, now = BY_USER if by_user else BY_BREAKER, time.time()
        target = revision_arn(service, back)
        record["rollback"] = {"reason": reason, "startedAt": now, "serviceRevisionArn": target}
        record.update(status="ROLLBACK_IN_PROGRESS", statusReason=reason, updatedAt=now)


def completed(service):
    record = open_one(service)
    if record and record["status"] in GOING_BACK:
        close(record, "ROLLBACK_SUCCESSFUL", record["statusReason"])
    elif record:
        close(record, "SUCCESSFUL")


def breaker(service, record):
    enabled = (record["deploymentConfiguration"].get("deploymentCircuitBreaker") or {}).get("enable")
    if not enabled:
        return {"status": "DISABLED", "failureCount": 0, "threshold": 0}
    state = "MONITORING" if record["status"] in ("PENDING", "IN_PROGRESS") else "MONITORING_COMPLETE"
    return {
        "status": "TRIGGERED" if record.get("_triggered") else state,
        "failureCount": record.get("_failures", 0),
        "threshold": record.get("_threshold", ecs._circuit_breaker_threshold(service)),
    }


def summary(service, name):
    found = with_revision(service, name) or {}
    return {
        "arn": name,
        "requestedTaskCount": found.get("desiredCount", 0),
        "runningTaskCount": found.get("runningCount", 0),
        "pendingTaskCount": found.get("pendingCount", 0),
    }


def view(service, record):
    return ecs._sanitize(record) | {
        "deploymentCircuitBreaker": breaker(service, record),
        "alarms": {"status": "DISABLED"},
        "sourceServiceRevisions": [summary(service, it["arn"]) for it in record["sourceServiceRevisions"]],
        "targetServiceRevision": summary(service, record["targetServiceRevision"]["arn"]),
    }


def brief(record):
    names = "serviceDeploymentArn serviceArn clusterArn startedAt createdAt finishedAt status statusReason"
    return ecs._sanitize({name: record.get(name) for name in names.split()}) | {
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
    start, size = int(data.get("nextToken") or 0), int(data.get("maxResults") or 20)
    answer = {"serviceDeployments": [brief(it) for it in found[start : start + size]]}
    return json_response(answer | ({"nextToken": str(start + size)} if found[start + size :] else {}))


def sought(names, name_of):
    """Records of all services with these names, each with its service, and those that are missing."""
    found = {
        name_of(record): (service, record)
        for _key, service in ecs._services.all_items()
        for record in service.get("_service_deployments", [])
        if name_of(record) in names
    }
    failures = [{"arn": name, "reason": "MISSING"} for name in names if name not in found]
    return found.values(), failures


@replace(ecs, "_describe_service_deployments")
def describe_deployments(data):
    found, failures = sought(data["serviceDeploymentArns"], lambda it: it["serviceDeploymentArn"])
    answer = [view(service, record) for service, record in found]
    return json_response({"serviceDeployments": answer, "failures": failures})


@replace(ecs, "_describe_service_revisions")
def describe_revisions(data):
    found, failures = sought(data["serviceRevisionArns"], lambda it: it["targetServiceRevision"]["arn"])
    answer = [ecs._sanitize(record["_revision"]) for _service, record in found]
    return json_response({"serviceRevisions": answer, "failures": failures})


def stop_deployment(data):
    """One that goes back already goes on.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stop-service-deployment.html
    """
    name = data["serviceDeploymentArn"]
    if data.get("stopType", "ROLLBACK") != "ROLLBACK":
        return error_response_json("InvalidParameterException", "The valid value is ROLLBACK.", 400)
    with LOCK:
        found, _ = sought([name], lambda it: it["serviceDeploymentArn"])
        record = next((record for _service, record in found), None)
        if not record:
            code = "ServiceDeploymentNotFoundException"
            return error_response_json(code, unsure.choice("no such deployment"), 400)
        if record["status"] in ("PENDING", "IN_PROGRESS"):
            record.update(status="ROLLBACK_REQUESTED", updatedAt=time.time())
        if record["status"] not in GOING_BACK:
            return error_response_json("ConflictException", unsure.choice("ended deployment"), 400)
    return json_response({"serviceDeploymentArn": name})


ecs._ACTION_MAP["StopServiceDeployment"] = stop_deployment


@replace(ecs, "_describe_services")
def describe_services(data):
    status, headers, body = describe_services.original(data)
    if status != 200:
        return status, headers, body
    answer = ecs.json.loads(body)
    for shown in answer["services"]:
        service = service_of({"cluster": shown["clusterArn"], "service": shown["serviceName"]}, "service")
        current = open_one(service)
        if current:
            shown["currentServiceDeployment"] = current["serviceDeploymentArn"]
        shown["currentServiceRevisions"] = [
            summary(service, revision_arn(service, it)) for it in service["deployments"]
        ]
    return json_response(answer)
