"""Engines: what runs the network. Each is built for one checkpoint and one device."""

from csk_ros.inference.engines.base import Engine, EngineOptions
from csk_ros.inference.engines.registry import ENGINES, build_engine, find_device

__all__ = ["ENGINES", "Engine", "EngineOptions", "build_engine", "find_device"]
