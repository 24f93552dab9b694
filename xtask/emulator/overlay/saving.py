"""The state that is saved at the end and read at the next start."""

import json
import os
import sys
import time
from pathlib import Path

from ministack import app as emulator
from ministack.services import ecs

from . import scheduler
from .pins import replace

# Another number where state that was saved by one version is wrong for the other.
FORMAT = 2


def check():
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


@replace(emulator, "_build_persistence_save_dict")
def states():
    return {name: patient(state) for name, state in states.original().items()}


def patient(state):
    """Requests that are still served change what is copied, which then fails."""

    def copied():
        for _attempt in range(50):
            try:
                return state()
            except RuntimeError:
                time.sleep(0.05)
        return state()

    return copied


@replace(ecs, "_emit_awslogs_event")
def write_line(configuration, message):
    """Containers go on writing while the state is saved, and end right after that."""
    if not scheduler.ENDING.is_set():
        write_line.original(configuration, message)
