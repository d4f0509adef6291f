"""Settings from YAML files, from flags and from changes with dotted keys."""

from __future__ import annotations

import json
from argparse import ArgumentError
from copy import deepcopy
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentParser

from csk_ros.training.settings import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jsonargparse import Namespace

Document = dict[str, Any]
"""Settings as a YAML file holds them."""

_Kind = TypeVar("_Kind")


def read_settings(config: str, changes: Sequence[str]) -> tuple[TrainSettings, bool]:
    """The settings in the file ``config`` with ``changes`` made, and whether to resume.

    A file may name another one beside it as ``base``, which is read first. Sections add up key by key; a
    value that is itself a mapping (``network.arguments``, ``data.test``) replaces the base's.

    Args:
        config: path of a YAML file.
        changes: command line arguments, such as ``["--loop.epochs", "3", "--resume"]``.

    Raises:
        ValueError: unknown keys, values of a wrong type or that mean nothing, or no such file.
    """
    parser = ArgumentParser(prog="csk train CONFIG", exit_on_error=False)
    parser.add_argument("--config", action="config", help="a further YAML file with settings")
    parser.add_argument("--base", type=str | None, help="in a file: another one to read first")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the output folder")
    parser.add_class_arguments(TrainSettings)
    if any(change.partition("=")[0] == "--base" for change in changes):
        raise ValueError("--base: a base stands in a file; --config FILE reads a further file")
    layers = _with_bases(Path(config))
    for layer in layers:
        _refuse_code(read_document(layer), TrainSettings, str(layer))
    files = [f"--config={file}" for file in layers]
    try:
        parsed = parser.parse_args([*files, *changes])
    except ArgumentError as error:
        raise ValueError(f"{config}: {error.message}") from error
    made = _instantiate(parser, parsed)
    return TrainSettings(**{field.name: made[field.name] for field in fields(TrainSettings)}), made.resume


def read_layers(config: Path) -> Document:
    """The settings in ``config`` and the files that it is based on, as :func:`read_settings` adds them up.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no YAML, or a base is missing or leads back to its own file.
    """
    document: Document = {}
    for file in _with_bases(config):
        layer = read_document(file)
        layer.pop("base", None)
        document = changed(document, layer)
    return document


def _with_bases(config: Path) -> list[Path]:
    """``config`` behind the files that it is based on, the first one first."""
    files = [config]
    while (base := _base(files[0])) is not None:
        if base in files:
            raise ValueError(f"{config}: base {base} leads back to itself")
        if not base.is_file():
            raise ValueError(f"{files[0]}: base {base} does not exist")
        files.insert(0, base)
    return files


def _base(config: Path) -> Path | None:
    base = read_document(config).get("base")
    return None if base is None else config.parent / str(base)


def parse_document(kind: type[_Kind], document: Mapping[str, Any], source: str) -> _Kind:
    """The dataclass ``kind`` from ``document``, its values checked against the types.

    Args:
        kind: a dataclass, such as :class:`TrainSettings`.
        document: its fields, nested as in a YAML file, JSON-ready.
        source: where it comes from, for messages.

    Raises:
        ValueError: unknown or missing keys, values of a wrong type or that mean nothing.
    """
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # dataclasses have no type
    for key in document:
        if key not in known:  # jsonargparse overlooks it if its value is empty
            raise ValueError(f"{source}: there is no key {key!r}, only {', '.join(known)}")
    _refuse_code(document, kind, source)
    try:
        parsed: _Kind = _parsed(kind, json.dumps(document, default=str))  # type: ignore[arg-type]  # classes are hashable
    except (ArgumentError, ValueError) as error:
        text = error.message if isinstance(error, ArgumentError) else str(error)
        raise ValueError(f"{source}: {' '.join(text.split())}") from error
    return parsed


def _refuse_code(value: Any, kind: type | None, source: str) -> None:
    """Refuse what jsonargparse would import: a ``class_path``, or a dotted name in place of a section."""
    if isinstance(value, list):
        for entry in value:
            _refuse_code(entry, None, source)
    if not isinstance(value, dict):
        return
    for key, entry in value.items():
        section = _section(kind, key)
        if key == "class_path" or (section and isinstance(entry, str)):
            raise ValueError(f"{source}: {key}: {entry!r} names code, and settings hold values only")
        _refuse_code(entry, section, source)


@cache  # jsonargparse takes a tenth of a second, and a comparison asks for the same settings often
def _parsed(kind: type, text: str) -> Any:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind)
    return kind(**vars(_instantiate(parser, parser.parse_object(json.loads(text)))))


def _instantiate(parser: ArgumentParser, parsed: Namespace) -> Namespace:
    old_name = "instantiate_classes"  # until jsonargparse 4.49
    return getattr(parser, "instantiate" if hasattr(parser, "instantiate") else old_name)(parsed)


def read_document(path: Path) -> Document:
    """The mapping in a YAML file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no YAML, or no mapping.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: check the path")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path} holds no settings: write KEY: VALUE")  # noqa: TRY004 (a user's file)
    return document


def changed(document: Document, changes: Mapping[str, Any]) -> Document:
    """``document`` with ``changes`` made.

    Args:
        document: settings of a :class:`TrainSettings`, nested.
        changes: values by dotted key. A mapping given for a section changes the keys that it names; for a
            single setting whose value is a mapping, such as ``network.arguments``, it replaces that. Shorter
            keys come first.

    Raises:
        ValueError: a key leads through something that is no mapping.
    """
    new = deepcopy(document)
    for key, value in sorted(changes.items(), key=lambda change: change[0].count(".")):
        _change(new, key.split("."), deepcopy(value), TrainSettings)
    return new


def _change(document: Document, path: list[str], value: Any, kind: type | None) -> None:
    name, *rest = path
    inner = _section(kind, name)
    if not rest and not (inner and isinstance(value, dict)):
        document[name] = value
        return
    if document.get(name) is None:
        document[name] = {}
    if not isinstance(document[name], dict):
        text = f"cannot set {'.'.join(path)}: {name} is {document[name]!r}"
        raise ValueError(text)  # noqa: TRY004 (a user's file)
    for key, entry in [(rest, value)] if rest else [(k.split("."), v) for k, v in value.items()]:
        _change(document[name], key, entry, inner)


def _section(kind: type | None, name: str) -> type | None:
    """The dataclass of the field ``name`` of the dataclass ``kind``; None if it is a single setting."""
    hint = get_type_hints(kind).get(name) if kind else None
    kinds = [hint, *get_args(hint)]
    return next((k for k in kinds if isinstance(k, type) and is_dataclass(k)), None)


def flat(document: Mapping[str, Any], prefix: str = "") -> Document:
    """``document`` by dotted key."""
    values: Document = {}
    for key, value in document.items():
        nested = isinstance(value, dict) and value
        values |= flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return values
