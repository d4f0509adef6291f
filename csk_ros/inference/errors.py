"""What can go wrong between a camera image and its label map."""

from __future__ import annotations


class SegmenterError(RuntimeError):
    """A segmenter cannot be made or cannot go on."""


class EngineError(SegmenterError):
    """An engine or device that was asked for is not there; says what to do."""


class InputError(ValueError):
    """Images that a segmenter cannot take; says which and why."""
