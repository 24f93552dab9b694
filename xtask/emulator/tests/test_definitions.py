"""Definitions: what Docker is asked for, and what is refused."""

import json
import unittest
from unittest import mock

from docker.errors import APIError, DockerException
from ministack.services import ecs
from requests import HTTPError

from overlay import definitions, unsure

from .world import World

FIRST_PORT = "net.ipv4.ip_unprivileged_port_start"


def arguments(container=None, **definition):
    written = {"name": "demo", "image": "demo"} | (container or {})
    return ecs._build_run_kwargs(
        written, definition, {}, {}, None, False, "1" * 32, "arn:task/1", None, "arn:cluster/demo")


class Containers(unittest.TestCase):
    def test_everything_that_is_written_reaches_docker(self):
        found = arguments({
            "user": "65532:65532",
            "readonlyRootFilesystem": True,
            "entryPoint": ["/demo"],
            "command": ["serve"],
            "workingDirectory": "/data",
            "dockerLabels": {"team": "one"},
            "systemControls": [{"namespace": "net.core.somaxconn", "value": "1024"}],
            "ulimits": [{"name": "nofile", "softLimit": 10, "hardLimit": 20}],
            "linuxParameters": {
                "capabilities": {"drop": ["ALL"], "add": ["SYS_PTRACE"]},
                "initProcessEnabled": True,
                "tmpfs": [{"containerPath": "/tmp", "size": 8, "mountOptions": ["noexec"]}],
            },
            "healthCheck": {"command": ["CMD", "/demo"], "interval": 5, "startPeriod": 1},
        }, cpu="256", memory="512", networkMode="awsvpc")
        expected = {
            "user": "65532:65532", "read_only": True, "entrypoint": ["/demo"], "command": ["serve"],
            "working_dir": "/data", "cap_drop": ["ALL"], "cap_add": ["SYS_PTRACE"], "init": True,
            "tmpfs": {"/tmp": "size=8m,noexec"}, "mem_limit": 512 << 20, "memswap_limit": 512 << 20,
            "nano_cpus": 250_000_000,
            "sysctls": {FIRST_PORT: unsure.choice("first free port"), "net.core.somaxconn": "1024"},
        }
        self.assertEqual({name: found[name] for name in expected}, expected)
        self.assertEqual(found["labels"]["team"], "one")
        check = found["healthcheck"]
        self.assertEqual((check["test"], check["interval"], check["retries"]), (["CMD", "/demo"], 5 * 10**9, 3))

    def test_a_definition_says_from_which_port_on_users_may_listen(self):
        found = arguments({"systemControls": [{"namespace": FIRST_PORT, "value": "80"}]})
        self.assertEqual(found["sysctls"], {FIRST_PORT: "80"})

    def test_containers_of_one_task_share_one_network(self):
        task = {"_docker_ids": ["first"]}
        with mock.patch.object(ecs, "_tasks", {"arn:task/1": task}):
            found = arguments(networkMode="awsvpc")
        self.assertEqual((found["network_mode"], "network" in found), ("container:first", False))

    def test_who_waits_for_one_that_failed_does_not_start(self):
        client = mock.Mock()
        client.api.containers.return_value = [{"Id": "1"}]
        waits = [("START", 1, True), ("COMPLETE", 1, True), ("SUCCESS", 0, True), ("SUCCESS", 1, False),
                 ("HEALTHY", 0, False)]
        for condition, code, is_met in waits:
            state = {"Status": "exited", "ExitCode": code}
            client.api.inspect_container.return_value = {"State": state}
            dependency = {"containerName": "first", "condition": condition}
            with self.subTest(dependency=dependency), mock.patch.object(ecs, "_task_is_active", return_value=True):
                if is_met:
                    definitions.wait_for(client, "arn:task/1", dependency)
                    continue
                with self.assertRaisesRegex(RuntimeError, "first"):
                    definitions.wait_for(client, "arn:task/1", dependency)

    def test_the_error_of_a_start_is_the_first_one(self):
        client = mock.Mock()
        client.containers.run.side_effect = [RuntimeError("no such user"), RuntimeError("name in use")]
        asked = {"labels": {"com.amazonaws.ecs.task-arn": "arn:task/1"}, "platform": "linux/amd64"}
        with self.assertRaisesRegex(RuntimeError, "no such user"):
            definitions.run(client, {"name": "demo", "image": "demo"}, asked)

    def test_a_start_that_docker_did_not_answer_is_tried_again_once_it_does(self):
        client = mock.Mock()
        client.containers.run.side_effect = [ConnectionError("gone"), "started"]
        client.ping.side_effect = [ConnectionError("gone"), DockerException("gone"), True]
        client.api.containers.return_value = [{"Id": "1"}]
        asked = {"labels": {"com.amazonaws.ecs.task-arn": "arn:task/1"}}
        with mock.patch.object(ecs, "_task_is_active", return_value=True), \
                mock.patch.object(definitions.time, "sleep"):
            started = definitions.run(client, {"name": "demo", "image": "demo"}, asked)
        self.assertEqual(started, "started")
        client.api.remove_container.assert_called_once_with("1", force=True, v=True)

    def test_a_start_that_docker_refused_is_not_tried_again(self):
        client = mock.Mock()
        refused = APIError("no such user")
        refused.__cause__ = HTTPError("400")  # as docker-py raises it
        client.containers.run.side_effect = [refused, "started"]
        asked = {"labels": {"com.amazonaws.ecs.task-arn": "arn:task/1"}}
        with mock.patch.object(ecs, "_task_is_active", return_value=True), self.assertRaises(APIError):
            definitions.run(client, {"name": "demo", "image": "demo"}, asked)

    def test_the_health_check_of_the_image_is_ignored(self):
        self.assertEqual(arguments()["healthcheck"], {"test": ["NONE"]})

    def test_containers_start_after_those_that_they_depend_on(self):
        def depends(name, *on):
            return {"name": name, "dependsOn": [{"containerName": it, "condition": "START"} for it in on]}

        written = [depends("a", "c"), depends("b", "a"), depends("c")]
        order = sorted(range(3), key=lambda at: definitions.depth(written, at))
        self.assertEqual([written[at]["name"] for at in order], ["c", "a", "b"])


