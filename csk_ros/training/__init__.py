"""Recipes that turn samples into checkpoints.

:mod:`csk_ros.training.settings` is light; :mod:`csk_ros.training.run` brings torch and Lightning.
"""

from csk_ros.training.settings import TrainSettings

__all__ = ["TrainSettings"]
