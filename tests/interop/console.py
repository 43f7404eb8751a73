"""What a test driver sees of a program: events on stdout, commands on stdin.

One JSON object a line in both directions. Every event has "event" and "t"
(seconds since the start), so a driver can wait for what it needs without sleeping.
"""

import asyncio
import json
import sys
import threading
import time


class Console:
    def __init__(self, out=None):
        self._out = out or sys.stdout
        self._start = time.monotonic()

    def emit(self, event, **fields):
        line = {"event": event, "t": round(time.monotonic() - self._start, 4), **fields}
        try:
            text = json.dumps(line)
        except RecursionError:  # a body nested thousands deep is legal for the Java reader
            line["body"] = None
            text = json.dumps(line)
        self._out.write(text + "\n")
        self._out.flush()

    def error(self, reason, **fields):
        self.emit("error", reason=reason, **fields)

    def message(self, direction, link_label, message, items, **more):
        """A message in or out, with the header's fields and the decoded body."""
        self.emit("message", dir=direction, link=link_label,
                  kind="request" if message.is_request else "response",
                  flags=message.flags, seq=message.seq, mgmtId=message.mgmt_id,
                  agentId=message.agent_id, via=message.via, length=len(message.content),
                  classes=[item.short if item else None for item in items],
                  body=[{item.name: item.raw} if item else None for item in items], **more)


def read_commands(loop, handle, at_eof):
    """Calls handle(dict) in the loop for each line of stdin, at_eof() at its end.

    A thread, because stdin may be a file or /dev/null, which the loop can't poll.
    """

    def pump():
        for line in sys.stdin:
            if line.strip():
                loop.call_soon_threadsafe(handle, _parse(line))
        loop.call_soon_threadsafe(at_eof)

    threading.Thread(target=pump, daemon=True).start()


def _parse(line):
    try:
        return json.loads(line)
    except ValueError:
        return {"cmd": line.strip()}  # unknown, and reported as that


def carry_out(target, command):
    """Runs target.do_NAME(command), which may be a coroutine. Ends in a "done" event or an error."""

    def failed(error):
        target.console.error("command-failed", cmd=command["cmd"], detail=f"{type(error).__name__}: {error}")

    async def finish(outcome):
        try:
            await outcome
            done()
        except COMMAND_ERRORS as error:
            failed(error)

    def done():
        target.console.emit("done", cmd=command["cmd"])

    handler = getattr(target, "do_" + command["cmd"].replace("-", "_"), None)
    if handler is None:
        target.console.error("unknown-command", cmd=command["cmd"])
        return
    try:
        outcome = handler(command)
    except COMMAND_ERRORS as error:
        failed(error)
        return
    if asyncio.iscoroutine(outcome):
        target.tasks.start(finish(outcome))
    else:
        done()


class CommandError(Exception):
    """A driver's command can't be done, or its peer didn't do its part."""


# Also what a wrong command runs into: a missing field, no such host, no link.
COMMAND_ERRORS = (CommandError, LookupError, ValueError, AttributeError)


class Clock:
    """The reference's durations, multiplied by --time-scale."""

    def __init__(self, scale):
        self.scale = scale

    async def sleep(self, seconds):
        await asyncio.sleep(seconds * self.scale)

    def now(self):
        """Seconds of protocol time."""
        return time.monotonic() / self.scale


class Tasks:
    """Keeps references to running tasks and makes sure that a bug is seen."""

    def __init__(self, on_bug):
        self._running = set()
        self._on_bug = on_bug

    def start(self, coroutine):
        task = asyncio.get_running_loop().create_task(coroutine)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task):
        self._running.discard(task)
        if not task.cancelled() and task.exception():
            self._on_bug(task.exception())
