"""Each answer of the overlay, in each state, is one that the API's model allows."""

import unittest
from unittest import mock

from ministack.services import alb, ecs

from overlay import targets

from . import shapes
from .world import GROUP, World


class Shapes(unittest.TestCase):
    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.close)
        self.first = self.world.service["taskDefinition"]

    def answer(self, operation, **data):
        data = {"cluster": "demo"} | data if operation in WITH_CLUSTER else data
        status, _, body = ecs._finalize_ecs_response(ecs._dispatch_action(operation, data))
        answer = ecs.json.loads(body)
        self.assertEqual(status, 200, answer)
        self.assertEqual(shapes.faults(shapes.output("ecs", operation), answer), [], operation)
        return answer

    def refused(self, operation, **data):
        status, _, body = ecs._finalize_ecs_response(ecs._dispatch_action(operation, data))
        answer = ecs.json.loads(body)
        self.assertEqual((status, set(answer)), (400, {"__type", "message"}))
        self.assertIn(answer["__type"], shapes.error_names("ecs", operation))
        return answer

    def look(self):
        """Everything that can be read of the service, its tasks and its targets."""
        self.answer("DescribeServices", services=["demo", "other"], include=["TAGS"])
        tasks = [it["taskArn"] for it in ecs._tasks.values()]
        self.answer("DescribeTasks", tasks=[*tasks, tasks[0][:-1] + "z"], include=["TAGS"])
        self.answer("ListTasks", serviceName="demo", desiredStatus="STOPPED")
        listed = self.answer("ListServiceDeployments", service="demo")["serviceDeployments"]
        arns = [it["serviceDeploymentArn"] for it in listed]
        found = self.answer("DescribeServiceDeployments", serviceDeploymentArns=[*arns, arns[0] + "z"])
        revisions = [it["targetServiceRevision"]["arn"] for it in found["serviceDeployments"]]
        self.answer("DescribeServiceRevisions", serviceRevisionArns=[*revisions, revisions[0] + "1"])
        self.health()
        return {it["status"] for it in found["serviceDeployments"]}

    def health(self, **asked):
        status, _, body = alb._describe_target_health({"TargetGroupArn": [GROUP], **asked})
        self.assertEqual(status, 200)
        self.assertEqual(shapes.xml_faults("elbv2", "DescribeTargetHealth", body), [], body)
        return body.decode()

    def rollout(self, outcome):
        """Looks after each change until the deployment has ended. Returns what was seen."""
        world = self.world
        second = world.register()
        self.answer("UpdateService", service="demo", taskDefinition=second)
        seen = set()
        for _ in range(60):
            for task in world.running(self.first):
                world.set_health(task)
            for task in world.running(second):
                outcome(task)
            world.tick()
            seen |= self.look()
            if world.state() == "COMPLETED":
                return seen
        raise AssertionError(seen)

    def test_a_good_rollout(self):
        self.assertGreaterEqual(self.rollout(self.world.set_health), {"IN_PROGRESS", "SUCCESSFUL"})

    def test_a_rollout_whose_tasks_fail(self):
        for break_one in (
            self.world.crash,
            lambda task: self.world.set_health(task, "UNHEALTHY", "unhealthy"),
        ):
            seen = self.rollout(lambda task: "_targets" in task and break_one(task))
            self.assertIn("ROLLBACK_SUCCESSFUL", seen)

    def test_a_rollout_without_a_way_back(self):
        world = World(deploymentCircuitBreaker={"enable": True, "rollback": False})
        self.addCleanup(world.close)
        self.world = world
        world.update(taskDefinition=world.register())
        second = world.service["taskDefinition"]
        world.until(lambda: [world.crash(it) for it in world.running(second)] and False
                    or world.state() == "FAILED")
        self.assertIn("STOPPED", self.look())

    def test_a_deployment_that_is_stopped(self):
        world = self.world
        self.answer("UpdateService", service="demo", taskDefinition=world.register())
        self.assertIn("PENDING", self.look())
        world.tick()
        self.assertIn("IN_PROGRESS", self.look())
        arn = world.described()["currentServiceDeployment"]
        self.answer("StopServiceDeployment", serviceDeploymentArn=arn, stopType="ROLLBACK")
        self.assertIn("ROLLBACK_REQUESTED", self.look())
        world.tick()
        self.assertIn("ROLLBACK_IN_PROGRESS", self.look())
        self.answer("StopServiceDeployment", serviceDeploymentArn=arn)
        world.until(lambda: world.state() == "COMPLETED", healthy=True)
        self.look()
        self.refused("StopServiceDeployment", serviceDeploymentArn=arn)

    def test_pages_of_service_deployments(self):
        for _ in range(20):
            self.world.update(forceNewDeployment=True)
        first = self.answer("ListServiceDeployments", service="demo")
        self.assertEqual(len(first["serviceDeployments"]), 20)
        rest = self.answer("ListServiceDeployments", service="demo", nextToken=first["nextToken"])
        self.assertEqual((len(rest["serviceDeployments"]), "nextToken" in rest), (2, False))

    def test_the_life_of_a_service(self):
        world = self.world
        self.answer("CreateService", serviceName="second", desiredCount=1, launchType="FARGATE",
                    taskDefinition=self.first)
        self.answer("StopTask", task=world.running()[0]["taskArn"], reason="by hand")
        self.answer("UpdateService", service="demo", desiredCount=1)
        self.answer("DeleteService", service="second", force=True)
        self.look()

    def test_definitions(self):
        container = {
            "name": "demo", "image": "demo", "essential": True, "user": "1:1", "stopTimeout": 20,
            "readonlyRootFilesystem": True, "ulimits": [{"name": "nofile", "softLimit": 1, "hardLimit": 2}],
            "linuxParameters": {"capabilities": {"drop": ["ALL"]}, "initProcessEnabled": True},
            "secrets": [{"name": "KEY", "valueFrom": "arn:aws:secretsmanager:us-east-1:0:secret:demo:key::"}],
            "healthCheck": {"command": ["CMD", "/demo"], "interval": 5, "timeout": 2, "retries": 2},
        }
        arn = self.answer("RegisterTaskDefinition", family="shapes", cpu="256", memory="512",
                          networkMode="awsvpc", requiresCompatibilities=["FARGATE"],
                          containerDefinitions=[container])["taskDefinition"]["taskDefinitionArn"]
        self.answer("DescribeTaskDefinition", taskDefinition=arn, include=["TAGS"])
        self.answer("DeregisterTaskDefinition", taskDefinition=arn)

    def test_refusals(self):
        privileged = {"name": "demo", "image": "demo", "privileged": True}
        self.refused("RegisterTaskDefinition", family="demo", containerDefinitions=[privileged])
        self.refused("UpdateService", cluster="demo", service="demo", taskDefinition="demo:999")
        self.refused("UpdateService", cluster="demo", service="other")
        self.refused("ListServiceDeployments", cluster="demo", service="other")
        self.refused("StopServiceDeployment", serviceDeploymentArn="arn:other")
        self.refused("StopServiceDeployment", serviceDeploymentArn="arn:other", stopType="ABORT")

    def test_target_health_in_each_state(self):
        addresses = iter(range(1, 9))
        for state, reason, text in [
            ("initial", "Elb.RegistrationInProgress", "Target registration is in progress"),
            ("initial", "Elb.InitialHealthChecking", "Initial health checks in progress"),
            ("healthy", "", ""),
            ("unhealthy", "Target.Timeout", "Request timed out"),
            ("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress"),
        ]:
            address = f"10.1.0.{next(addresses)}"
            targets.register(GROUP, address, 80)
            target = targets._groups[GROUP][address, 80]
            target.state, target.reason, target.description = state, reason, text
            with mock.patch.object(target, "state", state):
                self.assertIn(f"<State>{state}</State>", self.health())
        asked = {"Targets.member.1.Id": ["10.9.9.9"], "Targets.member.1.Port": ["80"]}
        self.assertIn("<Reason>Target.NotRegistered</Reason>", self.health(**asked))


WITH_CLUSTER = ("DescribeServices", "DescribeTasks", "ListTasks", "ListServiceDeployments", "CreateService",
                "UpdateService", "DeleteService", "StopTask")
