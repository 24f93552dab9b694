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

from . import definitions, deployments, targets, tasks
from .pins import rely, replace

rely(ecs, "_circuit_breaker_threshold", "_primary_deployment", "_run_task", "_restore_state")
rely(ecs, "_recount_cluster", "_resolve_td_key", "_resolve_cluster_name", "_resolve_service_ref")

LOCK = threading.RLock()
TICK = 0.25
EVENTS = 100
# A task without any health check counts after 40 seconds.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
UNCHECKED = 40
# ECS starts crashing tasks less and less often.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-throttle-logic.html
BACK_OFF_AFTER, BACK_OFF_MOST = 3, 60
# "Amazon ECS stopped tasks are visible for at least an hour."
STOPPED_KEPT = 3600
IMPAIRED = (
    "is unable to consistently start tasks successfully. "
    "For more information, see the Troubleshooting section."
)
FAILED_CONTAINER_CHECKS = "Task failed container health checks"
FAILURES = ("EssentialContainerExited", "TaskFailedToStart")
STARTING = ("PROVISIONING", "PENDING", "ACTIVATING")

log = logging.getLogger("ecs")
_engine_answers = True
_ending = threading.Event()


def start():
    """After a restart no container runs: each deployment is brought back as it was."""
    for _key, task in ecs._tasks.all_items():
        task["desiredStatus"] = "STOPPED"
        task.setdefault("_stopped", time.time())
    for service in everything():
        service["_bring_back"] = to_bring_back(service)
    _ending.clear()
    threading.Thread(target=loop, daemon=True, name="ecs-scheduler").start()


def to_bring_back(service):
    return {
        it["id"]: it["runningCount"] + it["pendingCount"]
        for it in service["deployments"]
        if it["status"] != "PRIMARY" and it["rolloutState"] != "FAILED"
    }


def end():
    """Before the state is saved, so that no task starts afterwards."""
    _ending.set()
    with LOCK:
        pass


def is_ending():
    return _ending.is_set()


def loop():
    while not _ending.wait(TICK):
        try:
            tick()
            engine_answers(True)
        except (DockerException, OSError) as error:
            engine_answers(False, error)
        except Exception:
            log.exception("scheduler: nothing was decided")


def engine_answers(answers, error=None):
    """Tells about a change once. Nothing is decided while Docker does not answer."""
    global _engine_answers
    if answers == _engine_answers:
        return
    _engine_answers = answers
    if answers:
        log.warning("Docker answers again")
        return
    log.error("Docker does not answer, and nothing is decided until it does: %s", error)
    with LOCK:
        for service in everything():
            tell(service, "is unable to go on: Docker does not answer. Remedy: start it.")


def everything():
    return [it for _key, it in ecs._services.all_items() if it["status"] in ("ACTIVE", "DRAINING")]


def tick():
    now = time.time()
    targets.tick(time.monotonic())
    client = ecs._get_docker()
    tasks.observe(client)
    with LOCK:
        for (account, region, key), service in ecs._services.all_items():
            if not _ending.is_set() and service["status"] in ("ACTIVE", "DRAINING"):
                with request_scope(account, region):
                    serve(key.split("/", 1)[0], service, now)
        for scoped, task in ecs._tasks.all_items():
            if now - task.get("_stopped", now) > STOPPED_KEPT:
                ecs._tasks.pop_scoped(*scoped)


def serve(cluster, service, now):
    """Decides about one service. Touches Docker only by threads that it starts."""
    own = [it for it in ecs._tasks.values() if belongs(it, service)]
    alive = [it for it in own if it["lastStatus"] != "STOPPED"]
    if service["status"] == "DRAINING":
        service["status"] = "DRAINING" if alive else "INACTIVE"
        return
    for task in alive:
        register(service, task, now)
        judge_health(service, task, now)
    count_failures(service, own, now)
    break_circuit(service)
    balance(cluster, service, alive, now)
    alive = alive_of(service)
    count(service, alive)
    complete(service, alive)
    deployments.follow(service)
    ecs._recount_cluster(cluster)


def belongs(task, service):
    return (
        task.get("group") == f"service:{service['serviceName']}"
        and task.get("clusterArn") == service["clusterArn"]
    )


def alive_of(service):
    tasks = ecs._tasks.values()
    return [it for it in tasks if belongs(it, service) and it["lastStatus"] != "STOPPED"]


def is_active(task):
    return task["desiredStatus"] == "RUNNING" and task["lastStatus"] != "STOPPED"


def register(service, task, now):
    if task["lastStatus"] != "RUNNING" or "_targets" in task or not is_active(task):
        return
    address = ecs._task_ip(task)
    if not address:
        return
    task["_running_since"] = now
    task["_targets"] = [
        [it["targetGroupArn"], address, it["containerPort"]] for it in service.get("loadBalancers") or []
    ]
    for group, _, port in task["_targets"]:
        targets.register(group, address, port)
        tell(service, f"registered 1 targets in (target-group {group})")


