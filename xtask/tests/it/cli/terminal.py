"""Runs a program at a terminal of its own and plays who sits there.

Arguments: the steps as JSON, [[TEXT TO WAIT FOR, WHAT TO TYPE or "SIGTERM"], ...], then the
program and its arguments. Prints as JSON how it ended, what stood on the terminal, whether the
terminal showed what was typed at each step, and how it was left.
"""

import fcntl
import json
import os
import select
import signal
import struct
import sys
import termios
import time

LIMIT_S = 60
LOCAL_FLAGS = 3
ROWS, COLUMNS = 24, 80

steps = json.loads(sys.argv[1])
# The program's end of the line is held open here too, so that it outlives the program.
terminal, line = os.openpty()
fcntl.ioctl(line, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
process = os.fork()
if process == 0:
    os.setsid()
    fcntl.ioctl(line, termios.TIOCSCTTY, 0)
    for descriptor in (0, 1, 2):
        os.dup2(line, descriptor)
    os.execv(sys.argv[2], sys.argv[2:])
before = termios.tcgetattr(line)
deadline = time.monotonic() + LIMIT_S
shown, echoes, ended = "", [], None
position = 0
while ended is None or select.select([terminal], [], [], 0)[0]:
    if time.monotonic() > deadline:
        os.kill(process, signal.SIGKILL)
    if select.select([terminal], [], [], 0.05)[0]:
        shown += os.read(terminal, 65536).decode(errors="replace")
    if steps and steps[0][0] in shown[position:]:
        text, typed = steps.pop(0)
        position = shown.index(text, position) + len(text)
        echoes.append(bool(termios.tcgetattr(line)[LOCAL_FLAGS] & termios.ECHO))
        if typed == "SIGTERM":
            os.kill(process, signal.SIGTERM)
        else:
            os.write(terminal, typed.encode())
    if ended is None:
        waited, status = os.waitpid(process, os.WNOHANG)
        ended = os.waitstatus_to_exitcode(status) if waited else None
left = termios.tcgetattr(line)
print(
    json.dumps(
        {
            "exit_code": ended,
            "shown": shown,
            "echoes": echoes,
            "left_as_it_was": left == before,
        }
    )
)
