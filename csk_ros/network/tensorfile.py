"""Reading safetensors files: every way to fail is one error that names the file and the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class CheckpointError(ValueError):
    """A file of weights that cannot be used; says which file and why."""


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """All tensors of a safetensors file and its header metadata.

    Raises:
        CheckpointError: if the file is missing, unreadable or not a whole safetensors file.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118 (not a dict)
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
    prefixes = tuple(extra)
    faults = {
        "misses": [key for key in expected if key not in found],
        "has unknown": [key for key in found if key not in expected and not key.startswith(prefixes)],
        "has misshapen": [
            f"{key} {tuple(found[key].shape)} instead of {tuple(shape)}"
            for key, shape in expected.items()
            if key in found and found[key].shape != shape
        ],
        "has non-finite values in": [
            key for key in expected if key in found and not bool(torch.isfinite(found[key]).all())
        ],
    }
    for fault, keys in faults.items():
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise CheckpointError(f"{path}: {fault} {', '.join(keys[:3])}{more}")