def judge_health(service, task, now):
    """Sets `_healthy`, and `_sick` to the reason, after the grace period of the service. What a
    task was stopped for stays."""
    task["_healthy"] = False
    if task["lastStatus"] != "RUNNING" or not is_active(task) or "_targets" not in task:
        return
    task["_sick"] = None
    states = {group: targets.state(group, address, port) for group, address, port in task["_targets"]}
    age = now - task["_running_since"]
    checked = any(it.get("healthCheck") for it in definitions.of_task(task)["containerDefinitions"])
    container_healthy = task["healthStatus"] == "HEALTHY" or not checked
    settled = checked or states or age >= UNCHECKED
    task["_healthy"] = bool(
        container_healthy and settled and all(it == "healthy" for it in states.values())
    )
    if age < (service.get("healthCheckGracePeriodSeconds") or 0):
        return
    if checked and task["healthStatus"] == "UNHEALTHY":
        task["_sick"] = FAILED_CONTAINER_CHECKS
    for group, state in states.items():
        if state == "unhealthy":
            task["_sick"] = f"Task failed ELB health checks in (target-group {group})"


def count_failures(service, own, now):
    """A task that became healthy resets the count.

    Counted when the task has stopped; whether ECS counts earlier is not documented.
    """
    for task in own:
        deployment = next(
            (it for it in service["deployments"] if it["id"] == task.get("_deployment_id")), None
        )
        if not deployment:
            continue
        if task.get("_healthy") and resets(service):
            deployment["failedTasks"] = 0
        if task["lastStatus"] != "STOPPED" or task.get("_counted"):
            continue
        task["_counted"] = True
        if task["stopCode"] in FAILURES or task.get("_sick"):
            if deployment["rolloutState"] == "IN_PROGRESS":
                deployment["failedTasks"] += 1
            in_row = deployment["_in_row"] = deployment.get("_in_row", 0) + 1
            if in_row > BACK_OFF_AFTER:
                wait = min(2 ** (in_row - BACK_OFF_AFTER), BACK_OFF_MOST)
                deployment["_not_before"] = now + wait
                if deployment["rolloutState"] == "COMPLETED" or not breaker(service).get("enable"):
                    tell(service, IMPAIRED)


def breaker(service):
    return (service.get("deploymentConfiguration") or {}).get("deploymentCircuitBreaker") or {}


def resets(service):
    return breaker(service).get("resetOnHealthyTask", True)


def break_circuit(service):
    primary = ecs._primary_deployment(service)
    if primary["rolloutState"] != "IN_PROGRESS" or not breaker(service).get("enable"):
        return
    if primary["failedTasks"] < ecs._circuit_breaker_threshold(service):
        return
    tell(service, f"(deployment {primary['id']}) deployment failed: tasks failed to start.")
    fail(service, primary, "ECS deployment circuit breaker", "tasks failed to start.")


def fail(service, primary, cause, what):
    """Ends a deployment, and goes back to the last that was completed."""
    primary.update(rolloutState="FAILED", rolloutStateReason=f"{cause}: {what}", desiredCount=0)
    back = service.get("_completed")
    wanted = cause != "ECS deployment circuit breaker" or breaker(service).get("rollback")
    if not wanted or not back or back["id"] == primary["id"]:
        deployments.failed(service, f"{cause}: {what}")
        return
    listed = next((it for it in service["deployments"] if it["id"] == back["id"]), None)
    again = listed or dict(back)
    primary["status"] = "ACTIVE"
    again.update(
        status="PRIMARY",
        rolloutState="IN_PROGRESS",
        rolloutStateReason=f"{cause}: rolling back to deploymentId {back['id']}.",
        failedTasks=0,
        updatedAt=ecs._iso(),
    )
    service["deployments"] = [again, *(it for it in service["deployments"] if it is not again)]
    service["taskDefinition"] = again["taskDefinition"]
    tell(service, f"rolling back to deployment {back['id']}.")
    deployments.rolling_back(service, again, f"{cause}: {what}")


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
    bring_back(cluster, service)

    active = [it for it in alive if is_active(it)]
    new = [it for it in active if it["_deployment_id"] == primary["id"]]
    old = [it for it in active if it["_deployment_id"] != primary["id"]]
    sound = [it for it in new if not it["_sick"]]
    sick = [it for it in new if it["_sick"]]
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
        if failed(service, task) or not task["_healthy"]:
            if failed(service, task) or not is_way_back(service, task) or healthy >= desired:
                scale_in(service, primary, task)
        elif spare:
            spare, healthy = spare - 1, healthy - 1
            scale_in(service, primary, task)


def failed(service, task):
    found = next((it for it in service["deployments"] if it["id"] == task["_deployment_id"]), None)
    return found is None or found["rolloutState"] == "FAILED"


def is_way_back(service, task):
    return task["_deployment_id"] == (service.get("_completed") or {}).get("id")


def bring_back(cluster, service):
    for identity, number in (service.pop("_bring_back", None) or {}).items():
        deployment = next((it for it in service["deployments"] if it["id"] == identity), None)
        if deployment and number and service["desiredCount"]:
            launch(cluster, service, deployment, number)


