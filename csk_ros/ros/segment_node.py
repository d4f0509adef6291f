"""The lifecycle node ``segment``: EO and IR images in, one mask per anchor frame out.

Receives in the executor's thread, infers in a worker thread over a latest-only slot. Every frame ends up
answered or counted; ``/diagnostics`` carries the account.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from csk_ros.inference import CheckpointError, RebuildingSegmenter, Segmenter, SegmenterError
from csk_ros.inference.memory import share_one_pool
from csk_ros.modality import Modality
from csk_ros.perception import DropCause, PerceptionSettings
from csk_ros.ros.answerer import Answerer
from csk_ros.ros.diagnostics import frames_status, node_status, speed_status, stream_statuses
from csk_ros.ros.executor import build_executor
from csk_ros.ros.image_input import ImageInput
from csk_ros.ros.monitor import AnswerMonitor, memory
from csk_ros.ros.outputs import Outputs
from csk_ros.ros.parameters import NodeParameters, ParameterError
from csk_ros.ros.recovery import Recovery
from csk_ros.ros.refusal_log import RefusalLog
from csk_ros.ros.synchronizer import FallbackSynchronizer, Received
from csk_ros.ros.transitions import logged, refuse_impossible
from csk_ros.share import DEFAULT_CHECKPOINT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rclpy.executors import Executor
    from rclpy.lifecycle import LifecycleState

    from csk_ros.labels import LabelSet
    from csk_ros.modality import Route
    from csk_ros.perception import Decision

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)
_LOG_EVERY_S = 5.0
_LOOK_EVERY_S = 0.1
_ALARM_S = 0.001


class SegmentNode(LifecycleNode):
    """The node; docs/architecture.md has its topics and QoS, config/segment.yaml its parameters.

    Raises:
        ParameterError: if a parameter override has the wrong type or is out of range.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("segment", **options)
        refuse_impossible(self)
        self.problem = ""
        self.parameters = NodeParameters(self)
        self._segmenter: RebuildingSegmenter | None = None
        self._facts: dict[str, str] = {}
        self._routes: frozenset[Route] = frozenset()
        self._settings = PerceptionSettings()
        self._outputs: Outputs | None = None
        self._synchronizer: FallbackSynchronizer | None = None
        self._answerer: Answerer | None = None
        self._monitor = AnswerMonitor()
        self._inputs: list[ImageInput] = []
        self._given_up = ""
        # Reset by the worker; a guard condition would do, but rclpy's EventsExecutor takes none.
        self._alarm = self.create_timer(
            _ALARM_S, self._give_up, clock=Clock(clock_type=ClockType.STEADY_TIME), autostart=False
        )
        self._recovery = Recovery(self, self._recover)
        self._refusals = RefusalLog(lambda line: self.get_logger().error(line))
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._housekeeping = self.create_timer(
            self.parameters.diagnostics_period,
            self._keep_house,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        self.parameters.guard(
            fixed=lambda: self._segmenter is not None, check=self._check_changes, changed=self._apply_changes
        )

    @property
    def state(self) -> str:
        """The lifecycle state's label."""
        return str(self._state_machine.current_state[1])

    def start(self) -> None:
        """Configure and activate, as far as it goes; why it went no further is logged."""
        if self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    @logged
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up; a failure names its reason once and leaves the node unconfigured."""
        started = time.monotonic()
        self._recovery.cancel()
        try:
            self.parameters.check()
            label_set = self._load()
        except (ParameterError, CheckpointError, SegmenterError, FileNotFoundError) as error:
            self._segmenter = None
            self.problem = str(error)
            self.get_logger().error(f"cannot configure: {error}")
            return FAILURE
        self.problem = self._given_up = ""
        parameters = self.parameters
        self._outputs = Outputs(
            self, label_set, confidence=parameters.confidence, opacity=parameters.overlay_opacity
        )
        self.get_logger().info(
            f"configured in {time.monotonic() - started:.1f} s: {parameters.checkpoint_path()} "
            f"with {self._facts['engine']} on {self._facts['device']}"
        )
        return super().on_configure(state)

    @logged
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and answer."""
        result = super().on_activate(state)
        assert self._outputs and self._segmenter  # noqa: S101, PT018 (configured: the state machine sees to it)
        self._outputs.publish_label_info()
        self._synchronizer = FallbackSynchronizer(
            self,
            self._settings,
            deliver=self._submit,
            refuse=self._refusals,
            max_pixels=self.parameters.max_pixels,
        )
        self._monitor = AnswerMonitor()
        self._answerer = Answerer(
            self._segmenter,
            self._outputs,
            self._synchronizer,
            refuse=self._refusals,
            give_up=self._ask_to_give_up,
            logger=self.get_logger(),
        )
        # EO first: of two frames that arrive together, EO is then known when IR asks for it.
        for modality in (Modality.EO, Modality.IR):
            self._inputs.append(self._subscribe(modality, self._synchronizer))
        self.get_logger().info("active")
        return result

    @logged
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and stop; what was in hand is counted as dropped.

        When the engine was given up this is where the node turns to its error processing.
        """
        if self._given_up:
            self.get_logger().error(f"engine given up: {self._given_up}")
            return ERROR
        self._stop()
        return super().on_deactivate(state)

    @logged
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the network and its memory."""
        self._release()
        self.problem = ""
        return super().on_cleanup(state)

    @logged
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free, from whatever state."""
        self._recovery.cancel()
        self._stop()
        self._release()
        return super().on_shutdown(state)

    @logged
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to unconfigured with everything freed; the reason stays in the diagnostics."""
        if self._given_up:
            self.problem = f"engine given up: {self._given_up}"
        self._stop()
        self._release()
        if self._given_up and self.parameters.auto_recover:
            self._recovery.schedule()
        return super().on_error(state)

    def destroy_node(self) -> None:
        """Stop the worker, then take the node off the graph."""
        self._recovery.cancel()
        self._stop()
        super().destroy_node()

    def _load(self) -> LabelSet:
        """Load the network and take what is known of it; returns its classes."""
        self._segmenter = RebuildingSegmenter(self._load_segmenter, self.parameters.engine_failures)
        segmenter = self._segmenter.segmenter
        assert segmenter  # noqa: S101 (just built)
        self._facts = {
            "engine": segmenter.engine,
            "device": segmenter.device,
            "precision": segmenter.precision,
        }
        self._routes = segmenter.routes
        self._settings = self._perception_settings()
        return segmenter.label_set

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
            precision=parameters.precision,
            report=self.get_logger().info,
        )
        segmenter.warm_up()
        return segmenter

    def _perception_settings(self, changes: Mapping[str, Any] | None = None) -> PerceptionSettings:
        """The parameters' settings, held to the routes that the network has."""
        settings = self.parameters.perception_settings(changes)
        try:
            return settings.held_to(self._routes)
        except ValueError as error:
            raise ParameterError(f"parameter {error}") from error

    def _check_changes(self, changes: Mapping[str, Any]) -> None:
        if self._segmenter:
            self._perception_settings(changes)
        else:
            self.parameters.perception_settings(changes)

    def _apply_changes(self) -> None:
        """Take over the parameters that may change at any time."""
        self._housekeeping.timer_period_ns = int(self.parameters.diagnostics_period * 1e9)
        if not (self._segmenter and self._outputs):
            return
        self._settings = self._perception_settings()
        self._outputs.opacity = self.parameters.overlay_opacity
        if self._synchronizer:
            self._synchronizer.configure(self._settings)

    def _stop(self) -> None:
        for image_input in self._inputs:
            image_input.close()
        self._inputs.clear()
        if self._answerer and self._synchronizer:
            ended = self._answerer.stop(self.parameters.engine_timeout - self._answerer.busy_s)
            if not ended:
                self.get_logger().error("the engine still works on a frame: its thread is left behind")
                self._segmenter = None
            self._synchronizer.close(DropCause.SHUTDOWN if ended else DropCause.ENGINE_STUCK)
            if self.context.ok():
                self._report()  # the last that is heard of this account
        self._answerer = self._synchronizer = None

    def _release(self) -> None:
        if self._outputs:
            self._outputs.destroy()
        if self._segmenter:
            self._segmenter.close()
        self._outputs = self._segmenter = None

    def _ask_to_give_up(self, reason: str) -> None:
        """From any thread."""
        self._given_up = reason
        self._alarm.reset()

    def _give_up(self) -> None:
        self._alarm.cancel()
        if self._given_up and self.state == "active":
            self.trigger_deactivate()

    def _recover(self) -> bool:
        """Try to be active again; whether that settled it."""
        if self.state == "unconfigured":
            self.start()
        return self.state != "unconfigured"

    def _subscribe(self, modality: Modality, synchronizer: FallbackSynchronizer) -> ImageInput:
        compressed = getattr(self.parameters, f"{modality.value}_transport") == "compressed"
        topic = f"{modality.value}/image{'/compressed' if compressed else ''}"
        overridden = self.parameters.overrides_qos_of(self.resolve_topic_name(topic))
        image_input = ImageInput(self, topic, compressed=compressed, overridden=overridden)
        synchronizer.connect(modality, image_input)
        return image_input

    def _submit(self, decision: Decision[Received]) -> None:
        if self._answerer:
            self._answerer.submit(decision)

    def _keep_house(self) -> None:
        """Follow the publishers' QoS, look over who listens and after the engine, report."""
        for image_input in self._inputs:
            image_input.follow()
        if self._outputs:
            self._outputs.look_over()
        if self._answerer and self._answerer.busy_s > self.parameters.engine_timeout:
            self._given_up = f"no answer for {self._answerer.busy_s:.1f} s"
            self._give_up()
        self._report()

    def _report(self) -> None:
        array = DiagnosticArray()
        array.header.stamp = self.get_clock().now().to_msg()
        array.status = self._statuses()
        for status in array.status:  # several nodes share the topic
            status.name = f"{self.get_fully_qualified_name().lstrip('/')}: {status.name}"
        self._diagnostics.publish(array)

    def _statuses(self) -> list[DiagnosticStatus]:
        synchronizer = self._synchronizer
        facts = {
            "checkpoint": self.parameters.checkpoint or DEFAULT_CHECKPOINT,
            "executor": type(self.executor).__name__,
        } | memory(self._facts.get("device", "cpu"))
        if self._segmenter:
            facts |= self._facts | {"engine_rebuilds": str(self._segmenter.rebuilds)}
        statuses = [node_status(self.state, self.problem, facts)]
        if synchronizer:
            account = synchronizer.account()
            problem, severe = self._monitor.judge(account, time.monotonic())
            statuses.append(frames_status(account, problem, severe=severe))
            statuses += stream_statuses(synchronizer.streams())
        if self._answerer:
            statuses.append(speed_status(self._answerer.times.take()))
        return statuses


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is interrupted; returns the exit code."""
    # Under `ros2 launch` Ctrl-C comes twice, from the terminal and from launch; neither may cut short what
    # the node is doing, be it a transition or the clean-up. rclpy's own handlers take its context away.
    interrupted = threading.Event()
    _on_signals(lambda *_: interrupted.set())
    share_one_pool()
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = SegmentNode()
        executor = build_executor(node.parameters.executor)
    except ParameterError as error:
        rclpy.logging.get_logger("segment").fatal(str(error))
        rclpy.try_shutdown()
        return 1
    executor.add_node(node)
    try:
        if node.parameters.autostart:
            node.start()
        while not interrupted.is_set():
            _spin_once(executor, node)
    except ExternalShutdownException:
        pass  # somebody shut the context down
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
        _on_signals(signal.SIG_IGN)
    return 0


def _spin_once(executor: Executor, node: SegmentNode) -> None:
    """Run what is due; an error in one callback is logged and ends nothing else."""
    try:
        executor.spin_once(timeout_sec=_LOOK_EVERY_S)
    except ExternalShutdownException:
        raise
    except Exception:  # noqa: BLE001 (whatever it is, a robot wants the next frame)
        node.get_logger().error(
            f"error in a callback:\n{traceback.format_exc()}", throttle_duration_sec=_LOG_EVERY_S
        )


def _on_signals(handler: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
