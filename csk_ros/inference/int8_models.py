"""Networks calibrated to 8-bit integers: one file for all routes and sizes, beside the checkpoint."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csk_ros.inference.errors import EngineError
from csk_ros.inference.openvino_graph import MODEL_FILE, save_openvino
from csk_ros.inference.openvino_library import openvino_core
from csk_ros.modality import Route

if TYPE_CHECKING:
    from csk_ros.inference.model_cache import ModelCache

SUFFIX = ".int8.zip"
"""The file stands beside the checkpoint and has its name but for this."""

FAST_CPUS = {"avx512_vnni", "avx_vnni", "amx_int8"}
"""Processors with one of these, as Linux names them, multiply bytes several times as fast as floats."""

_FILE = "int8.zip"
_HEADER = "int8.json"
_FORMAT = 2
_READ = {1, _FORMAT}
"""Since 2 inputs are bytes where they can be; 1 has float levels."""
_CPU_FACTS = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Int8Models:
    """A file of calibrated networks.

    Attributes:
        path: of the file.
        digest: of its content.
        routes: that it holds.
        calibration: how it was made, in words.
    """

    path: Path
    digest: str
    routes: frozenset[Route]
    calibration: str

    def check(self) -> None:
        """Compare every part with its checksum.

        Raises:
            EngineError: if the file is damaged.
        """
        try:
            with zipfile.ZipFile(self.path) as file:
                broken = file.testzip()
        except (OSError, zipfile.BadZipFile, zlib.error) as error:
            raise _damaged(self.path, error) from error
        if broken:
            raise _damaged(self.path, zipfile.BadZipFile(f"Bad CRC-32 for file {broken!r}"))

    def read(self, route: Route) -> Any:
        """The route as an OpenVINO model, bytes or levels in, logits out, of the size it was calibrated at.

        Raises:
            EngineError: if the file has not got the route, or is damaged.
        """
        if route not in self.routes:
            have = ", ".join(sorted(route.value for route in self.routes))
            raise EngineError(
                f"{self.path} holds {have} in int8 and not {route.value}: calibrate all with csk export --to "
                f"openvino --precision int8, or use precision float32"
            )
        try:
            with zipfile.ZipFile(self.path) as file:
                parts = [file.read(name) for name in _members(route)]
            return openvino_core().read_model(*parts)
        except (OSError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise _damaged(self.path, error) from error


def find_int8(fingerprint: str, checkpoint: Path | None, cache: ModelCache | None) -> Int8Models | None:
    """The calibrated networks of a checkpoint: those that ``csk export`` left in the cache, or came along.

    Args:
        fingerprint: of the checkpoint.
        checkpoint: its file.
        cache: of that.

    Returns:
        None if there are none.

    Raises:
        EngineError: for a file that is damaged, or of other weights.
    """
    folder = cache and cache.find(_key(fingerprint))
    if folder:
        return _open(folder / _FILE, fingerprint)
    beside = checkpoint and checkpoint.with_suffix(SUFFIX)
    return _open(beside, fingerprint) if beside and beside.is_file() else None


def write_int8(path: Path, fingerprint: str, models: dict[Route, Any], calibration: str) -> None:
    """Write calibrated networks into a new file.

    Args:
        path: where to.
        fingerprint: of the checkpoint that they are of.
        models: OpenVINO models for heights and widths in multiples of
            :data:`csk_ros.inference.graph.MULTIPLE`, which are then reshaped to any.
        calibration: how they were made, in words.
    """
    header = {"format": _FORMAT, "checkpoint": fingerprint, "calibration": calibration}
    with (
        tempfile.TemporaryDirectory() as name,
        zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as file,
    ):
        file.writestr(_HEADER, json.dumps({**header, "routes": sorted(models)}, indent=1))
        for route, model in models.items():
            xml = Path(name) / MODEL_FILE
            save_openvino(model, xml.parent)
            for member, part in zip(_members(route), (xml, xml.with_suffix(".bin")), strict=True):
                file.write(part, member)


def keep_int8(cache: ModelCache, fingerprint: str, file: Path) -> Path | None:
    """Keep a file of calibrated networks for engines to come, in place of an earlier one.

    Returns:
        Its folder, or None if it could not be written.
    """
    content = file.read_bytes()
    cache.discard(_key(fingerprint))
    return cache.put(_key(fingerprint), lambda folder: _write(folder / _FILE, content))


@cache
def cpu_is_fast_in_int8() -> bool:
    """Whether this processor has instructions for int8; False where nobody can tell."""
    try:
        lines = _CPU_FACTS.read_text().splitlines()
    except OSError:
        return False
    return any(FAST_CPUS & set(line.split()) for line in lines if line.startswith("flags"))


def _open(path: Path, fingerprint: str) -> Int8Models:
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with zipfile.ZipFile(path) as file:
            header = json.loads(file.read(_HEADER))
        if header["format"] not in _READ:
            raise EngineError(
                f"{path} is of format {header['format']}, and this csk_ros reads up to {_FORMAT}: update "
                f"csk_ros"
            )
        own = header["checkpoint"] == fingerprint
        models = Int8Models(path, digest, frozenset(map(Route, header["routes"])), str(header["calibration"]))
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, error) from error
    if not own:
        raise EngineError(
            f"{path} was calibrated from other weights than those beside it: calibrate these with csk export "
            f"--to openvino --precision int8, or remove the file"
        )
    return models


def _damaged(path: Path, error: Exception) -> EngineError:
    reason = " ".join(str(error).split())[:300]
    return EngineError(
        f"{path} cannot be read ({type(error).__name__}: {reason}): calibrate again with csk export --to "
        f"openvino --precision int8, or remove the file"
    )


def _members(route: Route) -> tuple[str, str]:
    return f"{route.value}.xml", f"{route.value}.bin"


def _key(fingerprint: str) -> dict[str, str]:
    return {"int8": fingerprint}


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
