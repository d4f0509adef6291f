"""Bags in and out.

Conventions of the bags written here: topics as in :mod:`~csk_ros.replay.samples`, messages in receive
order, the label set of masks and labels as JSON under :data:`LABEL_SET_KEY` in the bag's ``custom_data``.
"""

from csk_ros.replay.bag_reader import BagReader
from csk_ros.replay.bag_types import (
    COMPRESSED_IMAGE,
    IMAGE,
    LABEL_SET_KEY,
    STRING,
    TYPES,
    BagError,
    RawRecord,
    Record,
    Storage,
    Topic,
    refuse_existing,
)
from csk_ros.replay.bag_writer import BagWriter
from csk_ros.replay.storage.types import qos_profile

__all__ = [
    "COMPRESSED_IMAGE",
    "IMAGE",
    "LABEL_SET_KEY",
    "STRING",
    "TYPES",
    "BagError",
    "BagReader",
    "BagWriter",
    "RawRecord",
    "Record",
    "Storage",
    "Topic",
    "qos_profile",
    "refuse_existing",
]
