"""Data sets and synthetic scenes as sequences of :class:`Sample`."""

from csk_ros.data.registry import open_samples
from csk_ros.data.sample import Sample, SampleSet

__all__ = ["Sample", "SampleSet", "open_samples"]
