"""The segmenting node as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from csk_ros.share import share_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Self

_NODE_MODULE = "csk_ros.ros.segment_node"
_PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
_LAST_LINES = 15


class NodeProcessError(RuntimeError):
    """The node's process did not end as it should; the message is one line."""


class NodeProcess:
    """Runs a Python module as a process; a context manager that never leaves it behind.

    Args:
        log: file for everything that the process prints.
        parameters: ROS parameters by name, as text.
        params_file: YAML file with ROS parameters; ``parameters`` go before it.
        module: module to run, or the path of a script; None is the segmenting node.
        stop_s: how long it may take to end on SIGINT, in seconds.
    """

    def __init__(
        self,
        log: Path,
        parameters: Mapping[str, str],
        *,
        params_file: Path | None = None,
        module: str | Path | None = None,
        stop_s: float = 15.0,
    ) -> None:
        self._log = log
        self._stop_s = stop_s
        pairs = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
        given = ["--params-file", str(params_file)] if params_file else []
        code = [str(module)] if isinstance(module, Path) else ["-m", module or _NODE_MODULE]
        self._command = [sys.executable, *code, "--ros-args", *given, *pairs]

    def __enter__(self) -> Self:
        """Start it, out of reach of the terminal's Ctrl-C: whoever started it stops it."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it if it still runs, by force if need be."""
        if self.alive():
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(self._stop_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it as Ctrl-C does.

        Raises:
            NodeProcessError: if it does not end in time, or not with exit code 0.
        """
        self._process.send_signal(signal.SIGINT)
        try:
            code = self._process.wait(self._stop_s)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            self._process.wait()
            raise NodeProcessError(f"the node did not end within {self._stop_s:.0f} s") from error
        if code != 0:
            raise NodeProcessError(f"the node ended with exit code {code}")

    def tail(self) -> str:
        """The end of its log, marked as such."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
        return "".join(f"  node | {line}\n" for line in lines) or "  node | (it printed nothing)\n"


def join_private_domain() -> None:
    """Keep the topics off the network, and off nodes that run here, unless the user chose a domain."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))


def use_image_profile() -> None:
    """Give this process and its children the Fast DDS profile for large images, unless the user gave one.

    Must run before the first participant is made. The default shared-memory segment holds 512 KiB, less than
    one 640x480 colour image.
    """
    if not any(os.environ.get(name) for name in _PROFILES):
        for name in _PROFILES:
            os.environ[name] = str(share_path("config/fastdds.xml"))
