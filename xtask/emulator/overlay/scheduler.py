"""The service scheduler: one thread decides about every service, four times a second.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
"""

import logging
import secrets
import threading
import time

from docker.errors import DockerException
from ministack.core.responses import error_response_json, new_uuid, request_scope
from ministack.services import ecs

from . import definitions, deployments, targets, tasks, unsure
from .deployments import LOCK
from .pins import rely, replace

rely(ecs, "_circuit_breaker_threshold", "_primary_deployment", "_run_task", "_restore_state")
rely(ecs, "_recount_cluster", "_resolve_td_key", "_resolve_cluster_name", "_resolve_service_ref")

ENDING = threading.Event()
TICK = 0.25
EVENTS = 100
# A task without any health check counts after 40 seconds.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
UNCHECKED = 40
# At most 27 minutes on AWS, where each start takes longer than here.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-throttle-logic.html
LONGEST_PAUSE = 60
IMPAIRED = (
    "is unable to consistently start tasks successfully. "
    "For more information, see the Troubleshooting section."
)
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListTasks.html
STOPPED_KEPT = 3600
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
FAILED_CONTAINER_CHECKS = "Task failed container health checks"
FAILED_TARGET_CHECKS = "Task failed ELB health checks in (target-group {})"
FAILURES = ("EssentialContainerExited", "TaskFailedToStart")
STARTING = ("PROVISIONING", "PENDING", "ACTIVATING")
STOPPING = ("DEACTIVATING", "STOPPING", "DEPROVISIONING")
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html
BREAKER = "ECS deployment circuit breaker: "

log = logging.getLogger("ecs")


def start():
    """After a restart no container runs: each deployment is brought back as it was."""
    for _key, task in ecs._tasks.all_items():
        task["desiredStatus"] = "STOPPED"
        task.setdefault("_stopped", time.time())
    for _key, service in everything():
        remember(service)
    ENDING.clear()
    threading.Thread(target=loop, daemon=True, name="ecs-scheduler").start()


def remember(service):
    """How many tasks of older deployments ran: `balance` starts those of the primary one."""
    for deployment in service["deployments"]:
        if deployment["status"] != "PRIMARY" and deployment["rolloutState"] != "FAILED":
            deployment["_bring_back"] = deployment["runningCount"] + deployment["pendingCount"]


def end():
    """Before the state is saved, so that no task starts afterwards."""
    ENDING.set()
    with LOCK:
        pass


def loop():
    """Nothing is decided while Docker does not answer, which is told about once."""
    answers = True
    while not ENDING.wait(TICK):
        try:
            tick(was_away=not answers)
            if not answers:
                log.warning("Docker answers again")
                tell_all("goes on: Docker answers again.")
            answers = True
        except (DockerException, OSError) as error:
            if answers:
                log.error("Docker does not answer, and nothing is decided until it does: %s", error)
                tell_all("is unable to go on: Docker does not answer. Remedy: start it.")
            answers = False
        except Exception:
            log.exception("scheduler: nothing was decided")


def tell_all(what):
    with LOCK:
        for _key, service in everything():
            tell(service, what)


def everything():
    return [item for item in ecs._services.all_items() if item[1]["status"] in ("ACTIVE", "DRAINING")]


def tick(was_away):
    now = time.time()
    targets.tick(time.monotonic())
    tasks.observe(ecs._get_docker(), was_away)
    with LOCK:
        for (account, region, key), service in everything():
            if not ENDING.is_set():
                with request_scope(account, region):
                    serve(key.split("/", 1)[0], service, now)
        for scoped, task in ecs._tasks.all_items():
            if now - task.get("_stopped", now) > STOPPED_KEPT:
                ecs._tasks.pop_scoped(*scoped)


