"""Reading safetensors files: every way to fail is one error that names the file and the reason.

The format is a JSON header and bytes: nothing in it executes. What a file may cost to read is bounded by what
it really holds, and its header by :data:`MAX_HEADER`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

MAX_HEADER = 1 << 24
"""Bytes of the longest header that is parsed; a header of this package has some ten thousand."""


class CheckpointError(ValueError):
    """A file of weights that cannot be used; says which file and why."""


def read_header(path: Path) -> tuple[dict[str, torch.Size], dict[str, str]]:
    """The shapes of all tensors of a safetensors file, and its metadata, without reading a tensor.

    Raises:
        CheckpointError: as :func:`read_tensors`.
    """
    with _opened(path) as file:
        shapes = {key: torch.Size(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 (not a dict)
        return shapes, dict(file.metadata() or {})


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """All tensors of a safetensors file and its header metadata.

    Raises:
        CheckpointError: if the file is missing, unreadable or not a whole safetensors file.
    """
    with _opened(path) as file:
        return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118 (not a dict)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file")
    try:
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if header > MAX_HEADER:
            raise CheckpointError(
                f"{path}: not a safetensors file, or cut short (a header of {header} bytes is not read)"
            )
        with safe_open(path, framework="pt", device="cpu") as opened:
            yield opened
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file, or cut short ({error})") from error
    except (OSError, UnicodeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error


def check_tensors(
    path: Path, found: dict[str, torch.Tensor], expected: dict[str, torch.Size], *, extra: Iterable[str] = ()
) -> None:
    """Refuse missing, unknown, misshapen and non-finite tensors.

    Args:
        path: the file, for the message.
        found: what it holds.
        expected: shapes by key.
        extra: prefixes of further keys that may be there.

    Raises:
        CheckpointError: on the first kind of fault found; lists a few keys.
    """
    check_shapes(path, {key: tensor.shape for key, tensor in found.items()}, expected, extra=extra)
    _refuse(
        path, "has non-finite values in", [key for key in expected if not bool(found[key].isfinite().all())]
    )


def check_shapes(
    path: Path,
    found: Mapping[str, torch.Size],
    expected: Mapping[str, torch.Size],
    *,
    extra: Iterable[str] = (),
) -> None:
    """Refuse missing, unknown and misshapen tensors; arguments and errors as :func:`check_tensors`."""
    prefixes = tuple(extra)
    _refuse(path, "misses", [key for key in expected if key not in found])
    unknown = [key for key in found if key not in expected and not key.startswith(prefixes)]
    _refuse(path, "has unknown", unknown)
    misshapen = [
        f"{key} {tuple(found[key])} instead of {tuple(shape)}"
        for key, shape in expected.items()
        if found[key] != shape
    ]
    _refuse(path, "has misshapen", misshapen)


def _refuse(path: Path, fault: str, keys: list[str]) -> None:
    if keys:
        more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
        raise CheckpointError(f"{path}: {fault} {', '.join(key[:200] for key in keys[:3])}{more}")
