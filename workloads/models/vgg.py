"""VGG-16: Simonyan and Zisserman 2015, configuration D."""

from __future__ import annotations

import torch
from torch import nn

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels and convolutions of each


class VGG16(nn.Module):
    """Thirteen 3x3 convolutions with ReLU, a maximum pool after each of five stages, three linear layers."""

    def __init__(self, classes: int = 1000, image: int = 224, dropout: float = 0.5) -> None:
        super().__init__()
        inputs = 3
        for stage, (channels, count) in enumerate(STAGES):
            layers: list[nn.Module] = []
            for _ in range(count):
                layers += [nn.Conv2d(inputs, channels, 3, padding=1), nn.ReLU()]
                inputs = channels
            self.add_module(f"stage{stage + 1}", nn.Sequential(*layers, nn.MaxPool2d(2)))
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(inputs * (image // 32) ** 2, 4096)
        self.relu1 = nn.ReLU()
        self.drop1 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(4096, 4096)
        self.relu2 = nn.ReLU()
        self.drop2 = nn.Dropout(dropout)
        self.fc3 = nn.Linear(4096, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits of shape ``(batch, classes)`` for ``x`` of shape ``(batch, 3, image, image)``."""
        for stage in range(len(STAGES)):
            x = self.get_submodule(f"stage{stage + 1}")(x)
        x = self.drop1(self.relu1(self.fc1(self.flatten(x))))
        out: torch.Tensor = self.fc3(self.drop2(self.relu2(self.fc2(x))))
        return out