def serve(cluster, service, now):
    """Decides about one service. Touches Docker only by threads that it starts."""
    alive = alive_of(service)
    if service["status"] == "DRAINING":
        service["status"] = "DRAINING" if alive else "INACTIVE"
        return
    for task in alive:
        register(service, task, now)
        judge_health(service, task, now)
    complete(service, alive)
    count_failures(service, now)
    end_failed(service)
    balance(cluster, service, alive, now)
    count(service, alive_of(service))
    deployments.follow(service)
    ecs._recount_cluster(cluster)


def tasks_of(service):
    group, cluster = f"service:{service['serviceName']}", service["clusterArn"]
    return [it for it in ecs._tasks.values() if (it.get("group"), it["clusterArn"]) == (group, cluster)]


def alive_of(service):
    return [it for it in tasks_of(service) if it["lastStatus"] != "STOPPED"]


def listed(service, identity):
    return next((it for it in service["deployments"] if it["id"] == identity), None)


def is_active(task):
    return task["desiredStatus"] == "RUNNING" and task["lastStatus"] != "STOPPED"


def register(service, task, now):
    address = ecs._task_ip(task)
    if task["lastStatus"] != "RUNNING" or "_targets" in task or not is_active(task) or not address:
        return
    task["_running_since"] = now
    groups = service.get("loadBalancers") or []
    task["_targets"] = [[it["targetGroupArn"], address, it["containerPort"]] for it in groups]
    for target in task["_targets"]:
        targets.register(*target)
        tell(service, f"registered 1 targets in (target-group {target[0]})")


def judge_health(service, task, now):
    """Sets `_healthy`, and `_sick` to the reason, after the grace period of the service. What a
    task was stopped for stays."""
    task["_healthy"] = False
    if task["lastStatus"] != "RUNNING" or not is_active(task) or "_targets" not in task:
        return
    states = {target[0]: targets.state(*target) for target in task["_targets"]}
    age = now - task["_running_since"]
    checked = any(it.get("healthCheck") for it in definitions.of_task(task)["containerDefinitions"])
    healthy = task["healthStatus"] == "HEALTHY" or not checked
    settled = checked or states or age >= UNCHECKED
    task["_healthy"] = bool(healthy and settled and all(it == "healthy" for it in states.values()))
    reasons = [FAILED_TARGET_CHECKS.format(it) for it, state in states.items() if state == "unhealthy"]
    if checked and task["healthStatus"] == "UNHEALTHY":
        reasons.append(FAILED_CONTAINER_CHECKS)
    in_grace = age < (service.get("healthCheckGracePeriodSeconds") or 0)
    task["_sick"] = reasons[0] if reasons and not in_grace else None


def count_failures(service, now):
    """A task that became healthy resets the count."""
    ends = (*STOPPING, "STOPPED") if unsure.choice("stopping tasks failed") else ("STOPPED",)
    for task in tasks_of(service):
        deployment = listed(service, task["_deployment_id"])
        if not deployment:
            continue
        if task.get("_healthy") and breaker(service).get("resetOnHealthyTask", True):
            deployment["failedTasks"] = 0
        if task["lastStatus"] not in ends or task.get("_counted"):
            continue
        task["_counted"] = True
        if task["stopCode"] in FAILURES or task.get("_sick"):
            if deployment["rolloutState"] == "IN_PROGRESS":
                deployment["failedTasks"] += 1
            throttle(service, deployment, task, now)


def throttle(service, deployment, task, now):
    """AWS throttles, and tells about, tasks that never ran. Here the others pause too, since a
    container starts within a second."""
    deployment["_in_row"] = deployment.get("_in_row", 0) + 1
    beyond = deployment["_in_row"] - unsure.choice("unthrottled starts")
    if beyond > 0:
        deployment["_not_before"] = now + min(2**beyond, LONGEST_PAUSE)
        if task["stopCode"] == "TaskFailedToStart":
            tell(service, IMPAIRED)


def breaker(service):
    return (service.get("deploymentConfiguration") or {}).get("deploymentCircuitBreaker") or {}


