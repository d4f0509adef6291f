"""What a live replay does, checked before anything starts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from csk_ros.modality import Modality
    from csk_ros.replay.injection import Injection

_RATES = (0.01, 100.0)


@dataclass(frozen=True)
class LiveSettings:
    """What to play to which node.

    Attributes:
        bag: what to play.
        masks: path of the new bag with what the node answers.
        eo: topic of the bag with optical images; None finds it, ``none`` takes none.
        ir: likewise the thermal images.
        labels: likewise label maps.
        injections: what is done to the streams.
        start_s: where to begin, in seconds since the bag's start.
        end_s: where to end.
        rate: how much faster than recorded.
        loop: how often to play the bag; 0 goes on until Ctrl-C.
        clock: publish ``/clock`` and leave the stamps as they are; a node of its own takes its time from it.
        node: name of a running node, with its namespace, if it has one: ``front/segment``; None starts one.
        parameters_file: YAML file for a node of its own.
        parameters: of a node of its own, by name, such as ``checkpoint`` or ``engine``; go before the file.
        log: for what a node of its own prints; None: ``node.log`` beside the masks.
        publish: topic to publish the images of a stream on; default: ``eo/image`` and ``ir/image`` in the
            node's namespace, with ``/compressed`` for compressed ones.
        labels_at: gives the labels of a stamp of the bag, (H, W) uint8 ids, in place of a topic.
        labels_from: where these come from, in words.
        active_s: how long the node may take to be active, in seconds.
        match_s: how long its topics may take to match ours.
        settle_s: how long to wait after the last image for the node to account for all of them.
        progress: show a progress bar on stderr.

    Raises:
        ValueError: a value that cannot be; names it and what can.
    """

    bag: Path
    masks: Path
    eo: str | None = None
    ir: str | None = None
    labels: str | None = None
    injections: tuple[Injection, ...] = ()
    start_s: float = 0.0
    end_s: float = math.inf
    rate: float = 1.0
    loop: int = 1
    clock: bool = False
    node: str | None = None
    parameters_file: Path | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None
    publish: Mapping[Modality, str] = field(default_factory=dict)
    labels_at: Callable[[int], NDArray[np.uint8] | None] | None = None
    labels_from: str = ""
    active_s: float = 120.0
    match_s: float = 30.0
    settle_s: float = 15.0
    progress: bool = True

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        low, high = _RATES
        if not low <= self.rate <= high:
            raise ValueError(f"rate is {self.rate:g}: use {low:g} to {high:g}; 2 plays twice as fast")
        if self.loop < 0:
            raise ValueError(
                f"loop is {self.loop}: use how often to play the bag, or 0 to go on until Ctrl-C"
            )
        if not 0 <= self.start_s < self.end_s:
            raise ValueError(
                f"start is {self.start_s:g} and end is {self.end_s:g}: use seconds since the bag's start, "
                "the end after the start"
            )
        self._check_node()

    def _check_node(self) -> None:
        if self.node is not None and not self.node.strip("/"):
            raise ValueError(
                "node is empty: use the name of a running node, such as segment or front/segment"
            )
        if self.node is not None and (self.parameters or self.parameters_file):
            given = ", ".join([*self.parameters, *(["parameters_file"] if self.parameters_file else [])])
            raise ValueError(
                f"{given}: the running node {self.node} has its parameters already; leave node out"
            )
        if self.parameters_file is not None and not Path(self.parameters_file).is_file():
            raise ValueError(f"parameters_file is {self.parameters_file}: there is no such file")
