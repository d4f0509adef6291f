"""The seam between the segmenter, which knows images, and an engine, which knows the network."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from csk_ros.inference.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    import torch

    from csk_ros.inference.model_cache import ModelCache
    from csk_ros.modality import Modality
    from csk_ros.network import Checkpoint


AUTO = "auto"
"""The precision that suits the engine, the checkpoint and the machine."""


def _say_nothing(_: str) -> None:
    pass


@dataclass(frozen=True)
class EngineOptions:
    """What engines are told besides network and device.

    Attributes:
        precision: what to compute in; one of the engine's :attr:`Engine.precisions`, or :data:`AUTO` for
            :func:`csk_ros.inference.engines.build_engine`.
        threads: CPU threads of the network; ``None`` takes as many as torch has and leaves those as they are.
        confidence: whether answers with the confidence will be asked for.
        cache: where compiled models are kept between runs; None keeps them nowhere.
        report: called with a line when something takes seconds.
    """

    precision: str = "float32"
    threads: int | None = None
    confidence: bool = True
    cache: ModelCache | None = None
    report: Callable[[str], None] = _say_nothing


DEFAULT_OPTIONS = EngineOptions()


class Engine(ABC):
    """Runs the routes of one network on one device, from image levels to label ids.

    Attributes:
        name: the name by which users ask for it.
        precisions: what it can be asked for; building it tells whether the device can do it.
        device: where it takes its inputs and leaves its answers.
        runs_on: what runs the network.
        precision: what it computes in.
        spare_cores: how many CPU cores it leaves to other processes by itself.
    """

    name: ClassVar[str]
    precisions: ClassVar[tuple[str, ...]]
    spare_cores: ClassVar[int] = 0
    device: torch.device
    runs_on: torch.device
    precision: str

    @classmethod
    def check_precision(cls, precision: str) -> None:
        """Refuse a precision that no device computes in with this engine.

        Raises:
            EngineError: it says what there is.
        """
        if precision not in cls.precisions:
            known = ", ".join(cls.precisions)
            raise EngineError(f"precision of engine {cls.name} must be one of {known}, not {precision!r}")

    @classmethod
    def suitable_precision(
        cls,
        checkpoint: Checkpoint,  # noqa: ARG003
        device: torch.device,  # noqa: ARG003
        options: EngineOptions,  # noqa: ARG003
    ) -> str:
        """The precision that suits a checkpoint, this engine and this machine; ``options`` says which."""
        return "float32"

    @classmethod
    def suitable_threads(cls) -> int:
        """CPU threads that suit this engine on this machine."""
        return max(len(os.sched_getaffinity(0)) - cls.spare_cores, 1)

    def stream(self) -> AbstractContextManager[Any]:
        """To upload, call :meth:`maps` and download in: an engine may have a CUDA stream of its own."""
        return nullcontext()

    @abstractmethod
    def maps(
        self, images: dict[Modality, torch.Tensor], size: tuple[int, int], *, confidence: bool
    ) -> torch.Tensor:
        """Label ids, and confidence if asked for, by the route that the images make.

        Args:
            images: levels 0 to 255 on :attr:`device`, uint8 or float32, of one H and W: EO (1, H, W, 3), IR
                (1, H, W, 1).
            size: height and width of the answer.
            confidence: whether it is wanted; never where the engine was built without.

        Returns:
            uint8 (1 or 2, height, width) on :attr:`device`: ids, and ``round(255 * greatest softmax
            probability)``; the caller's to keep.
        """
