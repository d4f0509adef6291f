"""Procedural road scenes seen by an optical and a thermal camera."""

from csk_ros.data.synthetic.drive import SceneDrive, SceneDrives

__all__ = ["SceneDrive", "SceneDrives"]
