"""Targets of the load balancer: health checks, states, and where a request goes.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html
"""

import http.client
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from xml.sax.saxutils import escape

from ministack.services import alb

from . import unsure
from .pins import rely, replace

rely(alb, "_proxy_http_target", "_parse_targets_param", "_xml", "_p")

_LOCK = threading.Lock()
_groups = {}
_turn = itertools.count()
_pool = ThreadPoolExecutor(16, thread_name_prefix="target-health")
# A check that comes too early fails, and the next one is a whole interval later.
FIRST_CHECK = 1.0


@dataclass
class Target:
    address: str
    port: int
    due: float
    state: str = "initial"
    reason: str = "Elb.RegistrationInProgress"
    description: str = "Target registration is in progress"
    passed: int = 0
    failed: int = 0
    gone: float = 0

    def show(self, state, reason="", description=""):
        self.state, self.reason, self.description = state, reason, description


def _of(group):
    return list(_groups.get(group, {}).values())


def register(group, address, port):
    """Docker gives the address of a removed container to the next one, so a target that drains is
    replaced."""
    target = Target(address, port, time.monotonic() + FIRST_CHECK)
    with _LOCK:
        _groups.setdefault(group, {})[address, port] = target


def find(group, address, port):
    return _groups.get(group, {}).get((address, port))


def state(group, address, port):
    target = find(group, address, port)
    return target.state if target else "unused"


def drain(registered):
    """Takes targets out of choice, and returns for how many seconds requests may still run."""
    longest = 0
    for group, address, port in registered:
        target = find(group, address, port)
        if target is None:
            continue
        attributes = {it["Key"]: it["Value"] for it in alb._tg_attrs.get(group, [])}
        delay = int(attributes.get("deregistration_delay.timeout_seconds", 300))
        if target.state == "healthy" or unsure.choice("unhealthy targets drain"):
            longest = max(longest, delay)
        target.gone = time.monotonic() + delay
        target.show("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress")
    return longest


def tick(now):
    """Removes what has drained, and starts the checks that are due."""
    with _LOCK:
        for group, targets in list(_groups.items()):
            settings = alb._tgs.get(group)
            for key, target in list(targets.items()):
                if settings is None or (target.state == "draining" and target.gone <= now):
                    del targets[key]
                elif target.state != "draining" and target.due <= now:
                    target.due = now + settings["HealthCheckIntervalSeconds"]
                    _pool.submit(check, settings, target)


def check(settings, target):
    if target.state == "initial":
        target.show("initial", "Elb.InitialHealthChecking", "Initial health checks in progress")
    outcome = probe(settings, target)
    if target.state != "draining":
        judge(target, outcome, settings["HealthyThresholdCount"], settings["UnhealthyThresholdCount"])


def probe(settings, target):
    """`None`, or the reason and the description of a failed check."""
    port = settings["HealthCheckPort"]
    port = target.port if port == "traffic-port" else int(port)
    seconds = settings["HealthCheckTimeoutSeconds"]
    connection = http.client.HTTPConnection(target.address, port, timeout=seconds)
    try:
        headers = {"User-Agent": "ELB-HealthChecker/2.0", "Connection": "close"}
        connection.request("GET", settings["HealthCheckPath"], headers=headers)
        status = connection.getresponse().status
    except TimeoutError:
        return "Target.Timeout", "Request timed out"
    except (OSError, http.client.HTTPException):
        return "Target.FailedHealthChecks", "Health checks failed"
    finally:
        connection.close()
    if matches(status, settings["Matcher"]["HttpCode"]):
        return None
    return "Target.ResponseCodeMismatch", f"Health checks failed with these codes: [{status}]"


def matches(status, pattern):
    """`200`, `200,202` or `200-299`."""
    ranges = [part.partition("-") for part in pattern.split(",")]
    return any(int(low) <= status <= int(high or low) for low, _, high in ranges)


def judge(target, outcome, healthy, unhealthy):
    """A new target is healthy after one passed check, a sick one after `healthy` of them."""
    if outcome is None:
        target.passed, target.failed = target.passed + 1, 0
        if target.state == "initial" or target.passed >= healthy:
            target.show("healthy")
        return
    target.passed, target.failed = 0, target.failed + 1
    if target.state == "unhealthy" or target.failed >= unhealthy:
        target.show("unhealthy", *outcome)


def choose(targets):
    """Healthy targets in turn, or all where none is healthy; none that drains."""
    registered = [it for it in targets if it.state != "draining"]
    usable = [it for it in registered if it.state == "healthy"]
    if not usable and not unsure.choice("new targets are chosen"):
        usable = [it for it in registered if it.state == "unhealthy"]
    usable = usable or registered
    return usable[next(_turn) % len(usable)] if usable else None


@replace(alb, "_forward_to_tg")
async def forward(group, method, path, headers, body, query, raw_query=None, raw_path=None):
    settings = alb._tgs.get(group)
    if settings is None or alb._targets.get(group):
        return await forward.original(group, method, path, headers, body, query, raw_query, raw_path)
    target = choose(_of(group))
    if target is None:
        return 503, {"Content-Type": "text/html"}, b"503 Service Temporarily Unavailable"
    to, path = {"Id": target.address, "Port": target.port}, raw_path or path
    return await alb._proxy_http_target(to, settings, method, path, headers, body, query, raw_query)


@replace(alb, "_describe_target_health")
def describe(params):
    group = alb._p(params, "TargetGroupArn")
    if group not in alb._tgs or alb._targets.get(group):
        return describe.original(params)
    found, asked = _of(group), {it["Id"] for it in alb._parse_targets_param(params)}
    if asked:
        unused = ("unused", "Target.NotRegistered", "Target is not registered to the target group")
        missing = asked - {it.address for it in found}
        found = [it for it in found if it.address in asked]
        found += [Target(address, 0, 0, *unused) for address in sorted(missing)]
    members = "".join(member(it) for it in found)
    answer = f"<TargetHealthDescriptions>{members}</TargetHealthDescriptions>"
    return alb._xml(200, "DescribeTargetHealth", answer)


def member(target):
    text = f"<State>{target.state}</State>"
    if target.reason:
        text += f"<Reason>{target.reason}</Reason><Description>{escape(target.description)}</Description>"
    return (
        f"<member><HealthCheckPort>{target.port}</HealthCheckPort>"
        f"<Target><Id>{escape(target.address)}</Id><Port>{target.port}</Port></Target>"
        f"<TargetHealth>{text}</TargetHealth></member>"
    )