def end_failed(service):
    """Ends a deployment by the circuit breaker, or because a user asked for it."""
    primary = ecs._primary_deployment(service)
    if primary["rolloutState"] != "IN_PROGRESS":
        return
    record = deployments.open_one(service)
    if record and record["status"] == "ROLLBACK_REQUESTED":
        go_back(service, primary, by_user=True)
    elif breaker(service).get("enable"):
        if primary["failedTasks"] >= ecs._circuit_breaker_threshold(service):
            tell(service, f"(deployment {primary['id']}) deployment failed: tasks failed to start.")
            go_back(service, primary, by_user=False)


def go_back(service, primary, by_user):
    """Back to the last deployment that was completed, which is the primary one again."""
    wanted, back = by_user or breaker(service).get("rollback"), way_back(service, primary)
    deployments.failed(service, wanted, back, by_user)
    stopped = unsure.choice("stopped rollout")
    reason = stopped if by_user else f"{BREAKER}tasks failed to start."
    primary.update(rolloutState="FAILED", rolloutStateReason=reason, desiredCount=0)
    if not wanted or not back:
        return
    rolling = stopped if by_user else f"{BREAKER}rolling back to deploymentId {back['id']}."
    primary["status"] = "ACTIVE"
    back.update(status="PRIMARY", failedTasks=0, updatedAt=ecs._iso())
    back.update(rolloutState="IN_PROGRESS", rolloutStateReason=rolling)
    service["deployments"] = [back, *(it for it in service["deployments"] if it is not back)]
    service["taskDefinition"] = back["taskDefinition"]
    tell(service, f"rolling back to deployment {back['id']}.")


def way_back(service, primary):
    completed = service.get("_completed")
    if not completed or completed["id"] == primary["id"]:
        return None
    definition = ecs._task_defs.get(ecs._resolve_td_key(completed["taskDefinition"])) or {}
    if definition.get("status") != "ACTIVE" and not unsure.choice("inactive is a way back"):
        return None
    return listed(service, completed["id"]) or dict(completed)


