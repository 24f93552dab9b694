"""The door: who is let in, and what nobody reaches."""

import asyncio
import base64
import unittest
from unittest import mock

from botocore.awsrequest import HeadersDict
from botocore.parsers import create_parser

from overlay import door

KEY, SECRET = "AKIATESTTESTTESTTEST", "secret"
SIGNED = f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/ecs/aws4_request, SignedHeaders=host"


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Door(unittest.TestCase):
    def setUp(self):
        for name, value in [("KEY_ID", KEY), ("SECRET", SECRET), ("PORT", "4577")]:
            patch = mock.patch.object(door, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def ask(self, path="/", method="POST", **headers):
        """The status, and whether the request reached the emulator itself."""
        reached, sent = [], []

        async def application(*_):
            reached.append(path)

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        known = {"host": "127.0.0.1:4577"} | {name.replace("_", "-"): it for name, it in headers.items()}
        path, _, query = path.partition("?")
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(),
                 "headers": [(name.encode(), it.encode()) for name, it in known.items()]}
        asyncio.run(door.entrance(application)(scope, receive, send))
        status = sent[0]["status"] if sent else 200
        return (status, bool(reached))

    def test_the_key_is_asked_for(self):
        self.assertEqual(self.ask(authorization=SIGNED), (200, True))
        self.assertEqual(self.ask(f"/bucket?X-Amz-Credential={KEY}/20260101/us-east-1/s3/aws4_request"), (200, True))
        for other in ("", SIGNED.replace(KEY, "test"), SIGNED.replace(KEY, "000000000000")):
            self.assertEqual(self.ask(authorization=other), (403, False), other)
        with mock.patch.object(door, "KEY_ID", ""):
            self.assertEqual(self.ask(authorization=""), (403, False))

    def test_no_web_page_and_no_other_name(self):
        for headers, status in [
            ({"origin": "http://example.com"}, 403),
            ({"origin": "null"}, 403),
            ({"sec_fetch_site": "cross-site"}, 403),
            ({"sec_fetch_site": "same-site"}, 403),
            ({"host": "example.com:4577"}, 421),
            ({"host": "127.0.0.1:80"}, 421),
            ({"host": "127.0.0.1"}, 421),
            ({"host": ""}, 421),
        ]:
            self.assertEqual(self.ask(authorization=SIGNED, **headers), (status, False), headers)
        for host in ("localhost:4577", "host.docker.internal:4577"):
            self.assertEqual(self.ask(authorization=SIGNED, host=host), (200, True))

    def test_what_is_addressed_to_a_balancer_reaches_nothing_else(self):
        for host, path in [
            ("x.alb.localhost", "/_ministack/reset"),
            ("x.alb.localhost:4577", "/"),
            ("x.us-east-1.elb.amazonaws.com", "/v2/"),
            ("127.0.0.1:4577", "/_alb/none/_ministack/reset"),
        ]:
            self.assertEqual(self.ask(path, host=host), (404, False), (host, path))

    def test_nothing_hands_out_keys_or_resets(self):
        for path in ("/_ministack/reset", "/_ministack/config", "/v2/credentials/1", "/latest/meta-data/",
                     "/_aws/lambda-url/1/", "/_localstack/health"):
            self.assertEqual(self.ask(path, authorization=SIGNED), (403, False), path)

    def test_sdks_read_a_refusal_in_each_protocol(self):
        form = {"content-type": "application/x-www-form-urlencoded"}
        for protocol, headers in [
            ("json", {"x-amz-target": "AmazonEC2ContainerServiceV20141113.ListClusters"}),
            ("query", form | {"authorization": SIGNED}),
            ("rest-json", {"authorization": SIGNED.replace("/ecs/", "/lambda/")}),
            ("rest-xml", {"authorization": SIGNED.replace("/ecs/", "/s3/")}),
        ]:
            status, answer, body = door.refuse(403, "InvalidClientTokenId", door.INVALID, headers)
            response = {"status_code": status, "body": body, "headers": HeadersDict(answer)}
            error = create_parser(protocol).parse(response, None)["Error"]
            self.assertEqual(error["Code"], "InvalidClientTokenId", protocol)
            self.assertIn(door.INVALID, error["Message"], protocol)

    def test_health_and_metadata_are_open(self):
        self.assertEqual(self.ask("/_ministack/health", "GET"), (200, True))
        self.assertEqual(self.ask("/_ministack/health", "POST"), (403, False))
        self.assertEqual(self.ask("/v4/token/task", "GET"), (200, True))

    def test_the_registry_asks_for_its_token(self):
        self.assertEqual(self.ask("/v2/", "GET"), (401, False))
        self.assertEqual(self.ask("/v2/demo/manifests/1", "GET", authorization=SIGNED), (401, False))
        self.assertEqual(self.ask("/v2/", "GET", authorization=basic("AWS", "wrong")), (401, False))
        self.assertEqual(self.ask("/v2/", "GET", authorization=basic("AWS", SECRET)), (200, True))
