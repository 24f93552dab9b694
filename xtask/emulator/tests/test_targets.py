"""Targets: when they are healthy, and where a request goes."""

import http.server
import threading
import unittest

from overlay import targets
from overlay.targets import Target

SICK = ("Target.FailedHealthChecks", "Health checks failed")


class Judging(unittest.TestCase):
    def judge(self, *outcomes, state="initial"):
        target = Target("10.0.0.1", 80, 0, state)
        for outcome in outcomes:
            targets.judge(target, outcome, 3, 2)
        return target.state

    def test_thresholds(self):
        for outcomes, begin, state in [
            ([None], "initial", "healthy"),
            ([SICK], "initial", "initial"),
            ([SICK, SICK], "initial", "unhealthy"),
            ([SICK, None, SICK], "healthy", "healthy"),
            ([SICK, SICK], "healthy", "unhealthy"),
            ([None, None], "unhealthy", "unhealthy"),
            ([None, SICK, None, None], "unhealthy", "unhealthy"),
            ([None, None, None], "unhealthy", "healthy"),
        ]:
            with self.subTest(outcomes=outcomes, begin=begin):
                self.assertEqual(self.judge(*outcomes, state=begin), state)

    def test_matcher(self):
        for status, pattern, matched in [
            (200, "200", True), (204, "200", False), (204, "200-299", True), (302, "200,302", True),
            (503, "200-299,302", False),
        ]:
            self.assertEqual(targets.matches(status, pattern), matched, (status, pattern))


class Choice(unittest.TestCase):
    def chosen(self, *states):
        known = [Target(state, 80, 0, state) for state in states]
        return {found.state if (found := targets.choose(known)) else None for _ in range(8)}

    def test_healthy_ones_else_all_and_none_that_drains(self):
        for states, chosen in [
            (["healthy", "unhealthy", "initial", "draining"], {"healthy"}),
            (["unhealthy", "draining"], {"unhealthy"}),
            (["draining"], {None}),
            ([], {None}),
        ]:
            self.assertEqual(self.chosen(*states), chosen, states)

    def test_where_none_is_healthy_requests_go_to_unhealthy_ones(self):
        chosen = self.chosen("initial", "unhealthy", "draining")
        self.assertTrue({"unhealthy"} <= chosen <= {"initial", "unhealthy"}, chosen)

    def test_an_address_that_is_given_again_is_a_new_target(self):
        targets._groups.clear()
        targets.alb._tg_attrs["group"] = [{"Key": "deregistration_delay.timeout_seconds", "Value": "7"}]
        targets.register("group", "10.0.0.1", 80)
        targets.find("group", "10.0.0.1", 80).show("healthy")
        self.assertEqual(targets.drain([("group", "10.0.0.1", 80)]), 7)
        self.assertEqual(targets.state("group", "10.0.0.1", 80), "draining")
        targets.register("group", "10.0.0.1", 80)
        self.assertEqual(targets.state("group", "10.0.0.1", 80), "initial")


class Probing(unittest.TestCase):
    def probe(self, status, path="/health"):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status if self.path == path else 404)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return self.ask(server.server_port)

    def ask(self, port, path="/health"):
        settings = {"HealthCheckPort": "traffic-port", "HealthCheckTimeoutSeconds": 2,
                    "HealthCheckPath": path, "Matcher": {"HttpCode": "200"}}
        return targets.probe(settings, Target("127.0.0.1", port, 0))

    def test_codes_of_aws(self):
        self.assertIsNone(self.probe(200))
        mismatch = ("Target.ResponseCodeMismatch", "Health checks failed with these codes: [404]")
        self.assertEqual(self.probe(200, "/other"), mismatch)
        self.assertEqual(self.ask(1)[0], "Target.FailedHealthChecks")
