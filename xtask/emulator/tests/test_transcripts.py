"""What the real AWS showed in public, and that the local AWS shows the same.

Each file of `transcripts/` has the address of one thread or file, and what was seen there: events from
the oldest on, the end of a task, states. `{...}` stands for what differs from one account to another. A
file says `unordered` where AWS changed the order of its events since.
"""

import json
import re
import unittest
from pathlib import Path
from unittest import mock

from ministack.services import ecs

from overlay import definitions, targets, tasks

from .world import GROUP, Docker, World

FOLDER = Path(__file__).with_name("transcripts")
PLACES = {
    "service": "demo", "port": r"\d+", "number": r"\d+", "task": "[0-9a-f-]{32,36}", "group": "arn:[^)]+",
    "deployment": r"ecs-svc/\d{19}", "words": ".*", "image": r"\S+", "arn": r"arn:\S+",
    "service_deployment": r"arn:aws:ecs:[\w-]+:\d{12}:service-deployment/\w+/\w+/[\w-]{21}",
    "service_revision": r"arn:aws:ecs:[\w-]+:\d{12}:service-revision/\w+/\w+/\d{19}",
}
REFUSED = ("Target.FailedHealthChecks", "Health checks failed")


class Recorded(dict):
    """A task that remembers its states."""

    def __init__(self, task):
        super().__init__(task)
        self.states = [task["lastStatus"]]

    def __setitem__(self, name, value):
        super().__setitem__(name, value)
        if name == "lastStatus":
            self.states.append(value)

    def update(self, *others, **named):
        for name, value in dict(*others, **named).items():
            self[name] = value


def pattern(text):
    """A regular expression of a text with places."""
    found = re.escape(text).replace(r"\{", "{").replace(r"\}", "}")
    # Older threads do not name the task, nor whose connections drain.
    if re.match(r"\(service \{service\}\) (\(port|has begun)", text):
        found = found.replace(r"\ \(port", r"\ (?:\(task {task}\) )?\(port", 1)
        found = found.replace(r"{service}\)\ has", r"{service}(?:, taskSet {deployment})?\)\ has", 1)
    return "^" + re.sub(r"\{(\w+)\}", lambda it: PLACES[it[1]], found) + "$"


