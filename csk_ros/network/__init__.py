"""The CSK-Net and its baselines as torch modules, and the checkpoint format."""

from csk_ros.network.backbones import BACKBONES
from csk_ros.network.base import ModalityFeatures, NetworkOutput, SegmentationNetwork
from csk_ros.network.baselines import EarlyFusionNet, LateFusionNet, SingleNet
from csk_ros.network.checkpoint import (
    DEFAULT_NORMALISATION,
    Checkpoint,
    Normalisation,
    load_checkpoint,
    save_checkpoint,
)
from csk_ros.network.csknet import CSKNet
from csk_ros.network.decoders import DECODERS
from csk_ros.network.folding import fold_batch_norms
from csk_ros.network.pretrained import load_backbone
from csk_ros.network.registry import ARCHITECTURES, Network, build_network
from csk_ros.network.tensorfile import CheckpointError

__all__ = [
    "ARCHITECTURES",
    "BACKBONES",
    "DECODERS",
    "DEFAULT_NORMALISATION",
    "CSKNet",
    "Checkpoint",
    "CheckpointError",
    "EarlyFusionNet",
    "LateFusionNet",
    "ModalityFeatures",
    "Network",
    "NetworkOutput",
    "Normalisation",
    "SegmentationNetwork",
    "SingleNet",
    "build_network",
    "fold_batch_norms",
    "load_backbone",
    "load_checkpoint",
    "save_checkpoint",
]
