"""One task: what Docker says about its containers, and how it stops.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html
"""

import re
import time

from docker.errors import APIError, DockerException, NotFound
from ministack.core.concurrency import resource_lock, spawn_background
from ministack.core.responses import request_scope
from ministack.services import ecs, ecs_metadata

from . import definitions, targets
from .pins import rely, replace

rely(ecs, "_bump_task_version", "_cleanup_task_resources", "_mark_task_stopped", "_run_task_worker")
rely(ecs, "_task_is_active", "_attach_started_container", "_mark_task_running", "_task_ip")

# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html, stopTimeout
STOP_TIMEOUT = 30
# How ECS shows SIGKILL, also of a container that is gone.
# https://repost.aws/knowledge-center/ecs-task-stopped
KILLED = 137
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html, stopCode
CONTAINER_ENDED = ("Essential container in task exited", "EssentialContainerExited")
HOST_ENDED = ("Host stopped: Docker ended, and the containers of the task with it", "TerminationNotice")


def observe(client, was_away=False):
    """Takes over what Docker knows. Raises where Docker does not answer. Containers that ended while
    it was away ended with it."""
    if client is None:
        raise DockerException("it has not answered since the start")
    filters = {"label": definitions.instance_label()}
    rows = {row["Id"]: row for row in client.api.containers(all=True, filters=filters)}
    for (account, region, _arn), task in ecs._tasks.all_items():
        if task.get("lastStatus") == "RUNNING" and task.get("desiredStatus") == "RUNNING":
            with request_scope(account, region):
                observe_task(client, task, rows, was_away)


def observe_task(client, task, rows, was_away=False):
    essentials = task.get("_container_essentials") or []
    for at, identity in enumerate(list(task.get("_docker_ids") or [])):
        container, row = task["containers"][at], rows.get(identity)
        if row and row["State"] not in ("exited", "dead"):
            state = health(row["Status"])
            if state == "UNHEALTHY" and container["healthStatus"] != state:
                container["_not_run"] = why_not_run(client, identity)
            container["healthStatus"] = state
        elif container.get("lastStatus") != "STOPPED" and ended(client, identity, container):
            container["lastStatus"] = "STOPPED"
        if container.get("lastStatus") == "STOPPED" and essentials[at]:
            stop(task, *(HOST_ENDED if was_away else CONTAINER_ENDED))
            return
    written = definitions.of_task(task)["containerDefinitions"]
    checked = {it["name"] for it in written if it.get("healthCheck")}
    containers = zip(task["containers"], essentials)
    task["healthStatus"] = task_health(
        [it["healthStatus"] for it, essential in containers if essential and it["name"] in checked]
    )


def why_not_run(client, identity):
    """What Docker says where the program of a health check cannot be run, such as one that is not in
    the image; `None` where it ran."""
    checks = (client.api.inspect_container(identity)["State"].get("Health") or {}).get("Log") or []
    said = checks[-1]["Output"].strip() if checks else ""
    return said if said.startswith("OCI runtime exec failed") else None


def health(status):
    """Docker's words, such as `Up 3 seconds (healthy)`."""
    words = {"(healthy)": "HEALTHY", "(unhealthy)": "UNHEALTHY"}
    return next((state for word, state in words.items() if word in status), "UNKNOWN")


def task_health(states):
    """Of the essential containers that have a health check.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html
    """
    worst = [state for state in ("UNHEALTHY", "UNKNOWN") if state in states]
    return worst[0] if worst else "HEALTHY" if states else "UNKNOWN"


def ended(client, identity, container):
    """Whether a container has ended, and how. The list that named it may be older than this."""
    try:
        state = client.api.inspect_container(identity)["State"]
    except NotFound:
        container["exitCode"] = KILLED
        return True
    if state["Running"]:
        return False
    container["exitCode"] = state["ExitCode"]
    if state["OOMKilled"]:
        container["reason"] = "OutOfMemoryError: Container killed due to memory usage"
    return True


