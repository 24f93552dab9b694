"""The application that the server runs: the emulator with the functions of this package."""

import json
import os
import sys
from pathlib import Path

from ministack import app as emulator

from . import definitions, deployments, door, pins, registry, scheduler, targets, tasks  # noqa: F401

# Another number where state that was saved by one version is wrong for the other.
FORMAT = 1


def check_state():
    """State without this format was saved by an older local AWS."""
    folder = os.environ.get("STATE_DIR")
    if not folder:
        return
    file = Path(folder, "overlay.json")
    known = json.loads(file.read_text())["format"] if file.exists() else None
    if known != FORMAT and any(it != file for it in Path(folder).glob("*.json")):
        sys.exit(f"{folder} was written by another version of the local AWS. Remedy: cargo xtask local reset")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"format": FORMAT}))


@pins.replace(emulator, "_handle_lifespan")
async def lifespan(scope, receive, send):
    async def received():
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            scheduler.end()
        return message

    async def sent(message):
        if message["type"] == "lifespan.startup.complete":
            scheduler.start()
        await send(message)

    await lifespan.original(scope, received, sent)


if __name__ == "__main__":
    pins.write()
else:
    pins.check()
    check_state()
    if not door.KEY_ID:
        sys.exit("ACCESS_KEY_FILE must name the file of the access key")
    app = door.entrance(emulator.app)
