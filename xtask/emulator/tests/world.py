"""One service in the emulator without Docker: tasks run at once, and the test says what is healthy."""

import itertools
from unittest import mock

from ministack.core.responses import request_scope
from ministack.services import alb, ecs

from overlay import answers, scheduler, targets, tasks  # noqa: F401

GROUP = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/demo/1"
_addresses = itertools.count(1)


class Docker:
    """The answers of Docker that the overlay reads."""

    def __init__(self, **state):
        self.api, self.state = self, state

    def containers(self, **_):
        return []

    def inspect_container(self, _):
        return {"State": {"Running": False, "ExitCode": 0, "OOMKilled": False} | self.state}


class World:
    def __init__(self, desired=2, grace=0, breaker=True, **configuration):
        ecs.reset()
        ecs._get_docker = lambda: None
        targets._groups.clear()
        self.clock = 1_000_000.0
        self.stopping = []
        tasks.spawn_background = self.later
        self.scope = request_scope("000000000000", "us-east-1")
        self.scope.__enter__()
        alb._tgs[GROUP] = {"Port": 80, "HealthCheckIntervalSeconds": 5}
        alb._tg_attrs[GROUP] = [{"Key": "deregistration_delay.timeout_seconds", "Value": "0"}]
        ecs._create_cluster({"clusterName": "demo"})
        self.call("CreateService", serviceName="demo", desiredCount=0, taskDefinition=self.register(),
                  launchType="FARGATE", healthCheckGracePeriodSeconds=grace,
                  loadBalancers=[{"targetGroupArn": GROUP, "containerName": "demo", "containerPort": 80}],
                  deploymentConfiguration={"maximumPercent": 200, "minimumHealthyPercent": 100,
                      "deploymentCircuitBreaker": {"enable": breaker, "rollback": True}} | configuration)
        self.until(lambda: self.state() == "COMPLETED")
        if desired:
            self.update(desiredCount=desired, taskDefinition=self.register())
            self.until(lambda: self.state() == "COMPLETED", healthy=True)

    def later(self, finish, task, delay, thread_name):
        """Tasks end some ticks after they were told to."""
        self.stopping.append((self.clock + delay + 1, finish, task))

    def close(self):
        self.scope.__exit__(None, None, None)

    def call(self, action, **data):
        data.setdefault("cluster", "demo")
        status, _, body = ecs._finalize_ecs_response(ecs._dispatch_action(action, data))
        answer = ecs.json.loads(body)
        assert status == 200, answer
        return answer

    def register(self, **container):
        check = {"command": ["CMD", "/demo", "healthcheck"]}
        written = {"name": "demo", "image": "demo@sha256:" + "0" * 64, "healthCheck": check}
        answer = self.call("RegisterTaskDefinition", family="demo", networkMode="awsvpc",
                           containerDefinitions=[written | container])
        return answer["taskDefinition"]["taskDefinitionArn"]

    def update(self, **data):
        self.call("UpdateService", service="demo", **data)

    @property
    def service(self):
        return ecs._services["demo/demo"]

    def state(self):
        return ecs._primary_deployment(self.service)["rolloutState"]

    def described(self):
        return self.call("DescribeServices", services=["demo"])["services"][0]

    def deployment(self):
        arn = self.call("ListServiceDeployments", service="demo")["serviceDeployments"][0]
        found = self.call("DescribeServiceDeployments", serviceDeploymentArns=[arn["serviceDeploymentArn"]])
        return found["serviceDeployments"][0]

    def alive(self):
        return [it for it in ecs._tasks.values() if it["lastStatus"] != "STOPPED"]

    def running(self, definition=None):
        """Tasks that nothing stops, of one definition."""
        return [it for it in self.alive() if scheduler.is_active(it)
                and definition in (None, it["taskDefinitionArn"])]

    def set_health(self, task, container="HEALTHY", target="healthy"):
        task["healthStatus"] = container
        for group, address, port in task.get("_targets", []):
            targets._groups[group][address, port].state = target

    def tick(self, seconds=0.25):
        self.clock += seconds
        due = [it for it in self.stopping if it[0] <= self.clock]
        self.stopping = [it for it in self.stopping if it[0] > self.clock]
        for _, finish, task in due:
            finish(task, 0)
        for task in self.alive():
            task.setdefault("_container_ip", f"10.0.0.{next(_addresses)}")
        scheduler.serve("demo", self.service, self.clock)

    def until(self, condition, healthy=False, ticks=400):
        """Ticks until something is true."""
        for _ in range(ticks):
            if healthy:
                for task in self.running():
                    self.set_health(task)
            self.tick()
            if condition():
                return
        raise AssertionError(f"not within {ticks} ticks: {self.described()}")

    def fail_first_deployment(self):
        """Nothing was completed before it."""
        self.service.pop("_completed")
        self.update(desiredCount=2, taskDefinition=self.register())

        def failed():
            for task in self.running():
                self.crash(task)
            return self.state() == "FAILED"

        self.until(failed)

    def crash(self, task):
        task["containers"][0]["exitCode"] = 1
        tasks.stop(task, "Essential container in task exited", "EssentialContainerExited")

    def fail_start(self, task, error=ecs._ImagePullError("not found")):
        """A task whose start ends with this error."""
        task["lastStatus"] = "PENDING"
        with mock.patch.object(ecs, "_start_task_worker", side_effect=error), \
                mock.patch.object(ecs.logger, "warning"):
            ecs._run_task_worker(task, {}, {}, Docker(), "000000000000", "us-east-1")

    def messages(self):
        return [it["message"] for it in self.service["events"]]