def stop(task, reason, code):
    """Begins to stop a task: out of the load balancer, SIGTERM, SIGKILL after its timeout."""
    arn = task["taskArn"]
    with resource_lock("ecs-task", arn):
        if not ecs._task_is_active(arn, task):
            return False
        ecs._bump_task_version(task)
        task.update(desiredStatus="STOPPED", lastStatus="DEACTIVATING", stoppingAt=ecs._iso())
        task.update(stoppedReason=reason, stopCode=code)
    ecs_metadata.set_task_status(arn, known_status="RUNNING", desired_status="STOPPED")
    delay = targets.drain(task.pop("_targets", []))
    name = f"ecs-stop-{arn.rsplit('/', 1)[-1][:8]}"
    has_ended = (reason, code) in (CONTAINER_ENDED, HOST_ENDED)
    spawn_background(finish, task, 0 if has_ended else delay, thread_name=name)
    return True


def finish(task, delay):
    time.sleep(delay)
    task["lastStatus"] = "STOPPING"
    client = ecs._get_docker()
    timeouts = {it["name"]: it.get("stopTimeout") for it in definitions.of_task(task)["containerDefinitions"]}
    for at, identity in reversed(list(enumerate(task.get("_docker_ids") or []))):
        container = task["containers"][at]
        stop_container(client, identity, container, timeouts.get(container["name"]) or STOP_TIMEOUT)
    ecs._bump_task_version(task)
    task["lastStatus"] = "DEPROVISIONING"
    ecs._cleanup_task_resources(task, client)
    ecs._bump_task_version(task)
    now = ecs._iso()
    for container in task["containers"]:
        container["lastStatus"] = "STOPPED"
    task.update(lastStatus="STOPPED", stoppedAt=now, executionStoppedAt=now, _stopped=time.time())


def stop_container(client, identity, container, timeout):
    """Also while Docker does not answer for a while."""
    for _attempt in range(60):
        try:
            client.api.stop(identity, timeout=timeout)
            ended(client, identity, container)
            return
        except NotFound:
            return
        except (APIError, OSError):
            time.sleep(1)


@replace(ecs, "_stop_task")
def stop_task(data):
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StopTask.html"""
    cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
    task = ecs._resolve_task(data.get("task", ""), cluster) if cluster else None
    if not task:
        return stop_task.original(data)
    # https://repost.aws/knowledge-center/ecs-task-stopped
    stop(task, data.get("reason") or "Task stopped by user", "UserInitiated")
    return ecs.json_response({"task": ecs._sanitize(task)})


@replace(ecs, "_fail_task_start")
def fail_start(task, client, reason):
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html"""
    kind, _, text = reason.partition(": ")
    said = re.search(r'\("(.*)"\)\s*$', reason, re.DOTALL)
    text = said.group(1) if said else text.removeprefix("unable to pull image or start container: ")
    if kind == "CannotPullContainerError":
        image = definitions.of_task(task)["containerDefinitions"][0]["image"]
        what = "not found" if "not found" in text else text
        retried = "pull image manifest has been retried 1 time(s)"
        reason = f"CannotPullContainerError: {retried}: failed to resolve ref {image}: {what}"
    elif "unable to pull image or start container" in reason:
        cause = "Error response from daemon: "
        if "OCI runtime create failed" in text:
            cause = "ResourceInitializationError: failed to create new container runtime task: "
        reason = f"CannotStartContainerError: {cause}{text}"
    ecs._mark_task_stopped(task["taskArn"], task, reason, "TaskFailedToStart")
    task["_stopped"] = time.time()
    ecs._cleanup_task_resources(task, client)
    # Docker leaves a container that was created and could not start.
    definitions.remove(client, task["taskArn"])


@replace(ecs, "_maybe_mark_stopped", "_watch_task_lifecycle")
def observed_elsewhere(*_arguments):
    """The scheduler observes all containers at once."""
