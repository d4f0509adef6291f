"""Convolution with TensorFlow's ``SAME`` padding."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class SameConv2d(nn.Conv2d):
    """A ``Conv2d`` whose output has ``ceil(size / stride)`` rows and columns, padded as TensorFlow pads.

    What does not divide evenly goes to the bottom and right: a stride-2 3x3 convolution on an even
    size is padded by 0 at the top and left and by 1 at the bottom and right.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name in the parent class)
        """Convolve (N, C, H, W) to (N, C', ceil(H / stride), ceil(W / stride))."""
        top, bottom = self._padding(input.shape[-2], 0)
        left, right = self._padding(input.shape[-1], 1)
        if (top, left) != (bottom, right):
            input = functional.pad(input, (left, right, top, bottom))  # noqa: A001 (as above)
            top = left = 0
        return functional.conv2d(
            input, self.weight, self.bias, self.stride, (top, left), self.dilation, self.groups
        )

    def _padding(self, size: int, axis: int) -> tuple[int, int]:
        stride, kernel, dilation = self.stride[axis], self.kernel_size[axis], self.dilation[axis]
        outputs = -(-size // stride)
        total = max((outputs - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        return total // 2, total - total // 2


class PadFreeSameConv2d(nn.Module):
    """A 3x3 stride-2 :class:`SameConv2d` that pads its filters in place of the image.

    On an even size a 4x4 filter whose first row and column are zero, with padding 1 on every side, reads the
    same pixels as the 3x3 filter padded at the bottom and right only; that saves a copy of the image. On an
    odd size SAME is symmetric and the zero row or column is left out.
    """

    def __init__(self, conv: SameConv2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(functional.pad(conv.weight.detach(), (1, 0, 1, 0)), requires_grad=False)
        self.bias = conv.bias
        self.groups = conv.groups

    @staticmethod
    def fits(conv: nn.Conv2d) -> bool:
        """Whether it can take the place of ``conv``."""
        shape = (conv.kernel_size, conv.stride, conv.dilation)
        return isinstance(conv, SameConv2d) and shape == ((3, 3), (2, 2), (1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, C, H, W) to (N, C', ceil(H / 2), ceil(W / 2))."""
        weight = self.weight[:, :, x.shape[2] % 2 :, x.shape[3] % 2 :]
        return functional.conv2d(x, weight, self.bias, stride=2, padding=1, groups=self.groups)
