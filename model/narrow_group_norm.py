"""Group normalisation whose groups are narrow, on CPUs."""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VECTOR = 16
"""bfloat16 numbers that a CPU's kernel for channels_last takes at once; groups that are no multiple of it, it takes one
by one."""
PIECE = 2**17
"""Numbers converted at a time, which then stay in the cache of a core."""


class NarrowGroupNorm(nn.GroupNorm):
    """`nn.GroupNorm`, through float32 on CPUs: in bfloat16, in channels_last and with groups of less than two vectors
    the kernel is two to six times slower than with both conversions. Elsewhere it is the plain one.
    """

    @staticmethod
    def is_called_for(norm: nn.GroupNorm) -> bool:
        width = norm.num_channels // norm.num_groups
        return width < 2 * VECTOR and width % VECTOR != 0

    @classmethod
    def of(cls, norm: nn.GroupNorm) -> Self:
        """With the weights of `norm`, which are shared."""
        own = cls(norm.num_groups, norm.num_channels, norm.eps, norm.affine, device="meta")
        own.weight, own.bias = norm.weight, norm.bias
        return own.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu" or input.dtype.itemsize > 2:
            return super().forward(input)
        weight, bias = (None if value is None else value.float() for value in (self.weight, self.bias))
        if torch.is_grad_enabled():
            return F.group_norm(input.float(), self.num_groups, weight, bias, self.eps).to(input.dtype)
        output = torch.empty_like(input)
        frames = max(1, PIECE // max(1, input[0].numel()))
        for given, norm in zip(input.split(frames), output.split(frames), strict=True):
            norm.copy_(F.group_norm(given.float(), self.num_groups, weight, bias, self.eps))
        return output


def with_quick_norms(network: nn.Module) -> None:
    """Puts a NarrowGroupNorm in the place of each norm in `network` that calls for one."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.GroupNorm and NarrowGroupNorm.is_called_for(child):
                setattr(module, name, NarrowGroupNorm.of(child))
