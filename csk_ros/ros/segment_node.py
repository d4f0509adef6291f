"""The lifecycle node ``segment``: EO and IR images in, one mask per anchor frame out.

Receives in the executor's thread, infers in a worker thread over a latest-only slot. Every frame ends up
answered or counted; ``/diagnostics`` carries the account.
"""

from __future__ import annotations

import dataclasses
import functools
import signal
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from csk_ros.inference import CheckpointError, Segmenter, SegmenterError
from csk_ros.messages import ImageError, read_eo, read_ir
from csk_ros.modality import Modality
from csk_ros.perception import DropCause, PerceptionSettings
from csk_ros.ros.diagnostics import frames_status, node_status, stream_statuses
from csk_ros.ros.image_input import ImageInput
from csk_ros.ros.outputs import Outputs
from csk_ros.ros.parameters import NodeParameters, ParameterError
from csk_ros.ros.refusal_log import RefusalLog
from csk_ros.ros.synchronizer import FallbackSynchronizer
from csk_ros.ros.worker import LatestOnlyWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rclpy.lifecycle import LifecycleState

    from csk_ros.modality import Route
    from csk_ros.perception import Decision, Frame

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)
_HOUSEKEEPING_S = 1.0
_LOG_EVERY_S = 5.0
_LOOK_EVERY_S = 0.1


