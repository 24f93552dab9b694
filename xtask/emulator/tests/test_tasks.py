"""What Docker says about a task, and what is told where it says nothing."""

import unittest
from unittest import mock

from docker.errors import DockerException

from overlay import scheduler, tasks

from .world import Docker, World


class Engine(unittest.TestCase):
    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.close)

    def test_an_engine_that_does_not_answer_is_told_about_once(self):
        failures = [DockerException("gone"), ConnectionError("gone"), None, None]

        looks = []

        def tick(was_away):
            looks.append(was_away)
            failure = failures.pop(0)
            if not failures:
                scheduler.ENDING.set()
            if failure:
                raise failure

        self.addCleanup(scheduler.ENDING.clear)
        with mock.patch.object(scheduler, "tick", tick), mock.patch.object(scheduler, "TICK", 0), \
                self.assertLogs("ecs") as logs:
            scheduler.loop()
        self.assertEqual(looks, [False, True, True, False])
        self.assertEqual(len(logs.records), 2, logs.output)
        self.assertIn("Docker does not answer", logs.output[0])
        told = [it for it in self.world.messages() if "Docker" in it]
        self.assertEqual(len(told), 2, told)  # newest first
        self.assertIn("Docker answers again", told[0])
        self.assertIn("Docker does not answer", told[1])

    def test_without_an_engine_nothing_is_observed(self):
        with self.assertRaises(DockerException):
            tasks.observe(None)

    def test_containers_that_ended_with_the_engine_are_replaced_and_count_as_no_failure(self):
        world = self.world
        world.update(taskDefinition=world.register())
        world.tick()
        new = world.service["deployments"][0]["taskDefinition"]
        lost = world.running(new)
        for task in lost:
            task["_docker_ids"] = ["1"]
            tasks.observe_task(Docker(ExitCode=137), task, {}, was_away=True)
            task["_docker_ids"] = []
        world.until(lambda: all(it["lastStatus"] == "STOPPED" for it in lost))
        self.assertEqual([it["stopCode"] for it in lost], ["TerminationNotice"] * 2)
        self.assertEqual(world.service["deployments"][0]["failedTasks"], 0)
        world.until(lambda: world.state() == "COMPLETED", healthy=True)
        self.assertEqual(world.service["taskDefinition"], new)

    def test_a_health_check_whose_program_is_not_in_the_image_is_told_about(self):
        world = self.world
        said = 'OCI runtime exec failed: exec: "/nope": stat /nope: no such file or directory: unknown'
        task = world.running()[0]
        task["_docker_ids"] = ["1"]
        client = mock.Mock()
        client.api.inspect_container.return_value = {"State": {"Health": {"Log": [{"Output": said + "\n"}]}}}
        for _ in range(2):
            rows = {"1": {"State": "running", "Status": "Up 9 seconds (unhealthy)"}}
            tasks.observe_task(client, task, rows)
        client.api.inspect_container.assert_called_once()

        def told():
            for other in world.running():
                if other is not task:
                    world.set_health(other)
            return any(said in it for it in world.messages())

        world.until(told)
        self.assertNotIn("_not_run", str(world.call("DescribeTasks", tasks=[task["taskArn"]])))
