"""The node's parameter file, read without ROS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from csk_ros.share import share_path

_KEY = "ros__parameters"
_NODE = "segment"


class ParameterFileError(ValueError):
    """A parameter file that cannot be used; the message is one line and names the file."""


def read_parameters(path: str | Path | None) -> dict[str, Any]:
    """The parameters of the node ``segment`` that a ROS 2 parameter file sets; none without a file.

    Sections apply as in ROS 2: ``/**``, ``segment``, ``/any/namespace/segment``, ``/**/segment``; later ones
    go before earlier ones.

    Raises:
        ParameterFileError: if it cannot be read, sets nothing for the node, or sets what the node does not
            have or in another type.
    """
    if path is None:
        return {}
    document = _read(Path(path).expanduser())
    chosen: dict[str, Any] = {}
    found = False
    for section, content in document.items():
        if str(section) == "/**" or str(section).rpartition("/")[2] == _NODE:
            if not isinstance(content, dict) or not isinstance(content.get(_KEY), dict):
                raise ParameterFileError(f"{path}: {section} has no {_KEY}")
            found = True
            chosen |= content[_KEY]
    if not found:
        raise ParameterFileError(f"{path} sets nothing for the node {_NODE}: begin it with '/**/{_NODE}:'")
    known = _read(share_path("config/segment.yaml"))[f"/**/{_NODE}"][_KEY]
    for name, value in chosen.items():
        _check(path, name, value, known)
    return chosen


def _check(path: str | Path, name: str, value: Any, known: dict[str, Any]) -> None:
    if name in ("use_sim_time", "qos_overrides"):
        return
    if name not in known:
        raise ParameterFileError(f"{path}: unknown parameter {name}: there are {', '.join(known)}")
    if type(value) is not type(known[name]):
        raise ParameterFileError(
            f"{path}: {name} is {value!r}: it must be {type(known[name]).__name__}, as {known[name]!r}"
        )


def _read(path: Path) -> dict[Any, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ParameterFileError(f"there is no parameter file at {path}: check the path") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ParameterFileError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise ParameterFileError(f"{path} is no parameter file: it holds no mapping of node names")
    return document
