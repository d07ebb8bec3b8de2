"""Batch norms folded into the convolutions before them, for networks that only infer.

Does not know: any one network.
"""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fuse_batch_norms(network: nn.Module) -> nn.Module:
    """Replace every convolution and the batch norm that is registered right after it by one convolution with a bias, in place.

    In evaluation mode a batch norm is a fixed scale and shift of each channel, so that the function stays the same.
    """
    network.eval()
    for part in network.modules():
        names = list(part._modules)
        for first, second in zip(names, names[1:]):
            conv, norm = part._modules[first], part._modules[second]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                part._modules[first] = fuse_conv_bn_eval(conv, norm)
                part._modules[second] = nn.Identity()
    return network
