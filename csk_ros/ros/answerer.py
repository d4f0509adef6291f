"""From decisions to masks on topics, in a thread of its own, whatever becomes of the engine."""

from __future__ import annotations

import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

from csk_ros.inference import EngineFailure, InputError
from csk_ros.messages import ImageError, read_eo, read_ir
from csk_ros.perception import DropCause
from csk_ros.ros.monitor import StageTimes
from csk_ros.ros.worker import LatestOnlyWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.impl.rcutils_logger import RcutilsLogger

    from csk_ros.inference import RebuildingSegmenter
    from csk_ros.modality import Modality
    from csk_ros.perception import Decision, Frame
    from csk_ros.ros.outputs import Outputs
    from csk_ros.ros.synchronizer import FallbackSynchronizer, Received

_LOG_EVERY_S = 5.0
_MS = 1e-6


class Answerer:
    """Answers the newest decision, and tells the synchronizer exactly one outcome of each.

    Args:
        segmenter: what answers.
        outputs: where masks are published.
        synchronizer: whose decisions are answered.
        refuse: called with the modality and the reason of an image that cannot be read.
        give_up: called in the worker's thread with the reason when the engine has failed for good.
        logger: the node's.

    Attributes:
        times: of the stages of each frame.
    """

    def __init__(
        self,
        segmenter: RebuildingSegmenter,
        outputs: Outputs,
        synchronizer: FallbackSynchronizer,
        *,
        refuse: Callable[[Modality, str], None],
        give_up: Callable[[str], None],
        logger: RcutilsLogger,
    ) -> None:
        self._segmenter, self._outputs, self._synchronizer = segmenter, outputs, synchronizer
        self._refuse, self._give_up, self._logger = refuse, give_up, logger
        self.times = StageTimes()
        self._open = True
        self._telling = threading.Lock()
        self._worker: LatestOnlyWorker[Decision[Received]] = LatestOnlyWorker(
            self._answer, self._supersede, name="segment-worker"
        )

    @property
    def busy_s(self) -> float:
        """How long it has been at its present frame, 0 if it has none."""
        return self._worker.busy_s

    def submit(self, decision: Decision[Received]) -> None:
        """Answer this one next, in place of one that waits."""
        self._worker.submit(decision)

    def stop(self, patience_s: float | None = None) -> bool:
        """Finish the frame in hand; nothing is told or published afterwards.

        Args:
            patience_s: how long to wait for that frame; None waits as long as it takes.

        Returns:
            Whether it was finished. If not, the engine still holds its thread and its memory.
        """
        ended = self._worker.stop(None if patience_s is None else max(patience_s, 0))
        with self._telling:
            self._open = False
        return ended

    def _supersede(self, decision: Decision[Received]) -> None:
        self._synchronizer.dropped(decision, DropCause.SUPERSEDED)

    def _answer(self, decision: Decision[Received]) -> None:
        try:
            cause = self._attempt(decision)
        except Exception:  # noqa: BLE001 (an error of ours or the middleware's costs one frame, not the thread)
            self._log(f"{decision.route.value} frame dropped:\n{traceback.format_exc()}")
            cause = DropCause.FAILED
        if cause:
            with self._telling:
                if self._open:
                    self._synchronizer.dropped(decision, cause)

    def _attempt(self, decision: Decision[Received]) -> DropCause | None:
        """Why there is no mask; None if it is published and counted."""
        if self._segmenter.exhausted():
            return DropCause.ENGINE_FAILED
        started = time.monotonic_ns()
        self.times.add("wait", (decision.decided_ns - decision.anchor.arrival_ns) * _MS)
        self.times.add("slot", (started - decision.decided_ns) * _MS)
        eo, ir = self._read(decision.eo, read_eo), self._read(decision.ir, read_ir)
        self.times.add("read", (time.monotonic_ns() - started) * _MS)
        if (ir if decision.ir else eo) is None:
            return DropCause.UNREADABLE
        try:
            sure = self._outputs.confidence_is_heard
            segmentation = self._segmenter.segment(eo=eo, ir=ir, confidence=sure)
        except InputError as error:
            self._log(f"{decision.route.value} frame dropped: {error}")
            return DropCause.UNREADABLE
        except EngineFailure as error:
            self._log(f"{decision.route.value} frame dropped, the engine is built anew: {error}")
            if self._segmenter.exhausted() and self._open:
                self._give_up(str(error))
            return DropCause.ENGINE_FAILED
        for stage in ("prepare", "network", "answer"):
            self.times.add(stage, segmentation.timings[stage])
        with self._telling:
            if self._open:
                started = time.monotonic_ns()
                self._outputs.publish(segmentation, decision.anchor.payload.message.header, eo=eo, ir=ir)
                self._synchronizer.answered(decision, route=segmentation.route)
                ended = time.monotonic_ns()
                self.times.add("publish", (ended - started) * _MS)
                whole = (ended - decision.decided_ns) * _MS
                self.times.add("around", whole - segmentation.timings["network"])
        return None

    def _read(self, frame: Frame[Received] | None, read: Callable[[Any], Any]) -> Any:
        """The pixels of a frame; None where there is none or it cannot be read."""
        if frame is None:
            return None
        try:
            return read(frame.payload.image)
        except ImageError as error:
            self._refuse(frame.modality, str(error))
            return None

    def _log(self, text: str) -> None:
        self._logger.error(text, throttle_duration_sec=_LOG_EVERY_S)
