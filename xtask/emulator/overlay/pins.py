"""Replaces functions of the emulator, each pinned by a hash of the source that is replaced.

A function that is only called is pinned too. With another version of the emulator the server then
ends at its start, instead of in the middle of a release.
"""

import hashlib
import inspect
import json
import sys
from pathlib import Path

FILE = Path(__file__).with_name("pins.json")

_found = {}


def _pin(module, name):
    function = getattr(module, name, None)
    source = inspect.getsource(function) if function else "missing"
    _found[f"{module.__name__}.{name}"] = hashlib.sha256(source.encode()).hexdigest()[:16]
    return function


def replace(module, *names):
    """Replaces functions of a module, also in its table of operations. The last original is
    `original` of the replacement."""

    def decorate(function):
        for name in names:
            function.original = _pin(module, name)
            setattr(module, name, function)
            operations = getattr(module, "_ACTION_MAP", {})
            for operation, handler in operations.items():
                if handler is function.original:
                    operations[operation] = function
        return function

    return decorate


def rely(module, *names):
    """Pins functions that are called."""
    for name in names:
        _pin(module, name)


def check():
    """Ends the program where a function differs from the one that the overlay was written for."""
    known = json.loads(FILE.read_text())
    changed = sorted(name for name in _found.keys() | known.keys() if _found.get(name) != known.get(name))
    if changed:
        sys.exit(
            "the emulator is not the one that the overlay was written for; these functions differ: "
            f"{', '.join(changed)}. Remedy: install the version of requirements.txt, or compare the "
            "functions and run `python -m overlay.app`, which writes pins.json again"
        )


def write():
    FILE.write_text(json.dumps(_found, indent=2, sort_keys=True) + "\n")
