"""The application that the server runs: the emulator with the functions of this package."""

import sys

from ministack import app as emulator

from . import answers, definitions, deployments, registry, targets, tasks  # noqa: F401
from . import door, pins, saving, scheduler


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
    saving.check()
    if not door.KEY_ID:
        sys.exit("ACCESS_KEY_FILE must name the file of the access key")
    app = door.entrance(emulator.app)
