"""Task definitions: containers run as they are written, and what could harm this machine is refused.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html
"""

import json
import os
import time
from pathlib import Path

from docker.errors import DockerException
from docker.types import Ulimit
from ministack.core import container_reaper
from ministack.core.responses import error_response_json
from ministack.services import ecs, secretsmanager, ssm
from requests import HTTPError

from . import unsure
from .pins import rely, replace

rely(ecs, "_SecretResolutionError", "_start_task_worker")
rely(secretsmanager, "resolve_secret_string")
rely(ssm, "resolve_parameter_value")

MEBIBYTE = 1024 * 1024
SECOND = 1_000_000_000
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
FARGATE_CAPABILITIES = {"SYS_PTRACE"}
# Parts of a definition, and of its containers, that have no effect here. The events of a service say
# so, and `cargo xtask doctor` lists them from the same file.
NOT_HONORED = json.loads(Path(__file__).with_name("not_honored.json").read_text())


def of_task(task):
    """The definition of a task."""
    known = ecs._task_defs.get(ecs._resolve_td_key(task["taskDefinitionArn"]))
    return known or {"containerDefinitions": []}


def refused(definition):
    """What of a definition this machine does not run. Fargate refuses the same."""
    parts = {f"{it} `host`": definition.get(it) == "host" for it in ("networkMode", "pidMode", "ipcMode")}
    for volume in definition.get("volumes") or []:
        where = f"host.sourcePath of volume `{volume.get('name')}`"
        parts[where] = (volume.get("host") or {}).get("sourcePath")
    for container in definition.get("containerDefinitions") or []:
        linux, of_it = container.get("linuxParameters") or {}, f"of container `{container.get('name')}`"
        added = set((linux.get("capabilities") or {}).get("add") or []) - FARGATE_CAPABILITIES
        parts[f"privileged {of_it}"] = container.get("privileged")
        parts[f"devices {of_it}"] = linux.get("devices")
        parts[f"capabilities.add {', '.join(sorted(added))} {of_it}"] = added
    return [part for part, is_written in parts.items() if is_written]


@replace(ecs, "_register_task_definition")
def register(data):
    parts = refused(data)
    if parts:
        reason = f"{'; '.join(parts)}: not supported on Fargate. Remedy: remove it."
        return error_response_json("ClientException", reason, 400)
    return register.original(data)


def not_honored(definition):
    """What of a definition has no effect here."""
    parts = [definition, *(definition.get("containerDefinitions") or [])]
    return [f"{key} ({what})" for key, what in NOT_HONORED.items() if any(it.get(key) for it in parts)]


def health_check(container):
    """Docker runs the command, and the one of the image is ignored.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html
    """
    check = container.get("healthCheck")
    if not check:
        return {"test": ["NONE"]}
    return {
        "test": check["command"],
        "interval": check.get("interval", 30) * SECOND,
        "timeout": check.get("timeout", 5) * SECOND,
        "retries": check.get("retries", 3),
        "start_period": check.get("startPeriod", 0) * SECOND,
    }


def sysctls(container):
    """Docker lets any user listen on port 80."""
    controls = {it["namespace"]: it["value"] for it in container.get("systemControls") or []}
    return {"net.ipv4.ip_unprivileged_port_start": unsure.choice("first free port")} | controls


def limits(container, definition):
    """The size of a task limits it; `cpu` of a container only divides that."""
    memory = int(container.get("memory") or definition.get("memory") or 0) * MEBIBYTE
    cpus = float(definition.get("cpu") or container.get("cpu") or 0) / 1024
    return {
        "cpu_shares": max(2, int(container.get("cpu") or 0)),
        "nano_cpus": int(min(cpus, os.cpu_count()) * SECOND) or None,
        "mem_limit": memory or None,
        "memswap_limit": memory or None,
        "mem_reservation": int(container.get("memoryReservation") or 0) * MEBIBYTE or None,
    }


def mounts(linux):
    return {
        it["containerPath"]: ",".join([f"size={it['size']}m", *it.get("mountOptions", [])])
        for it in linux.get("tmpfs") or []
    }


@replace(ecs, "_build_run_kwargs")
def run_arguments(container, definition, env, *rest):
    arguments = run_arguments.original(container, definition, env, *rest)
    linux = container.get("linuxParameters") or {}
    arguments |= limits(container, definition)
    arguments["labels"] = (container.get("dockerLabels") or {}) | arguments["labels"]
    arguments |= {
        "user": container.get("user"),
        "read_only": bool(container.get("readonlyRootFilesystem")),
        "cap_drop": (linux.get("capabilities") or {}).get("drop"),
        "init": bool(linux.get("initProcessEnabled")),
        "tmpfs": mounts(linux),
        "shm_size": linux.get("sharedMemorySize", 64) * MEBIBYTE,
        "ulimits": [
            Ulimit(name=it["name"], soft=it["softLimit"], hard=it["hardLimit"])
            for it in container.get("ulimits") or []
        ],
        "entrypoint": container.get("entryPoint"),
        "working_dir": container.get("workingDirectory"),
        "healthcheck": health_check(container),
        "tty": bool(container.get("pseudoTerminal")),
        "stdin_open": bool(container.get("interactive")),
    }
    hosts = {it["hostname"]: it["ipAddress"] for it in container.get("extraHosts") or []}
    arguments["extra_hosts"] = arguments.get("extra_hosts", {}) | hosts
    task = ecs._tasks.get(arguments["labels"]["com.amazonaws.ecs.task-arn"]) or {}
    if task.get("_docker_ids") and definition.get("networkMode") == "awsvpc":
        # The containers of such a task share one network interface, and localhost.
        for name in ("network", "extra_hosts", "ports"):
            arguments.pop(name, None)
        return arguments | {"network_mode": f"container:{task['_docker_ids'][0]}"}
    return arguments | {"sysctls": sysctls(container)}


