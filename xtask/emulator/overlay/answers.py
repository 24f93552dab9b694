"""ECS leaves out a member that it has no value for; the emulator answers null or an empty text."""

from ministack.services import ecs

from .pins import replace

# The value of a variable may be empty, but not these.
NEVER_EMPTY = {"ipcMode", "pidMode", "stopCode", "stoppedReason"}


@replace(ecs, "_normalize_ecs_timestamps")
def normalized(payload, name=None):
    """Each part of an answer passes here."""
    part = normalized.original(payload, name)
    if isinstance(part, dict):
        empty = {key for key, value in part.items() if value == "" and key in NEVER_EMPTY}
        return {key: value for key, value in part.items() if value is not None and key not in empty}
    return part