class Transcripts(unittest.TestCase):
    def setUp(self):
        self.world = World()
        self.addCleanup(lambda: self.world.close())

    def begin(self, **configuration):
        self.world.close()
        self.world = World(**configuration)

    def test_each(self):
        for file in sorted(FOLDER.glob("*.json")):
            with self.subTest(file.stem):
                seen = json.loads(file.read_text())
                self.begin(desired=seen.pop("desired", 2))
                self.assertRegex(seen["address"], "^https://")
                shown = getattr(self, seen["scenario"])()
                for part in seen.keys() - {"address", "scenario", "unordered"}:
                    self.compare(part, seen[part], shown, seen.get("unordered", False))

    def test_most_are_from_public_threads(self):
        addresses = {json.loads(file.read_text())["address"] for file in FOLDER.glob("*.json")}
        threads = [it for it in addresses if re.match(r"https://github.com/[^/]+/[^/]+/(issues|pull)/\d+$", it)]
        self.assertGreaterEqual(len(threads), 15)

    def compare(self, part, seen, shown, unordered):
        if part == "events":
            events = list(reversed(self.world.messages()))
            at = 0
            for text in seen:
                rest = events if unordered else events[at:]
                found = next((it for it, event in enumerate(rest) if re.match(pattern(text), event)), None)
                self.assertIsNotNone(found, f"{text}\n in \n" + "\n".join(rest))
                at = 0 if unordered else at + found + 1
            return
        self.same(seen, shown[part])

    def same(self, seen, shown):
        if isinstance(seen, dict):
            for name, value in seen.items():
                self.same(value, shown.get(name))
        elif isinstance(seen, list):
            self.assertEqual(len(seen), len(shown), shown)
            for value, other in zip(seen, shown):
                self.same(value, other)
        elif isinstance(seen, str) and shown is not None:
            self.assertRegex(shown, pattern(seen))
        else:
            self.assertEqual(seen, shown)

    def rollout(self, break_one=None):
        """To its end. Returns also the list of deployments that was shown when it went back."""
        world = self.world
        first, second = world.service["taskDefinition"], world.register()
        world.update(taskDefinition=second)
        going_back = []

        def ended():
            for task in world.running(first) if break_one else world.running():
                world.set_health(task)
            for task in world.running(second) if break_one else []:
                if "_targets" in task:
                    break_one(task)
            shown = world.described()["deployments"]
            if len(shown) == 2 and shown[0]["taskDefinition"] == first and not going_back:
                names = {first: "old", second: "new"}
                going_back[:] = [it | {"revision": names[it["taskDefinition"]]} for it in shown]
            return world.state() in ("COMPLETED", "FAILED")

        world.until(ended)
        return {
            "deployments": world.described()["deployments"],
            "going_back": going_back,
            "service_deployment": world.deployment(),
        }

    def sick(self, reason, description):
        def break_one(task):
            self.world.set_health(task, "HEALTHY", "unhealthy")
            for group, address, port in task["_targets"]:
                target = targets.find(group, address, port)
                target.reason, target.description = reason, description

        return self.rollout(break_one)

    def good_rollout(self):
        return self.rollout()

    def target_answers_500(self):
        return self.sick("Target.ResponseCodeMismatch", "Health checks failed with these codes: [500]")

    def target_times_out(self):
        return self.sick("Target.Timeout", "Request timed out")

    def never_listens(self):
        return self.sick(*REFUSED)

    def container_check_fails(self):
        return self.rollout(lambda task: self.world.set_health(task, "UNHEALTHY", "healthy"))

    def crashes(self):
        return self.rollout(self.world.crash)

    def never_completed(self):
        """A first deployment, so there is none to go back to."""
        self.begin(desired=0)
        world = self.world
        world.fail_first_deployment()
        return {"service_deployment": world.deployment(), "deployments": world.described()["deployments"]}

    def updated_twice(self):
        world = self.world
        for _ in range(2):
            world.update(taskDefinition=world.register())
            world.tick()
        return {"listed": world.call("ListServiceDeployments", service="demo")["serviceDeployments"][:2]}

    def stopped_by_user(self):
        world = self.world
        world.update(taskDefinition=world.register())
        world.tick()
        arn = world.described()["currentServiceDeployment"]
        world.call("StopServiceDeployment", serviceDeploymentArn=arn)
        world.until(lambda: world.state() == "COMPLETED", healthy=True)
        return {"service_deployment": world.deployment()}

    def failed_without_rollback(self):
        self.begin(deploymentCircuitBreaker={"enable": True, "rollback": False})
        return {"deployments": self.rollout(self.world.crash)["deployments"][:1]}

    def never_starts(self):
        self.begin(desired=1, breaker=False)
        world = self.world
        world.update(taskDefinition=world.register())
        second = world.service["taskDefinition"]
        for _ in range(40):
            for task in world.running(second):
                world.fail_start(task)
            world.tick()

    def scaled_in(self):
        world = self.world
        world.update(desiredCount=1)
        for arn in list(ecs._tasks):
            ecs._tasks[arn] = Recorded(ecs._tasks[arn])
        world.until(lambda: len(world.alive()) == 1 and not world.stopping, healthy=True)
        task = next(it for it in ecs._tasks.values() if it["lastStatus"] == "STOPPED")
        return {"task": task, "states": task.states}

    def scaled_in_while_it_starts(self):
        world = self.world
        world.update(desiredCount=3)
        world.tick()
        world.running()[-1]["lastStatus"] = "PENDING"
        world.update(desiredCount=2)
        world.tick()

    def stopped_by_hand(self):
        task = self.world.running()[0]
        self.world.call("StopTask", task=task["taskArn"], reason="drill")
        return {"task": task}

    def fails_to_start(self, error):
        """A task whose start ends with this error."""
        task = self.world.running()[0]
        self.world.fail_start(task, error)
        return {"task": task}

    def secret_not_there(self):
        arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:demo-AbCdEf"
        try:
            definitions.secret(arn)
        except ecs._SecretResolutionError as error:
            return self.fails_to_start(error)
        self.fail("there is such a secret")

    def image_not_there(self):
        said = '404 Client Error: Not Found ("manifest for demo not found: manifest unknown")'
        return self.fails_to_start(ecs._ImagePullError(said))

    def bad_entry_point(self):
        said = ('400 Client Error: Bad Request ("failed to create task for container: failed to create shim '
                'task: OCI runtime create failed: runc create failed: unable to start container process: '
                'exec: \\"/nope\\": stat /nope: no such file or directory: unknown")')
        return self.fails_to_start(RuntimeError(said))

    def out_of_memory(self):
        task = self.world.running()[0]
        task["_docker_ids"] = ["1"]
        tasks.observe_task(Docker(ExitCode=137, OOMKilled=True), task, {})
        return {"task": task, "container": task["containers"][0]}

    def two_checked_one_unchecked(self):
        checked = {"image": "demo", "healthCheck": {"command": ["CMD", "/demo"]}}
        written = [{"name": "a"} | checked, {"name": "b"} | checked, {"name": "c", "image": "demo"}]
        answer = self.world.call("RegisterTaskDefinition", family="three", containerDefinitions=written)
        arn = answer["taskDefinition"]["taskDefinitionArn"]
        task = {"taskDefinitionArn": arn, "_container_essentials": [True] * 3, "_docker_ids": ["1", "2", "3"],
                "containers": [{"name": it["name"]} for it in written]}
        rows = {"1": "Up 3 seconds (healthy)", "2": "Up 3 seconds (healthy)", "3": "Up 3 seconds"}
        rows = {name: {"State": "running", "Status": it} for name, it in rows.items()}
        tasks.observe_task(Docker(), task, rows)
        states = [it["healthStatus"] for it in task["containers"]]
        return {"health": {"containers": states, "task": task["healthStatus"]}}

    def targets(self):
        shown, settings = {}, {"HealthyThresholdCount": 2, "UnhealthyThresholdCount": 2}

        def show(name, *outcomes):
            targets.register(GROUP, "10.2.0.1", 80)
            target = targets.find(GROUP, "10.2.0.1", 80)
            for outcome in outcomes:
                with mock.patch.object(targets, "probe", return_value=outcome):
                    targets.check(settings, target)
            shown[name] = [target.state, target.reason or None]

        show("registered")
        show("checked", REFUSED)
        show("answers", None)
        show("other code", *[("Target.ResponseCodeMismatch", "Health checks failed with these codes: [404]")] * 2)
        show("no answer", *[("Target.Timeout", "Request timed out")] * 2)
        show("no connection", REFUSED, REFUSED)
        targets.drain([(GROUP, "10.2.0.1", 80)])
        target = targets.find(GROUP, "10.2.0.1", 80)
        shown["deregistered"] = [target.state, target.reason]
        return {"targets": shown}
