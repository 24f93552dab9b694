
# Reads of AWS's Secrets Manager are eventually consistent: here two of three reads return the state
# before the last change, for some seconds after it.

import copy
import itertools
import time

import ministack.services.secretsmanager as manager

STALE_S = 3
before = {}
reads = itertools.count(1)


def remember(name):
    change = getattr(manager, name)

    def remembered(data):
        _, secret = manager._resolve(data["SecretId"])
        if secret:
            versions = copy.deepcopy(secret["Versions"])
            before.setdefault(secret["ARN"], []).append((time.monotonic(), versions))
        return change(data)

    setattr(manager, name, remembered)


def answer(data, read=manager._get_secret_value):
    _, secret = manager._resolve(data["SecretId"])
    changes = before.get(secret["ARN"], []) if secret else []
    recent = [versions for at, versions in changes if time.monotonic() - at < STALE_S]
    if not recent or next(reads) % 3 == 0:
        return read(data)
    now, secret["Versions"] = secret["Versions"], recent[0]
    try:
        return read(data)
    finally:
        secret["Versions"] = now


remember("_put_secret_value")
remember("_update_secret_version_stage")
manager._get_secret_value = answer