def balance(cluster, service, alive, now):
    """Starts what is missing as far as the maximum allows, and stops what is too much as far as the
    minimum allows. An unhealthy task is replaced before it is stopped, where there is room.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_services.html
    """
    primary = ecs._primary_deployment(service)
    desired = service["desiredCount"]
    configuration = service.get("deploymentConfiguration") or {}
    most = desired * int(configuration.get("maximumPercent", 200)) // 100
    least = -(-desired * int(configuration.get("minimumHealthyPercent", 100)) // 100)
    for deployment in service["deployments"]:
        number = deployment.pop("_bring_back", 0)
        if number and desired:
            launch(cluster, service, deployment, number)

    active = [it for it in alive if is_active(it)]
    new = [it for it in active if it["_deployment_id"] == primary["id"]]
    old = [it for it in active if it["_deployment_id"] != primary["id"]]
    sound = [it for it in new if not it.get("_sick")]
    sick = [it for it in new if it.get("_sick")]
    healthy = sum(it["_healthy"] for it in active)
    missing = max(0, desired - len(sound))
    starting = min(missing, max(0, most - len(active)))
    if primary["rolloutState"] == "FAILED" or now < primary.get("_not_before", 0):
        starting = 0
    if starting:
        launch(cluster, service, primary, starting, replaced=min(starting, len(sick)))

    lacking = missing - starting
    for task in sick if healthy >= desired else sick[:lacking]:
        replace_sick(service, task)
    # Those that are not healthy first, then the youngest.
    by_need = sorted(reversed(sound), key=lambda it: it["_healthy"])
    for task in by_need[: max(0, len(sound) - desired)]:
        scale_in(service, primary, task)

    spare = max(healthy - desired, min(lacking, healthy - least), 0)
    for task in old:
        if is_lost(service, task) or (not task["_healthy"] and may_stop(service, task, healthy >= desired)):
            scale_in(service, primary, task)
        elif task["_healthy"] and spare:
            spare, healthy = spare - 1, healthy - 1
            scale_in(service, primary, task)


def is_lost(service, task):
    """A healthy task of a deployment that failed counts for the minimum until others take its place.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
    """
    deployment = listed(service, task["_deployment_id"])
    return deployment is None or (deployment["rolloutState"] == "FAILED" and not task["_healthy"])


def may_stop(service, task, enough):
    """An unhealthy one of an older deployment; after a restart the way back is still starting."""
    is_way_back = task["_deployment_id"] == (service.get("_completed") or {}).get("id")
    return enough or (unsure.choice("unhealthy old tasks stop") and not is_way_back)


def launch(cluster, service, deployment, number, replaced=0):
    kept = "launchType capacityProviderStrategy platformVersion networkConfiguration enableExecuteCommand"
    status, _, body = ecs._run_task(
        {name: service.get(name) for name in kept.split()}
        | {
            "cluster": cluster,
            "taskDefinition": deployment["taskDefinition"],
            "count": number,
            "group": f"service:{service['serviceName']}",
            "startedBy": deployment["id"],
            "_deploymentId": deployment["id"],
        }
    )
    if status != 200:
        tell(service, f"was unable to place a task. Reason: {body.decode()}.")
        return
    started = " ".join(named(it) for it in ecs.json.loads(body)["tasks"])
    text = f"has started {number} tasks: {started}."
    if replaced:
        text += unsure.choice("replaced").format(replaced)
    tell(service, text)
    for text in definitions.not_honored(ecs._task_defs[ecs._resolve_td_key(deployment["taskDefinition"])]):
        tell(service, f"runs a definition of which the local AWS does not honor {text}.")


def named(task):
    return f"(task {task['taskArn'].rsplit('/', 1)[-1]})"


def replace_sick(service, task):
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-unhealthy-event-messages.html"""
    if task["_sick"] == FAILED_CONTAINER_CHECKS:
        tell(service, f"{named(task)} failed container health checks.")
        for container in task["containers"]:
            # AWS does not tell; it can be read from Docker here.
            if container.get("_not_run"):
                tell(service, f"{named(task)} is unable to run its health check: {container['_not_run']}")
    for group, address, port in task["_targets"]:
        target = targets.find(group, address, port)
        if group in task["_sick"] and target:
            where = f"(port {port}) is unhealthy in (target-group {group})"
            tell(service, f"{named(task)} {where} due to (reason {target.description}).")
    stop(service, task, task["_sick"])


def scale_in(service, primary, task):
    task["_sick"] = None
    stop(service, task, f"Scaling activity initiated by (deployment {primary['id']})")


def stop(service, task, reason):
    registered, pending = task.get("_targets") or [], task["lastStatus"] in STARTING
    if not tasks.stop(task, reason, "ServiceSchedulerInitiated"):
        return
    tell(service, "stopped 1 pending tasks." if pending else f"has stopped 1 running tasks: {named(task)}.")
    for group, _, _ in registered:
        tell(service, f"deregistered 1 targets in (target-group {group})")
    if registered:
        tell(service, "has begun draining connections on 1 tasks.", task["_deployment_id"])


def count(service, alive):
    primary = ecs._primary_deployment(service)
    primary["desiredCount"] = service["desiredCount"] if primary["rolloutState"] != "FAILED" else 0
    running = ("RUNNING", "DEACTIVATING") if unsure.choice("draining tasks run") else ("RUNNING",)
    for deployment in service["deployments"]:
        states = [it["lastStatus"] for it in alive if it["_deployment_id"] == deployment["id"]]
        deployment["runningCount"] = sum(it in running for it in states)
        deployment["pendingCount"] = sum(it in STARTING for it in states)
    for name in ("runningCount", "pendingCount"):
        service[name] = sum(it[name] for it in service["deployments"])
    stays = {primary["id"], *(it["_deployment_id"] for it in alive)}
    if unsure.choice("failed deployments stay") and primary["rolloutState"] == "IN_PROGRESS":
        stays |= {it["id"] for it in service["deployments"] if it["rolloutState"] == "FAILED"}
    service["deployments"] = [it for it in service["deployments"] if it["id"] in stays]


def complete(service, alive):
    """Once every task is a healthy one of the new deployment."""
    primary = ecs._primary_deployment(service)
    healthy = [it for it in alive if it["_healthy"] and it["_deployment_id"] == primary["id"]]
    steady = len(alive) == len(healthy) == service["desiredCount"]
    completes = steady and primary["rolloutState"] == "IN_PROGRESS"
    if completes:
        reason = f"ECS deployment {primary['id']} completed."
        primary.update(rolloutState="COMPLETED", rolloutStateReason=reason, updatedAt=ecs._iso())
        service["_completed"] = dict(primary)
        tell(service, f"(deployment {primary['id']}) deployment completed.")
        deployments.completed(service)
    if completes or (steady and not service.get("_steady")):
        tell(service, "has reached a steady state.")
    service["_steady"] = steady


def tell(service, text, task_set=None):
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html"""
    name = service["serviceName"] + (f", taskSet {task_set}" if task_set else "")
    event = {"id": new_uuid(), "createdAt": ecs._iso(), "message": f"(service {name}) {text}"}
    service["events"] = [event, *service["events"]][:EVENTS]


@replace(ecs, "_make_deployment")
def make_deployment(definition, desired, status="PRIMARY"):
    identity = f"ecs-svc/{secrets.randbelow(9 * 10**18) + 10**18}"
    return make_deployment.original(definition, desired, status) | {
        "id": identity,
        "rolloutState": "IN_PROGRESS",
        "rolloutStateReason": in_progress(identity),
    }


def in_progress(identity):
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html"""
    return f"ECS deployment {identity} in progress."


@replace(ecs, "_create_service")
def create_service(data):
    with LOCK:
        response = create_service.original(data)
        if response[0] == 200:
            deployments.begin(deployments.service_of(data, "serviceName"))
    return response


@replace(ecs, "_update_service")
def update_service(data):
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html"""
    with LOCK:
        wanted = data.get("taskDefinition")
        definition = ecs._task_defs.get(ecs._resolve_td_key(wanted)) if wanted else None
        if wanted and (not definition or definition["status"] != "ACTIVE"):
            what = "is inactive" if definition else "not found."
            return error_response_json("ClientException", f"TaskDefinition {what}", 400)
        service = deployments.service_of(data, "service")
        if service is None:
            return update_service.original(data)
        before, events = ecs._primary_deployment(service), service["events"][:]
        response = update_service.original(data)
        # The original reports draining whatever it did.
        service["events"] = events
        primary = ecs._primary_deployment(service)
        if primary is not before:
            # The original leaves the reason empty.
            primary["rolloutStateReason"] = in_progress(primary["id"])
            deployments.begin(service)
        count(service, alive_of(service))
        if response[0] != 200:
            return response
        return ecs.json_response({"service": ecs._sanitize(service)})


@replace(ecs, "_delete_service")
def delete_service(data):
    """DRAINING until its tasks have stopped."""
    with LOCK:
        response = delete_service.original(data)
        service = deployments.service_of(data, "service")
        if service and response[0] == 200:
            service["status"] = "DRAINING" if alive_of(service) else "INACTIVE"
            return ecs.json_response({"service": ecs._sanitize(service)})
    return response


@replace(ecs, "_reconcile_service_tasks", "_refresh_service_state", "_sync_service_targets")
@replace(ecs, "_record_service_task_failure", "_start_restored_service_reconciler")
def decided_elsewhere(*_arguments, **_named):
    """The thread of the scheduler decides."""