class NotHonored(unittest.TestCase):
    def test_an_event_names_what_has_no_effect(self):
        world = World()
        self.addCleanup(world.close)
        world.update(taskDefinition=world.register(restartPolicy={"enabled": True}))
        world.tick()
        self.assertIn("(service demo) runs a definition of which the local AWS does not honor "
                      "restartPolicy (restarts of one container).", world.messages())


class Refusals(unittest.TestCase):
    def test_what_could_harm_the_machine(self):
        container = {"name": "demo", "image": "demo"}
        for harm in [
            {"networkMode": "host"},
            {"pidMode": "host"},
            {"ipcMode": "host"},
            {"volumes": [{"name": "root", "host": {"sourcePath": "/"}}]},
            {"containerDefinitions": [container | {"privileged": True}]},
            {"containerDefinitions": [container | {"linuxParameters": {"devices": [{"hostPath": "/dev/kvm"}]}}]},
            {"containerDefinitions": [container | {"linuxParameters": {"capabilities": {"add": ["SYS_ADMIN"]}}}]},
        ]:
            with self.subTest(harm=harm):
                data = {"family": "harm", "containerDefinitions": [container]} | harm
                status, _, body = ecs._dispatch_action("RegisterTaskDefinition", data)
                answer = json.loads(body)
                self.assertEqual((status, answer["__type"]), (400, "ClientException"))
                self.assertRegex(answer["message"], "not supported on Fargate. Remedy: remove it.$")


class Secrets(unittest.TestCase):
    ARN = "arn:aws:secretsmanager:us-east-1:000000000000:secret:demo-AbCdEf"

    def resolve(self, reference, value='{"key": "secret"}'):
        with mock.patch.object(definitions.secretsmanager, "resolve_secret_string", return_value=value) as asked:
            return definitions.secret(reference), asked.call_args.args

    def test_key_stage_and_version(self):
        for suffix, value, asked in [
            ("", '{"key": "secret"}', ("AWSCURRENT", None)),
            (":key::", "secret", ("AWSCURRENT", None)),
            (":key:AWSPREVIOUS:", "secret", ("AWSPREVIOUS", None)),
            (":key::v1", "secret", ("AWSCURRENT", "v1")),
        ]:
            self.assertEqual(self.resolve(self.ARN + suffix), (value, (self.ARN, *asked)))

    def test_faults(self):
        for suffix, value, words in [
            (":key", "{}", "unexpected ARN format"),
            (":other::", "{}", "did not contain json key other"),
            ("", None, "ResourceNotFoundException"),
        ]:
            with self.assertRaisesRegex(ecs._SecretResolutionError, words):
                self.resolve(self.ARN + suffix, value)
