"""Rollouts, the circuit breaker, and tasks that get sick."""

import unittest

from overlay import scheduler
from ministack.services import ecs

from .world import World


class Rollouts(unittest.TestCase):
    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.close)
        self.first = self.world.service["taskDefinition"]

    def start(self, **container):
        second = self.world.register(**container)
        self.world.update(taskDefinition=second)
        return second

    def fails(self, break_one):
        """Ticks until the deployment has failed and the service is back."""
        world = self.world
        second = self.start()
        seen = set()

        def back():
            seen.add(world.state())
            for task in world.running(second):
                if "_targets" in task:
                    break_one(task)
            for task in world.running(self.first):
                world.set_health(task)
            self.assertEqual(len(world.running(self.first)), 2, "those of before run on")
            return world.service["taskDefinition"] == self.first and world.state() == "COMPLETED"

        world.until(back)
        self.assertNotIn("FAILED", seen, "the one that goes back is the primary one")

    def test_old_tasks_stay_until_new_ones_are_healthy(self):
        world = self.world
        second = self.start()
        for _ in range(8):
            world.tick()
        self.assertEqual(len(world.running(self.first)), 2)
        self.assertEqual(len(world.running(second)), 2)
        self.assertEqual(world.state(), "IN_PROGRESS")
        one = world.running(second)[0]
        world.set_health(one)
        world.tick()
        self.assertEqual(len(world.running(self.first)), 1, "one may go for one that is healthy")
        world.until(lambda: world.state() == "COMPLETED", healthy=True)
        self.assertEqual({it["taskDefinitionArn"] for it in world.alive()}, {second})
        self.assertEqual(len(world.described()["deployments"]), 1)

    def test_a_deployment_in_progress_says_so(self):
        self.start()
        primary = self.world.described()["deployments"][0]
        self.assertEqual(primary["rolloutStateReason"], f"ECS deployment {primary['id']} in progress.")

    def test_healthy_tasks_of_a_stopped_deployment_serve_until_others_take_their_place(self):
        world = self.world
        second = self.start()
        world.until(lambda: not world.running(self.first), healthy=True)
        world.call("StopServiceDeployment", serviceDeploymentArn=world.deployment()["serviceDeploymentArn"])
        for _ in range(4):
            world.tick()
        self.assertEqual(world.deployment()["status"], "ROLLBACK_IN_PROGRESS")
        self.assertEqual((len(world.running(self.first)), len(world.running(second))), (2, 2))
        world.until(lambda: world.state() == "COMPLETED", healthy=True)
        self.assertEqual({it["taskDefinitionArn"] for it in world.alive()}, {self.first})

    def test_a_target_that_is_not_healthy_holds_the_rollout(self):
        world = self.world
        second = self.start()
        world.tick()
        for _ in range(8):
            for task in world.running(second):
                world.set_health(task, "HEALTHY", "initial")
            world.tick()
        self.assertEqual(world.state(), "IN_PROGRESS")
        self.assertEqual(len(world.running(self.first)), 2)

    def test_minimum_and_maximum_percent(self):
        for most, least, new, old in [(200, 100, 2, 2), (150, 100, 1, 2), (100, 50, 1, 1), (100, 0, 2, 0)]:
            with self.subTest(most=most, least=least):
                world = World(maximumPercent=most, minimumHealthyPercent=least)
                first = world.service["taskDefinition"]
                second = world.register()
                world.update(taskDefinition=second)
                for _ in range(20):
                    for task in world.running(first):
                        world.set_health(task)
                    world.tick()
                self.assertEqual((len(world.running(second)), len(world.running(first))), (new, old))
                world.close()

    def test_crashing_tasks_end_the_deployment(self):
        self.fails(self.world.crash)
        world = self.world
        stopped = [it for it in ecs._tasks.values() if it.get("stopCode") == "EssentialContainerExited"]
        self.assertGreaterEqual(len(stopped), 3)
        shown = world.deployment()
        self.assertEqual(shown["status"], "ROLLBACK_SUCCESSFUL")
        self.assertEqual(shown["deploymentCircuitBreaker"]["status"], "TRIGGERED")
        self.assertEqual(shown["deploymentCircuitBreaker"]["threshold"], 3)
        self.assertIn("circuit breaker", shown["rollback"]["reason"])

    def test_failed_health_checks_of_the_target_group_end_the_deployment(self):
        self.fails(lambda task: self.world.set_health(task, "HEALTHY", "unhealthy"))
        told = [it for it in self.world.messages() if "is unhealthy in (target-group" in it]
        self.assertTrue(told)
        sick = [it for it in ecs._tasks.values() if "ELB health checks" in (it.get("stoppedReason") or "")]
        self.assertEqual({it["stopCode"] for it in sick}, {"ServiceSchedulerInitiated"})

    def test_failed_health_checks_of_the_container_end_the_deployment(self):
        self.fails(lambda task: self.world.set_health(task, "UNHEALTHY", "healthy"))
        sick = [it for it in ecs._tasks.values() if it.get("stoppedReason") == "Task failed container health checks"]
        self.assertTrue(sick)

    def test_failures_of_before_do_not_count_once_a_task_was_healthy(self):
        world = self.world
        second = self.start()
        world.until(lambda: len(world.running(second)) == 2)
        world.crash(world.running(second)[0])
        world.until(lambda: ecs._primary_deployment(world.service)["failedTasks"] == 1)
        world.set_health(world.running(second)[0])
        world.tick()
        self.assertEqual(ecs._primary_deployment(world.service)["failedTasks"], 0)

    def test_only_tasks_that_never_ran_are_told_to_be_throttled(self):
        for end, is_told in [(World.crash, False), (World.fail_start, True)]:
            world = World(desired=1, breaker=False)
            self.addCleanup(world.close)
            second = world.register()
            world.update(taskDefinition=second)
            for _ in range(40):
                for task in world.running(second):
                    end(world, task)
                world.tick()
            told = [it for it in world.messages() if scheduler.IMPAIRED in it]
            self.assertEqual(bool(told), is_told)
            started = [it for it in ecs._tasks.values() if it["taskDefinitionArn"] == second]
            self.assertLess(len(started), 10, "and both pause")

    def test_a_first_deployment_that_fails_has_no_way_back(self):
        world = World(desired=0)
        self.addCleanup(world.close)
        world.fail_first_deployment()
        self.assertEqual(world.deployment()["status"], "ROLLBACK_FAILED")
        for _ in range(20):
            world.tick()
        self.assertEqual((world.alive(), world.described()["desiredCount"]), ([], 2))

    def test_a_way_back_that_was_deregistered(self):
        world = self.world
        second = self.start()
        world.call("DeregisterTaskDefinition", taskDefinition=self.first)

        def ended():
            for task in world.running(second):
                if "_targets" in task:
                    world.crash(task)
            back = world.service["taskDefinition"] == self.first
            return world.state() == ("COMPLETED" if back else "FAILED")

        world.until(ended, healthy=True)
        self.assertIn(world.deployment()["status"], ("ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED"))
        self.assertEqual(len(world.running(self.first)), 2, "those of before run on")

    def test_a_deployment_without_its_tasks_is_not_completed(self):
        world = World(desired=0)
        self.addCleanup(world.close)
        world.update(desiredCount=2, taskDefinition=world.register())
        ecs._primary_deployment(world.service)["_not_before"] = world.clock + 60
        world.tick()
        self.assertEqual((world.alive(), world.state()), ([], "IN_PROGRESS"))

    def test_a_newer_update_replaces_one_in_progress(self):
        world = self.world
        second = self.start()
        for _ in range(4):
            world.tick()
        third = self.start()
        world.until(lambda: world.state() == "COMPLETED", healthy=True)
        self.assertEqual({it["taskDefinitionArn"] for it in world.alive()}, {third})
        self.assertFalse(world.running(second))
        statuses = [it["status"] for it in world.call("ListServiceDeployments", service="demo")["serviceDeployments"]]
        self.assertEqual(statuses[:2], ["SUCCESSFUL", "STOPPED"])

    def test_a_deployment_can_be_stopped(self):
        world = self.world
        second = self.start()
        world.tick()
        arn = world.described()["currentServiceDeployment"]
        world.call("StopServiceDeployment", serviceDeploymentArn=arn, stopType="ROLLBACK")
        self.assertEqual(world.deployment()["status"], "ROLLBACK_REQUESTED")
        world.tick()
        self.assertEqual(world.deployment()["status"], "ROLLBACK_IN_PROGRESS")
        world.until(lambda: world.state() == "COMPLETED", healthy=True)
        self.assertEqual(world.deployment()["status"], "ROLLBACK_SUCCESSFUL")
        self.assertEqual(world.service["taskDefinition"], self.first)
        self.assertFalse(world.running(second))

    def test_a_definition_that_is_not_there_or_inactive_is_refused(self):
        world = self.world
        second = world.register()
        world.call("DeregisterTaskDefinition", taskDefinition=second)
        for definition in (second, second.replace("demo:", "demo:9")):
            status, _, body = ecs._dispatch_action(
                "UpdateService", {"cluster": "demo", "service": "demo", "taskDefinition": definition})
            self.assertEqual((status, ecs.json.loads(body)["__type"]), (400, "ClientException"))
        self.assertEqual(world.service["taskDefinition"], self.first)

    def test_stop_task_is_replaced_and_counts_as_no_failure(self):
        world = self.world
        one = world.running()[0]
        world.call("StopTask", task=one["taskArn"], reason="by hand")
        world.until(lambda: len(world.running()) == 2 and len(world.alive()) == 2, healthy=True)
        self.assertEqual((one["stopCode"], one["stoppedReason"]), ("UserInitiated", "by hand"))
        self.assertEqual(world.state(), "COMPLETED")

    def test_one_sick_task_is_replaced_before_it_is_stopped(self):
        world = self.world
        sick = world.running()[0]
        world.set_health(sick, "HEALTHY", "unhealthy")
        world.tick()
        self.assertIn(sick, world.running())
        self.assertEqual(len(world.running()), 3)
        new = world.running()[-1]
        world.tick()
        world.set_health(new)
        world.tick()
        self.assertNotIn(sick, world.running())
        self.assertEqual(sick["stopCode"], "ServiceSchedulerInitiated")

    def test_the_grace_period_is_waited_for(self):
        world = World(grace=10)
        self.addCleanup(world.close)
        second = world.register()
        world.update(taskDefinition=second)
        world.until(lambda: all("_targets" in it for it in world.running(second)) and world.running(second))
        for task in world.running(second):
            world.set_health(task, "UNHEALTHY", "unhealthy")
        world.tick(9)
        self.assertEqual(len(world.running(second)), 2)
        world.tick(2)
        self.assertEqual(len(world.running(second)), 0)

    def test_a_service_of_none_has_no_tasks(self):
        world = self.world
        world.update(desiredCount=0)
        world.until(lambda: not world.alive())
        self.assertEqual(world.described()["runningCount"], 0)

    def test_a_deleted_service_drains_first(self):
        world = self.world
        world.call("DeleteService", service="demo", force=True)
        world.until(lambda: world.service["status"] == "INACTIVE")
        self.assertFalse(world.alive())

    def test_after_a_restart_each_deployment_is_brought_back(self):
        world = self.world
        second = self.start()
        for _ in range(4):
            world.tick()
        for task in world.alive():
            task["lastStatus"] = "STOPPED"
        for _key, service in scheduler.everything():
            scheduler.remember(service)
        for _ in range(4):
            world.tick()
        self.assertEqual((len(world.running(self.first)), len(world.running(second))), (2, 2))
        world.until(lambda: world.state() == "COMPLETED", healthy=True)
        self.assertEqual({it["taskDefinitionArn"] for it in world.alive()}, {second})
