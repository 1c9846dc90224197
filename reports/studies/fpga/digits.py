# pyright: basic
"""The network of the study's sweep: a small convolutional classifier, of a size that a board's memory holds.

``dse trace reports/studies/fpga/digits.py:build -o reports/studies/fpga/digits.jsonl.gz`` made the trace beside it.
"""

import torch
from torch import nn

__all__ = ["build"]


def build(batch: int = 1) -> tuple[nn.Module, torch.Tensor]:
    """Two convolutions and a classifier of 16 planes of 8x8."""
    network = nn.Sequential(
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1, stride=2, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, 16, bias=False),
    )
    return network, torch.zeros(batch, 16, 8, 8)