def _logged(transition: Callable[..., TransitionCallbackReturn]) -> Callable[..., TransitionCallbackReturn]:
    """Log what a transition raises: rclpy turns it into ERROR without a word."""

    @functools.wraps(transition)
    def run(node: SegmentNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception as error:
            node.get_logger().error(f"{transition.__name__} failed:\n{traceback.format_exc()}")
            node.problem = f"{transition.__name__}: {error}"
            raise

    return run


class SegmentNode(LifecycleNode):
    """The node; docs/architecture.md has its topics and QoS, config/segment.yaml its parameters.

    Raises:
        ParameterError: if a parameter override has the wrong type or is out of range.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("segment", **options)
        self.problem = ""
        self.parameters = NodeParameters(self)
        self._segmenter: Segmenter | None = None
        self._settings = PerceptionSettings()
        self._outputs: Outputs | None = None
        self._synchronizer: FallbackSynchronizer | None = None
        self._worker: LatestOnlyWorker[Decision[Any]] | None = None
        self._inputs: list[ImageInput] = []
        self._refusals = RefusalLog(lambda line: self.get_logger().error(line))
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._housekeeping = self.create_timer(
            _HOUSEKEEPING_S, self._keep_house, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    @property
    def state(self) -> str:
        """The lifecycle state's label."""
        return str(self._state_machine.current_state[1])

    def start(self) -> None:
        """Configure and activate, as far as it goes; why it went no further is logged."""
        if self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    @_logged
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up; a failure names its reason once and leaves the node unconfigured."""
        started = time.monotonic()
        try:
            self.parameters.check()
            self._segmenter = self._load_segmenter()
            self._settings = self._perception_settings(self._segmenter.routes)
        except (ParameterError, CheckpointError, SegmenterError, FileNotFoundError) as error:
            self.problem = str(error)
            self.get_logger().error(f"cannot configure: {error}")
            return FAILURE
        self.problem = ""
        parameters = self.parameters
        self._outputs = Outputs(
            self,
            self._segmenter.label_set,
            confidence=parameters.confidence,
            opacity=parameters.overlay_opacity,
        )
        self.get_logger().info(
            f"configured in {time.monotonic() - started:.1f} s: {parameters.checkpoint_path()} "
            f"with {self._segmenter.engine} on {self._segmenter.device}"
        )
        return super().on_configure(state)

    @_logged
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and answer."""
        result = super().on_activate(state)
        assert self._outputs  # noqa: S101 (configured: the state machine sees to it)
        self._outputs.publish_label_info()
        self._synchronizer = FallbackSynchronizer(
            self,
            self._settings,
            deliver=self._submit,
            refuse=self._log_refusal,
            max_pixels=self.parameters.max_pixels,
        )
        self._worker = LatestOnlyWorker(self._answer, self._supersede, name="segment-worker")
        # EO first: of two frames that arrive together, EO is then known when IR asks for it.
        for modality in (Modality.EO, Modality.IR):
            self._inputs.append(self._subscribe(modality, self._synchronizer))
        self.get_logger().info("active")
        return result

    @_logged
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and stop; what was in hand is counted as dropped by the shutdown."""
        self._stop()
        return super().on_deactivate(state)

    @_logged
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the network and its memory."""
        self._release()
        return super().on_cleanup(state)

    @_logged
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free, from whatever state."""
        self._stop()
        self._release()
        return super().on_shutdown(state)

    @_logged
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to unconfigured with everything freed; the reason stays in the diagnostics."""
        self._stop()
        self._release()
        return super().on_error(state)

    def destroy_node(self) -> None:
        """Stop the worker, then take the node off the graph."""
        self._stop()
        super().destroy_node()

    def _load_segmenter(self) -> Segmenter:
        parameters = self.parameters
        segmenter = Segmenter.from_checkpoint(
            parameters.checkpoint_path(),
            engine=parameters.engine,
            device=parameters.device,
            height=parameters.height or None,
            width=parameters.width or None,
            confidence=parameters.confidence,
            threads=parameters.threads,
        )
        segmenter.warm_up()
        return segmenter

    def _perception_settings(self, routes: frozenset[Route]) -> PerceptionSettings:
        """The parameters' settings, held to the routes that the network has."""
        settings = self.parameters.perception_settings()
        if settings.route is None and len(routes) == 1:
            return dataclasses.replace(settings, route=next(iter(routes)))
        if settings.route and settings.route not in routes:
            names = ", ".join(sorted(route.value.lower() for route in routes))
            raise ParameterError(f"parameter 'route' is '{self.parameters.route}': this network runs {names}")
        return settings

    def _stop(self) -> None:
        for image_input in self._inputs:
            image_input.close()
        self._inputs.clear()
        if self._worker and self._synchronizer:
            self._worker.stop()
            self._synchronizer.close()
        self._worker = self._synchronizer = None

    def _release(self) -> None:
        if self._outputs:
            self._outputs.destroy()
        self._outputs = self._segmenter = None

    def _subscribe(self, modality: Modality, synchronizer: FallbackSynchronizer) -> ImageInput:
        compressed = getattr(self.parameters, f"{modality.value}_transport") == "compressed"
        topic = f"{modality.value}/image{'/compressed' if compressed else ''}"
        overridden = self.parameters.overrides_qos_of(self.resolve_topic_name(topic))
        image_input = ImageInput(self, topic, compressed=compressed, overridden=overridden)
        synchronizer.connect(modality, image_input)
        return image_input

    def _submit(self, decision: Decision[Any]) -> None:
        if self._worker:
            self._worker.submit(decision)

    def _supersede(self, decision: Decision[Any]) -> None:
        if self._synchronizer:
            self._synchronizer.dropped(decision, DropCause.SUPERSEDED)

    def _answer(self, decision: Decision[Any]) -> None:
        """Segment one decision and publish; runs in the worker and reports exactly one outcome."""
        synchronizer, segmenter, outputs = self._synchronizer, self._segmenter, self._outputs
        if not (synchronizer and segmenter and outputs):
            return
        try:
            eo = self._read(decision.eo, read_eo)
            ir = self._read(decision.ir, read_ir)
            if (ir if decision.ir else eo) is None:
                synchronizer.dropped(decision, DropCause.UNREADABLE)
                return
            segmentation = segmenter.segment(eo=eo, ir=ir)
            outputs.publish(segmentation, decision.anchor.payload.header, eo=eo, ir=ir)
        except Exception as error:  # noqa: BLE001 (whatever an engine raises costs one frame, not the node)
            synchronizer.dropped(decision, DropCause.ENGINE_FAILED)
            if self.context.ok():
                self.get_logger().error(
                    f"{decision.route.value} frame dropped: {type(error).__name__}: {error}",
                    throttle_duration_sec=_LOG_EVERY_S,
                )
        else:
            synchronizer.answered(decision, route=segmentation.route)

    def _read(self, frame: Frame[Any] | None, read: Callable[[Any], Any]) -> Any:
        """The pixels of a frame; None where there is none or it cannot be read, which is logged."""
        if frame is None:
            return None
        try:
            return read(frame.payload)
        except ImageError as error:
            self._log_refusal(frame.modality, str(error))
            return None

    def _log_refusal(self, modality: Modality, reason: str) -> None:
        self._refusals(modality, reason)

    def _keep_house(self) -> None:
        """Once a second: follow the publishers' QoS, report."""
        for image_input in self._inputs:
            image_input.follow()
        array = DiagnosticArray()
        array.header.stamp = self.get_clock().now().to_msg()
        array.status = self._statuses()
        self._diagnostics.publish(array)

    def _statuses(self) -> list[DiagnosticStatus]:
        segmenter, synchronizer = self._segmenter, self._synchronizer
        facts = {"checkpoint": self.parameters.checkpoint or "default"}
        if segmenter:
            facts |= {"engine": segmenter.engine, "device": segmenter.device}
        statuses = [node_status(self.state, self.problem, facts)]
        if synchronizer:
            statuses.append(frames_status(synchronizer.account()))
            statuses += stream_statuses(synchronizer.streams())
        return statuses


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is interrupted; returns the exit code."""
    # Under `ros2 launch` Ctrl-C comes twice, from the terminal and from launch; neither may cut short what
    # the node is doing, be it a transition or the clean-up. rclpy's own handlers take its context away.
    interrupted = threading.Event()
    _on_signals(lambda *_: interrupted.set())
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = SegmentNode()
    except ParameterError as error:
        rclpy.logging.get_logger("segment").fatal(str(error))
        rclpy.try_shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if node.parameters.autostart:
            node.start()
        while not interrupted.is_set():
            executor.spin_once(timeout_sec=_LOOK_EVERY_S)
    except ExternalShutdownException:
        pass  # somebody shut the context down
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
        _on_signals(signal.SIG_IGN)
    return 0


def _on_signals(handler: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
