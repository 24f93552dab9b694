"""What Docker says about a task, and what is told where it says nothing."""

import unittest
from unittest import mock

from docker.errors import DockerException

from overlay import scheduler, tasks

from .world import World


class Engine(unittest.TestCase):
    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.close)

    def test_an_engine_that_does_not_answer_is_told_about_once(self):
        failures = [DockerException("gone"), ConnectionError("gone"), None, None]

        def tick():
            failure = failures.pop(0)
            if not failures:
                scheduler.ENDING.set()
            if failure:
                raise failure

        self.addCleanup(scheduler.ENDING.clear)
        with mock.patch.object(scheduler, "tick", tick), mock.patch.object(scheduler, "TICK", 0), \
                self.assertLogs("ecs") as logs:
            scheduler.loop()
        self.assertEqual(len(logs.records), 2, logs.output)
        self.assertIn("Docker does not answer", logs.output[0])
        told = [it for it in self.world.messages() if "Docker" in it]
        self.assertEqual(len(told), 2, told)  # newest first
        self.assertIn("Docker answers again", told[0])
        self.assertIn("Docker does not answer", told[1])

    def test_without_an_engine_nothing_is_observed(self):
        with self.assertRaises(DockerException):
            tasks.observe(None)

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
