"""The torch engine: eager torch on the CPU or on CUDA.

Checked on the CPU; the CUDA path uses the same code and has not been run on a GPU yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from csk_ros.inference.engines.base import Engine
from csk_ros.inference.errors import EngineError
from csk_ros.network import fold_batch_norms

if TYPE_CHECKING:
    from csk_ros.modality import Modality
    from csk_ros.network import Checkpoint

PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class TorchEngine(Engine):
    """A copy of the network with folded batch norms and channels-last weights.

    Folding makes a shared convolution into one per modality, so every route has weights of its own.

    Args:
        checkpoint: whose network to run; it is not changed.
        device: CPU or CUDA.
        precision: ``float32``, or on CUDA ``float16`` or ``bfloat16`` for autocast.
        threads: CPU threads of torch in the whole process; ``None`` leaves them as they are.

    Raises:
        EngineError: for another precision, a reduced one on the CPU, or a device that refuses the network.
    """

    name = "torch"
    precisions = tuple(PRECISIONS)
    # Torch's threads wait for each other at every layer: with one of two cores taken by another process, two
    # threads were ten times as slow as one.
    spare_cores = 1

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: torch.device,
        precision: str = "float32",
        threads: int | None = None,
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        if precision not in PRECISIONS:
            raise EngineError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
        if precision != "float32" and device.type != "cuda":
            raise EngineError(f"precision {precision} needs a CUDA device: use float32 on {device}")
        self.device = device
        self._dtype = PRECISIONS[precision]
        folded = fold_batch_norms(checkpoint.network).requires_grad_(requires_grad=False)
        try:
            self._network = folded.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        except RuntimeError as error:  # a full, exclusive or broken device
            raise EngineError(f"{device} cannot take the network: {str(error).splitlines()[0]}") from error

    def logits(self, images: dict[Modality, torch.Tensor]) -> torch.Tensor:
        """Logits of the route that the images make; see :class:`Engine`."""
        inputs = {
            modality.value: x.contiguous(memory_format=torch.channels_last) for modality, x in images.items()
        }
        reduced = self._dtype is not torch.float32
        with torch.inference_mode(), torch.autocast(self.device.type, self._dtype, enabled=reduced):
            logits: torch.Tensor = self._network(**inputs)
        return logits.float()