@replace(ecs, "_resolve_container_secrets")
def secrets(container):
    return {it["name"]: secret(it["valueFrom"]) for it in container.get("secrets") or []}


def secret(reference):
    """An ARN of a secret has seven fields; a key, a stage and a version are three more, all of them.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
    https://github.com/aws/amazon-ecs-agent/blob/master/agent/taskresource/asmsecret/asmsecret.go
    """
    if ":secretsmanager:" not in reference:
        value = ssm.resolve_parameter_value(reference)
        if value is None:
            fail(f"unable to retrieve secrets from ssm: invalid parameters: {reference}")
        return str(value)
    fields = reference.split(":")
    if len(fields) not in (7, 10):
        fail("unexpected ARN format with parameters when trying to retrieve ASM secret")
    arn = ":".join(fields[:7])
    key, stage, version = fields[7:] or ("", "", "")
    value = secretsmanager.resolve_secret_string(arn, stage or "AWSCURRENT", version or None)
    if value is None:
        fail(
            "unable to retrieve secret from asm: service call has been retried 1 time(s): failed to "
            f"fetch secret {arn} from secrets manager: ResourceNotFoundException: Secrets Manager "
            "can't find the specified secret."
        )
    if not key:
        return value
    try:
        return str(json.loads(value)[key])
    except (KeyError, TypeError, ValueError):
        fail(f"retrieved secret from Secrets Manager did not contain json key {key}")


def fail(reason):
    raise ecs._SecretResolutionError(reason)


@replace(ecs, "_start_task_worker")
def start(task, definition, overrides, client):
    """Starts containers after those that they depend on.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDependency.html
    """
    written = definition["containerDefinitions"]
    order = sorted(range(len(written)), key=lambda at: depth(written, at))
    definition["containerDefinitions"] = [written[at] for at in order]
    for name in ("containers", "_container_essentials"):
        task[name] = [task[name][at] for at in order]
    start.original(task, definition, overrides, client)


def depth(containers, at, seen=()):
    """How many dependencies precede a container."""
    names = [container["name"] for container in containers]
    wanted = [names.index(it["containerName"]) for it in containers[at].get("dependsOn") or []]
    return max((1 + depth(containers, it, (*seen, at)) for it in wanted if it not in seen), default=0)


@replace(ecs, "_run_docker_container")
def run(client, container, arguments, **options):
    """Pulls each time, since Fargate keeps no images.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-pull-behavior.html
    With a platform the emulator starts the container once more without it where the first start
    fails, for whatever reason: the error of the second start, a name in use, hides the first.
    """
    arguments.pop("platform", None)
    arn = arguments["labels"]["com.amazonaws.ecs.task-arn"]
    while True:
        try:
            for dependency in container.get("dependsOn") or []:
                wait_for(client, arn, dependency)
            return run.original(client, container, arguments, **options | {"allow_cached": False})
        except Exception as error:
            if not is_unanswered(error) or not is_active(arn):
                raise
        while is_active(arn) and not answers(client):
            time.sleep(0.5)
        remove(client, arn, container["name"])


def is_unanswered(error):
    """Docker was not there, or says that it is ending, which is no fault of the task's."""
    lost = [it for it in (error, error.__cause__) if isinstance(it, OSError) and not isinstance(it, HTTPError)]
    return bool(lost) or "context canceled" in str(error)


def answers(client):
    try:
        return client.ping()
    except (DockerException, OSError):
        return False


def remove(client, task_arn, name=None):
    """What Docker has of a task, or of one container of it, also where that could not start."""
    for found in containers_of(client, task_arn, name):
        client.api.remove_container(found["Id"], force=True, v=True)


def is_active(task_arn):
    return ecs._task_is_active(task_arn, ecs._tasks.get(task_arn) or {})


def containers_of(client, task_arn, name=None):
    labels = [f"com.amazonaws.ecs.task-arn={task_arn}"]
    if name:
        labels.append(f"com.amazonaws.ecs.container-name={name}")
    return client.api.containers(all=True, filters={"label": labels})


def wait_for(client, task_arn, dependency):
    name = dependency["containerName"]
    while is_active(task_arn):
        for found in containers_of(client, task_arn, name):
            state = client.api.inspect_container(found["Id"])["State"]
            ended = state["Status"] == "exited"
            met = {
                "START": True,
                "HEALTHY": (state.get("Health") or {}).get("Status") == "healthy",
                "COMPLETE": ended,
                "SUCCESS": ended and state["ExitCode"] == 0,
            }
            if met[dependency["condition"]]:
                return
            if ended:
                why = unsure.choice("failed dependency")
                raise RuntimeError(f'("{why}: {name} with code {state["ExitCode"]}")')
        time.sleep(0.1)


def instance_label():
    return f"{container_reaper.INSTANCE_LABEL}={container_reaper.instance_id()}"
