"""What a deterministic replay is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csk_ros.replay.label_folder import LabelFolder
from csk_ros.replay.node_parameters import read_parameters
from csk_ros.replay.topics import NONE

if TYPE_CHECKING:
    from csk_ros.replay.injection import Injection

PROBE_EVERY = 10


@dataclass(frozen=True)
class OfflineSettings:
    """What to replay and how.

    Attributes:
        bag: to replay.
        out: folder of the results; new, or of the same replay, interrupted.
        checkpoint: weights; None takes those of the parameter file, else those that come with the package.
        eo: optical topic; None searches, "none" takes none.
        ir: thermal topic; likewise.
        labels: label topic, a folder of PNGs named by stamp, or "none"; None searches for a topic.
        start_s: where to begin, in seconds since the bag's start.
        end_s: where to end; None: with the bag.
        injections: what to do to the streams.
        parameters: the node's parameter file, whose perception and engine settings apply.
        engine: of the Segmenter; None: as the parameter file, else "auto". Likewise device, threads,
            precision, route.
        confidence: whether to write confidence maps.
        overlay: whether to write overlays.
        probe_every: measure agreement and consistency on one frame of so many; 0: not; None: 10 without
            labels, else not.

    Raises:
        ValueError: settings that do not fit together.
    """

    bag: str
    out: str
    checkpoint: str | None = None
    eo: str | None = None
    ir: str | None = None
    labels: str | None = None
    start_s: float = 0.0
    end_s: float | None = None
    injections: tuple[Injection, ...] = ()
    parameters: str | None = None
    engine: str | None = None
    device: str | None = None
    threads: int | None = None
    precision: str | None = None
    route: str | None = None
    confidence: bool = False
    overlay: bool = False
    probe_every: int | None = None

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        if self.start_s < 0 or (self.end_s is not None and self.end_s <= self.start_s):
            raise ValueError(f"from {self.start_s:g} to {self.end_s} s is no stretch of a bag")
        if self.probe_every is not None and self.probe_every < 0:
            raise ValueError(f"probe_every is {self.probe_every}: use 0 or more")

    @property
    def label_folder(self) -> LabelFolder | None:
        """The folder of labels, if labels come from one."""
        given = self.labels
        return LabelFolder(given) if given and given != NONE and Path(given).is_dir() else None

    def node_parameters(self) -> dict[str, Any]:
        """The node's parameters that are set, by name: those of the file, then those given here.

        Raises:
            ParameterFileError: if the file cannot be used.
        """
        names = ("engine", "device", "threads", "precision", "route")
        given = {name: getattr(self, name) for name in names}
        return read_parameters(self.parameters) | {
            name: value for name, value in given.items() if value is not None
        }
