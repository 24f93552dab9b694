"""Who may call: the key of this local AWS, nothing from a web page, no other host's name.

The key is made with the state and is in a file that only its owner can read. What a task or a
function needs of it, it gets from the emulator when it starts.
"""

import base64
import hmac
import json
import os
from pathlib import Path
from urllib.parse import parse_qs

from ministack import app as emulator
from ministack.core import lambda_runtime
from ministack.core.responses import get_region, json_response
from ministack.core.router import extract_access_key_id
from ministack.core.sigv4 import decode_header_value
from ministack.services import ecr, ecs, lambda_svc

from .pins import rely, replace

rely(emulator, "_handle_alb_request", "_is_potential_alb_request", "_read_request_body")
rely(emulator, "_send_if_handled", "_send_response", "_with_date_header")

_KEY = json.loads(Path(os.environ["ACCESS_KEY_FILE"]).read_text()) if "ACCESS_KEY_FILE" in os.environ else {}
KEY_ID = _KEY.get("access_key_id", "")
SECRET = _KEY.get("secret_access_key", "")
PORT = os.environ.get("GATEWAY_PORT", "4566")
HOSTS = {"127.0.0.1", "localhost", "host.docker.internal", *os.environ.get("BOUND_ADDRESSES", "").split()}
BALANCERS = (".alb.localhost", ".elb.amazonaws.com")
# xtask asks who listens on the port before it knows the key.
OPEN = ("/_ministack/health", "/_ministack/ready")
# Parts of the emulator that change or give away everything, or run code, without a signature.
CLOSED = ("/_ministack/", "/_localstack/", "/_aws/", "/v2/credentials", "/latest/")
# https://github.com/aws-azure-login/aws-azure-login/issues/251
INVALID = "The security token included in the request is invalid."


def entrance(application):
    """The application behind the door."""

    async def door(scope, receive, send):
        if scope["type"] == "lifespan":
            return await application(scope, receive, send)
        if scope["type"] != "http":
            await receive()
            return await send({"type": "websocket.close", "code": 1008})
        headers = {}
        for name, value in scope["headers"]:
            name, value = name.decode("latin-1").lower(), decode_header_value(value)
            separator = "; " if name == "cookie" else ", "
            headers[name] = separator.join([headers[name], value]) if name in headers else value
        host, path = headers.get("host", ""), scope["path"]
        refusal = foreign(headers)
        if not refusal and emulator._is_potential_alb_request(host, path):
            return await balance(scope, receive, emulator._with_date_header(send), headers)
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        refusal = refusal or unknown(scope["method"], path, headers, query)
        if refusal:
            return await emulator._send_response(send, *refusal)
        await application(scope, receive, send)

    return door


def foreign(headers):
    """Requests of a web page, which a browser sends with its own headers, or by a name that some
    stranger's DNS gives to this machine."""
    if "origin" in headers or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return refuse(403, "AccessDenied", "The local AWS serves no web pages.", headers)
    name, _, port = headers.get("host", "").rpartition(":")
    if name.endswith(BALANCERS) or headers.get("host", "").endswith(BALANCERS):
        return None
    if name not in HOSTS or port != PORT:
        return refuse(421, "MisdirectedRequest", "The local AWS is not that host.", headers)
    return None


def unknown(method, path, headers, query):
    if path in OPEN and method in ("GET", "HEAD"):
        return None
    if path.startswith("/v4/"):
        # The metadata of a task; its path contains a token.
        return None
    if path.startswith(CLOSED):
        return refuse(403, "AccessDenied", "The local AWS does not serve this.", headers)
    if path == "/v2" or (path.startswith("/v2/") and not path.startswith("/v2/email")):
        return unknown_to_registry(headers)
    key = extract_access_key_id(headers, query) or ""
    if KEY_ID and hmac.compare_digest(key.encode(), KEY_ID.encode()):
        return None
    return refuse(403, "InvalidClientTokenId", INVALID, headers)


def token():
    return base64.b64encode(f"AWS:{SECRET}".encode()).decode()


def unknown_to_registry(headers):
    """https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html"""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic" and hmac.compare_digest(value.strip().encode(), token().encode()):
        return None
    body = {"errors": [{"code": "DENIED", "message": "Your authorization token is invalid."}]}
    challenge = f'Basic realm="http://localhost:{PORT}/",service="ecr.amazonaws.com"'
    answer = {"Content-Type": "application/json", "WWW-Authenticate": challenge}
    return 401, answer, json.dumps(body).encode()


def refuse(status, code, message, headers):
    """In the words of the protocol that was asked."""
    authorization = headers.get("authorization", "")
    is_json = "x-amz-target" in headers or "json" in headers.get("content-type", "")
    if is_json or "/lambda/aws4_request" in authorization:
        answer = json.dumps({"__type": code, "message": message}).encode()
        return status, {"Content-Type": "application/x-amz-json-1.1"}, answer
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    if "/s3/aws4_request" not in authorization:
        error = f"<ErrorResponse>{error}<RequestId>0</RequestId></ErrorResponse>"
    return status, {"Content-Type": "text/xml"}, error.encode()


async def balance(scope, receive, send, headers):
    """What is addressed to the load balancer reaches nothing else of the emulator."""
    emulator.set_request_client_ip((scope.get("client") or ("127.0.0.1",))[0])
    raw_query = scope.get("query_string", b"").decode("latin-1")
    body = await emulator._read_request_body(receive, scope["method"], headers)
    query = parse_qs(raw_query, keep_blank_values=True)
    host, path, method = headers.get("host", ""), scope["path"], scope["method"]
    raw_path = (scope.get("raw_path") or path.encode()).decode("latin-1")
    response = await emulator._handle_alb_request(
        host, path, method, headers, body, query, raw_query, raw_path
    )
    response = response or (404, {"Content-Type": "text/plain"}, b"no such load balancer")
    await emulator._send_if_handled(send, response, receive)


def credentials():
    return {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}


@replace(ecs, "_register_metadata")
def register_metadata(*arguments):
    """Also gives the container its key. `env` is what it will be started with."""
    env = arguments[5]
    identity = register_metadata.original(*arguments)
    for name in ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN"):
        env.pop(name, None)
    env.update(credentials(), AWS_REGION=get_region(), AWS_DEFAULT_REGION=get_region())
    return identity


@replace(lambda_runtime, "execution_credentials")
def execution_credentials(_configuration):
    return credentials() | {"AWS_SESSION_TOKEN": ""}


# It has imported the function by name.
lambda_svc.execution_credentials = execution_credentials


@replace(ecs, "_resolve_repository_credentials")
def pull_credentials(_container):
    return {"username": "AWS", "password": SECRET}


@replace(ecr, "_get_authorization_token")
def authorization_token(data):
    status, headers, body = authorization_token.original(data)
    answer = json.loads(body)
    for granted in answer["authorizationData"]:
        granted["authorizationToken"] = token()
    return json_response(answer, status)
