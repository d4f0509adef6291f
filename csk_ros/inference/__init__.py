"""From camera images to label maps: preprocessing, engines, Segmenter."""

from csk_ros.inference.engines import ENGINES
from csk_ros.inference.errors import EngineError, EngineFailure, InputError, SegmenterError
from csk_ros.inference.rebuilding import RebuildingSegmenter
from csk_ros.inference.segmenter import Segmentation, Segmenter
from csk_ros.network import CheckpointError

__all__ = [
    "ENGINES",
    "CheckpointError",
    "EngineError",
    "EngineFailure",
    "InputError",
    "RebuildingSegmenter",
    "Segmentation",
    "Segmenter",
    "SegmenterError",
]
