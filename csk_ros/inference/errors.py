"""What can go wrong between a camera image and its label map."""

from __future__ import annotations


class SegmenterError(RuntimeError):
    """A segmenter cannot be made or cannot go on."""


class EngineError(SegmenterError):
    """An engine or device that was asked for is not there; says what to do."""


class EngineFailure(SegmenterError):  # noqa: N818 (EngineError is one that cannot be made)
    """An engine failed on a frame; says how, in one line."""


class InputError(ValueError):
    """Images that a segmenter cannot take; says which and why."""
