"""Modules to take apart: common kinds of networks, and ones that exporters stumble over."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Bottleneck(nn.Module):
    def __init__(self, inside: int, stride: int = 1, down: bool = False) -> None:
        super().__init__()
        outside, into = inside * 4, inside * 4 if not down else max(inside * 4 // 2, 16)
        self.conv1 = nn.Conv2d(into, inside, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv2 = nn.Conv2d(inside, inside, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inside)
        self.conv3 = nn.Conv2d(inside, outside, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outside)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            nn.Sequential(nn.Conv2d(into, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)) if down else None
        )

    def forward(self, x: Any) -> Any:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2))
        self.layer1 = nn.Sequential(Bottleneck(8, down=True), Bottleneck(8))
        self.layer2 = nn.Sequential(Bottleneck(16, 2, down=True), Bottleneck(16), Bottleneck(16))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        return self.fc(torch.flatten(self.pool(self.layer2(self.layer1(self.stem(x)))), 1))


class Digits(nn.Module):
    """The net of fixtures/digits, whose layers are called alike in every framework."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(12, 24, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(24)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(24, 10)

    def forward(self, x: Any) -> Any:
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        return self.head(torch.flatten(self.pool2(x), 1))


class StripesViT(nn.Module):
    """The vision transformer of fixtures/vit: patches of 4x4 of 32x40, a class token, two layers of two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 24, 4, 4)
        self.cls = nn.Parameter(torch.zeros(1, 1, 24))
        self.place = nn.Parameter(torch.randn(1, 81, 24) * 0.02)
        layer = nn.TransformerEncoderLayer(24, 2, 48, 0.0, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(24), enable_nested_tensor=False)
        self.head = nn.Linear(24, 4)

    def forward(self, x: Any) -> Any:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.place
        return self.head(self.encoder(x)[:, 0])


class PNet(nn.Module):
    """MTCNN's first net (Zhang et al. 2016), with facenet-pytorch's names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.pool1 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, x: Any) -> Any:
        x = self.prelu2(self.conv2(self.pool1(self.prelu1(self.conv1(x)))))
        x = self.prelu3(self.conv3(x))
        return self.conv4_2(x), torch.softmax(self.conv4_1(x), 1)


class ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 32, 8, 8)
        self.cls = nn.Parameter(torch.zeros(1, 1, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, activation="gelu", norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Any) -> Any:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1)
        return self.head(self.encoder(x)[:, 0])


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([self.block(3, 8), self.block(8, 16)])
        self.middle = self.block(16, 32)
        self.ups = nn.ModuleList([nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)])
        self.up = nn.ModuleList([self.block(32, 16), self.block(16, 8)])
        self.pool = nn.MaxPool2d(2)
        self.out = nn.Conv2d(8, 2, 1)

    @staticmethod
    def block(into: int, out: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(into, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU())

    def forward(self, x: Any) -> Any:
        skips = []
        for part in self.down:
            x = part(x)
            skips.append(x)
            x = self.pool(x)
        x = self.middle(x)
        for raise_, part in zip(self.ups, self.up, strict=True):
            x = part(torch.cat([raise_(x), skips.pop()], 1))
        return self.out(x)


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.lstm = nn.LSTM(16, 12, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(24, 7)

    def forward(self, words: Any) -> Any:
        return self.head(self.lstm(self.embed(words))[0])


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))

    def forward(self, a: Any, b: Any) -> Any:
        return F.pairwise_distance(self.encoder(a), self.encoder(b))


class DenseNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(8 + 4 * k), nn.ReLU(), nn.Conv2d(8 + 4 * k, 4, 3, padding=1)) for k in range(4)
        )
        self.head = nn.Linear(24, 3)

    def forward(self, x: Any) -> Any:
        found = [self.stem(x)]
        for layer in self.layers:
            found.append(layer(torch.cat(found, 1)))
        return self.head(torch.cat(found, 1).mean((2, 3)))


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 4)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 8)) for _ in range(4))

    def forward(self, x: Any) -> Any:
        weight = self.gate(x).softmax(-1)
        return sum(weight[..., k : k + 1] * expert(x) for k, expert in enumerate(self.experts))


def unet() -> nn.Module:
    """Return the one that the documentation draws."""
    return UNet().eval()


def common() -> dict[str, tuple[nn.Module, tuple[Any, ...]]]:
    """Return modules of common kinds with arguments, the same ones each time."""
    torch.manual_seed(0)
    image = torch.randn(1, 3, 32, 32)
    return {
        "resnet": (ResNet().eval(), (image,)),
        "vit": (ViT().eval(), (image,)),
        "unet": (UNet().eval(), (image,)),
        "tagger": (Tagger().eval(), (torch.arange(6)[None],)),
        "siamese": (Siamese().eval(), (torch.randn(2, 8), torch.randn(2, 8))),
        "densenet": (DenseNet().eval(), (image,)),
        "experts": (Experts().eval(), (torch.randn(2, 5, 8),)),
    }


class Awkward(nn.Module):
    """What holds the two layers that the awkward ones below use."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 4)


class DataDependentIf(Awkward):
    def forward(self, x: Any) -> Any:
        y = self.one(x)
        return self.two(y) if y.sum() > 0 else y - 1


class DataDependentWhile(Awkward):
    def forward(self, x: Any) -> Any:
        y = self.one(x).abs() + 1
        while y.sum() < 100:
            y = y * 2
        return self.two(y)


class Item(Awkward):
    def forward(self, x: Any) -> Any:
        y = self.one(x)
        return self.two(y * (1 + y.abs().max().item()))


class Numpy(Awkward):
    def forward(self, x: Any) -> Any:
        y = self.one(x)
        return self.two(y + torch.from_numpy(np.sin(y.detach().numpy())))


class CustomOp(Awkward):
    def forward(self, x: Any) -> Any:
        return self.two(torch.linalg.svd(self.one(x)).Vh)


class BooleanMask(Awkward):
    def forward(self, x: Any) -> Any:
        y = self.one(x)
        return self.two(y)[y > 0]


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad * 2


class AutogradFunction(Awkward):
    def forward(self, x: Any) -> Any:
        return self.two(Double.apply(self.one(x)))


class DictOutput(Awkward):
    def forward(self, x: Any) -> Any:
        y = self.one(x)
        return {"first": y, "second": self.two(y)}


class Recurrent(Awkward):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 4)

    def forward(self, x: Any) -> Any:
        return self.two(self.lstm(self.one(x)[None])[0])


class InPlace(Awkward):
    def forward(self, x: Any) -> Any:
        y = self.one(x)
        y[:, :2].add_(1)
        return self.two(y.relu_())


AWKWARD = (
    DataDependentIf, DataDependentWhile, Item, Numpy, CustomOp, BooleanMask, AutogradFunction, DictOutput, Recurrent,
    InPlace,
)  # fmt: skip