def launch(cluster, service, deployment, number, replaced=0):
    status, _, body = ecs._run_task(
        {
            "cluster": cluster,
            "taskDefinition": deployment["taskDefinition"],
            "count": number,
            "group": f"service:{service['serviceName']}",
            "startedBy": deployment["id"],
            "launchType": service.get("launchType"),
            "capacityProviderStrategy": service.get("capacityProviderStrategy"),
            "platformVersion": service.get("platformVersion", ""),
            "networkConfiguration": service.get("networkConfiguration", {}),
            "enableExecuteCommand": service.get("enableExecuteCommand", False),
            "_deploymentId": deployment["id"],
        }
    )
    for task in ecs._tasks.values():
        task.setdefault("_sick", None)
        task.setdefault("_healthy", False)
    if status != 200:
        tell(service, f"was unable to place a task. Reason: {body.decode()}.")
        return
    started = " ".join(f"(task {identity(it)})" for it in ecs.json.loads(body)["tasks"])
    text = f"has started {number} tasks: {started}."
    if replaced:
        text += f" Amazon ECS replaced {replaced} tasks due to an unhealthy status."
    tell(service, text)
    for text in definitions.not_honored(ecs._task_defs[ecs._resolve_td_key(deployment["taskDefinition"])]):
        tell(service, f"runs a definition of which the local AWS does not honor {text}.")


def identity(task):
    return task["taskArn"].rsplit("/", 1)[-1]


def replace_sick(service, task):
    named = f"(task {identity(task)})"
    if task["_sick"] == FAILED_CONTAINER_CHECKS:
        tell(service, f"{named} failed container health checks.")
        for container in task["containers"]:
            # AWS does not tell; it can be read from Docker here.
            if container.get("_not_run"):
                tell(service, f"{named} is unable to run its health check: {container['_not_run']}")
    for group, address, port in task["_targets"]:
        target = targets.find(group, address, port)
        if group in task["_sick"] and target:
            where = f"(port {port}) is unhealthy in (target-group {group})"
            tell(service, f"{named} {where} due to (reason {target.description}).")
    stop(service, task, task["_sick"])


def scale_in(service, primary, task):
    task["_sick"] = None
    stop(service, task, f"Scaling activity initiated by (deployment {primary['id']})")


def stop(service, task, reason):
    registered, pending = task.get("_targets") or [], task["lastStatus"] in STARTING
    if not tasks.stop(task, reason, "ServiceSchedulerInitiated"):
        return
    running = f"has stopped 1 running tasks: (task {identity(task)})."
    tell(service, "stopped 1 pending tasks." if pending else running)
    for group, _, _ in registered:
        tell(service, f"deregistered 1 targets in (target-group {group})")
    if registered:
        tell(service, "has begun draining connections on 1 tasks.", task["_deployment_id"])


def count(service, alive):
    """Tasks that drain are counted as running; AWS's documentation does not say."""
    primary = ecs._primary_deployment(service)
    primary["desiredCount"] = service["desiredCount"] if primary["rolloutState"] != "FAILED" else 0
    for deployment in service["deployments"]:
        states = [it["lastStatus"] for it in alive if it["_deployment_id"] == deployment["id"]]
        deployment["runningCount"] = sum(it in ("RUNNING", "DEACTIVATING") for it in states)
        deployment["pendingCount"] = sum(it in STARTING for it in states)
    for name in ("runningCount", "pendingCount"):
        service[name] = sum(it[name] for it in service["deployments"])
    lived = {it["_deployment_id"] for it in alive}
    service["deployments"] = [
        it for it in service["deployments"] if it["status"] == "PRIMARY" or it["id"] in lived
    ]


def complete(service, alive):
    """Once every task is a healthy one of the new deployment."""
    primary = ecs._primary_deployment(service)
    healthy = [it for it in alive if it["_healthy"] and it["_deployment_id"] == primary["id"]]
    steady = len(alive) == len(healthy) == service["desiredCount"]
    completes = steady and primary["rolloutState"] == "IN_PROGRESS"
    if completes:
        primary.update(
            rolloutState="COMPLETED",
            rolloutStateReason=f"ECS deployment {primary['id']} completed.",
            updatedAt=ecs._iso(),
        )
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
    deployment = make_deployment.original(definition, desired, status)
    identity = f"ecs-svc/{secrets.randbelow(9 * 10**18) + 10**18}"
    return deployment | {
        "id": identity,
        "rolloutState": "IN_PROGRESS",
        "rolloutStateReason": f"ECS deployment {identity} in progress.",
    }


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
            what = "is inactive" if definition else "not found"
            return error_response_json("ClientException", f"TaskDefinition {what}.", 400)
        service = deployments.service_of(data, "service")
        if service is None:
            return update_service.original(data)
        before = ecs._primary_deployment(service)["id"]
        events = list(service["events"])
        response = update_service.original(data)
        # The original reports draining whatever it did.
        service["events"] = events
        if ecs._primary_deployment(service)["id"] != before:
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


@replace(
    ecs,
    "_reconcile_service_tasks",
    "_refresh_service_state",
    "_sync_service_targets",
    "_record_service_task_failure",
    "_start_restored_service_reconciler",
)
def decided_elsewhere(*_arguments, **_named):
    """The thread of the scheduler decides."""
