"""What rclpy keeps to itself about lifecycle transitions: why one failed, and that one cannot be."""

from __future__ import annotations

import functools
import traceback
from typing import TYPE_CHECKING, Any

from rclpy.impl.implementation_singleton import rclpy_implementation

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn


def logged(transition: Callable[..., TransitionCallbackReturn]) -> Callable[..., TransitionCallbackReturn]:
    """Log what a transition raises and keep it as ``problem``: rclpy turns it into ERROR in silence."""

    @functools.wraps(transition)
    def run(node: Any, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception as error:
            node.get_logger().error(f"{transition.__name__} failed:\n{traceback.format_exc()}")
            node.problem = f"{transition.__name__}: {error}"
            raise

    return run


def refuse_impossible(node: LifecycleNode) -> None:
    """Answer requests for transitions that the present state does not have; rclpy lets them wait for ever."""
    service = node._service_change_state  # noqa: SLF001 (rclpy has no other way)
    change = service.callback

    def change_or_refuse(request: Any, response: Any) -> Any:
        try:
            return change(request, response)
        except rclpy_implementation.RCLError:  # rcl has logged it
            response.success = False
            return response

    service.callback = change_or_refuse
