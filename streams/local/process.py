"""One process of a service: started, watched until it answers, stopped, never left behind."""

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

LOOPBACK = "127.0.0.1"
PR_SET_PDEATHSIG = 1
TAIL_LINES = 25
FREE_PORTS = range(20_000, 32_000)
_handed_out: set[int] = set()
_libc = ctypes.CDLL(None, use_errno=True)


class ServiceFailed(Exception):  # noqa: N818 - says what happened
    """A service exited, or did not answer in time; the message ends with its log."""


def free_port() -> int:
    """Return a free TCP port of the loopback address, never the same one twice.

    It lies below the range that the kernel uses for outgoing connections, one of which could
    otherwise take the port before the service does.
    """
    while True:
        port = FREE_PORTS.start + secrets.randbelow(len(FREE_PORTS))
        if port not in _handed_out:
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.bind((LOOPBACK, port))
                _handed_out.add(port)
                return port


def listens(port: int) -> bool:
    """Return whether a process listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((LOOPBACK, port)) == 0


class Process:
    """A child that ends with its parent, even if the parent is killed.

    Start it from the main thread: the kernel ties its life to the thread that started it.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        directory: Path,
        environment: Mapping[str, str] | None = None,
        stop_within_s: float = 15.0,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.log = directory / f"{name}.log"
        self._command = [str(part) for part in command]
        self._directory = directory
        self._environment = dict(os.environ) | dict(environment or {})
        self._stop_within_s = stop_within_s
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's id; only while it runs."""
        if self._child is None:
            raise ServiceFailed(f"{self.name} is not running.")
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """The exit status; None while it runs or before it was started."""
        return self._child.poll() if self._child else None

    def start(self) -> Self:
        """Start it; returns before it answers."""
        parent = os.getpid()

        def end_with_parent() -> None:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # the parent ended before the line above
                os._exit(1)

        with self.log.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603 - our own command
                self._command,
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # on Ctrl-C we stop it ourselves, in order
                preexec_fn=end_with_parent,  # noqa: PLW1509 - two system calls, no locks
            )
        return self

    def wait_until(self, ready: Callable[[], bool], *, within_s: float) -> None:
        """Wait until `ready` answers true.

        Raises:
            ServiceFailed: it exited, or the time is over.
        """
        deadline = time.monotonic() + within_s
        while not ready():
            if self.returncode is not None:
                raise ServiceFailed(f"{self.name} exited with {self.returncode}.\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ServiceFailed(
                    f"{self.name} did not answer within {within_s:.0f} s.\n{self.tail()}"
                )
            time.sleep(0.05)

    def stop(self) -> int | None:
        """Ask it to end, wait, then kill it; returns its exit status, None on a second call."""
        if self._child is None:
            return None
        child, self._child = self._child, None
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(self._stop_within_s)
            except subprocess.TimeoutExpired:
                child.kill()
        return child.wait()

    def kill(self) -> None:
        """Kill it at once (SIGKILL), for a fault test."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def tail(self) -> str:
        """Return the end of its log, with the log's path."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join([f"--- end of {self.log}", *text.splitlines()[-TAIL_LINES:]])
