"""Small networks of many families, written as people write them."""

import torch
import torch.nn.functional as F
from torch import nn


class SmallCNN(nn.Module):
    """The Small CNN Zoo's network, written without nn.Sequential."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(1, 16, 3, 2), nn.Conv2d(16, 16, 3, 2), nn.Conv2d(16, 16, 3, 2)])
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        for conv in self.convs:
            x = torch.relu(conv(x))
        return self.head(x.mean((2, 3)))


class LeNet(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 6, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(256, 20),
            nn.ReLU(),
            nn.Linear(20, 10),
        )


class VGG(nn.Sequential):
    def __init__(self):
        layers, channels = [], 3
        for width in (8, "pool", 16, 16, "pool"):
            if width == "pool":
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [
                    nn.Conv2d(channels, width, 3, padding=1),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                ]
                channels = width
        pool = [nn.AdaptiveAvgPool2d(2), nn.Flatten()]
        super().__init__(
            *layers, *pool, nn.Linear(64, 24), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(24, 5)
        )


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = shortcut(inputs, width, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.shortcut = shortcut(inputs, 4 * width, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


def shortcut(inputs, outputs, stride):
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """ResNet-18 with basic blocks; the bottleneck form is ResNet-26."""

    def __init__(self, block=BasicBlock, widths=(4, 8, 16, 32)):
        super().__init__()
        channels = widths[0]
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, 7, 2, 3, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
        blocks = []
        for stage, width in enumerate(widths):
            for number in range(2):
                blocks.append(block(channels, width, 2 if stage and not number else 1))
                channels = width * block.expansion
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, 10)

    def forward(self, x):
        return self.head(torch.flatten(self.pool(self.blocks(self.stem(x))), 1))


class Separable(nn.Sequential):
    """Depthwise-separable convolutions."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.BatchNorm2d(8),
            nn.ReLU6(),
            nn.Conv2d(8, 8, 3, 1, 1, groups=8),
            nn.BatchNorm2d(8),
            nn.ReLU6(),
            nn.Conv2d(8, 12, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(12, 4),
        )


class Grouped(nn.Sequential):
    """Group norm, and a convolution with the same number of groups."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 12, 3),
            nn.GroupNorm(3, 12),
            nn.SiLU(),
            nn.Conv2d(12, 6, 3, groups=3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 2),
        )


class Attention(nn.Module):
    """Attention as in vision transformers: one reshape to (3, heads, width), then unbind."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(batch, tokens, width))


class CausalAttention(nn.Module):
    """Attention as in GPT: split, a mask in a buffer, softmax by hand."""

    def __init__(self, width, heads, tokens):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.register_buffer("mask", torch.tril(torch.ones(tokens, tokens)).view(1, 1, tokens, tokens))

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).split(width, dim=2)
        q, k, v = (t.view(batch, tokens, self.heads, -1).transpose(1, 2) for t in (q, k, v))
        scores = (q @ k.transpose(-2, -1)) * k.shape[-1] ** -0.5
        scores = scores.masked_fill(self.mask[:, :, :tokens, :tokens] == 0, float("-inf"))
        y = F.softmax(scores, dim=-1) @ v
        return self.proj(y.transpose(1, 2).contiguous().view(batch, tokens, width))


class Block(nn.Module):
    def __init__(self, width, attention):
        super().__init__()
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(width), attention, nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self, width=12, heads=3, depth=2):
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 17, width))
        self.blocks = nn.Sequential(*(Block(width, Attention(width, heads)) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


class GPT(nn.Module):
    def __init__(self, vocabulary=11, width=12, heads=3, depth=2, tokens=8):
        super().__init__()
        self.words, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(tokens, width)
        self.blocks = nn.ModuleList(Block(width, CausalAttention(width, heads, tokens)) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.words.weight

    def forward(self, tokens):
        x = self.words(tokens) + self.positions(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Recurrent(nn.Module):
    def __init__(self, cell, layers=1, *, bidirectional=False):
        super().__init__()
        self.words = nn.Embedding(9, 5)
        self.rnn = cell(5, 6, num_layers=layers, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(12 if bidirectional else 6, 3)

    def forward(self, tokens):
        return self.head(self.rnn(self.words(tokens))[0].mean(1))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()

        def conv(inputs, outputs):
            return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU())

        self.down1, self.down2, self.middle = conv(1, 4), conv(4, 8), conv(8, 12)
        self.up2, self.conv2 = nn.ConvTranspose2d(12, 8, 2, 2), conv(16, 8)
        self.up1, self.conv1 = nn.ConvTranspose2d(8, 4, 2, 2), conv(8, 4)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        y = self.conv2(torch.cat([self.up2(self.middle(F.max_pool2d(b, 2))), b], 1))
        return self.head(self.conv1(torch.cat([self.up1(y), a], 1)))


class TwoBranches(nn.Module):
    def __init__(self):
        super().__init__()
        self.left = nn.Sequential(nn.Linear(3, 8), nn.ReLU())
        self.right = nn.Sequential(nn.Linear(2, 6), nn.Tanh())
        self.joint, self.head = nn.Linear(14, 7), nn.Linear(7, 2)

    def forward(self, x, y):
        return self.head(F.relu(self.joint(torch.cat([self.left(x), self.right(y)], 1))))


class Llama(nn.Module):
    """Rotary positions, keys and values shared by all heads, RMS norm, a gated MLP."""

    def __init__(self):
        super().__init__()
        self.words, self.norm = nn.Embedding(7, 8), nn.RMSNorm(8)
        self.q, self.k, self.v, self.o = nn.Linear(8, 8), nn.Linear(8, 4), nn.Linear(8, 4), nn.Linear(8, 8)
        self.gate, self.up, self.down = (nn.Linear(*size, bias=False) for size in ((8, 12), (8, 12), (12, 8)))
        self.head = nn.Linear(8, 7)

    def forward(self, tokens):
        x = self.words(tokens)
        batch, count, width = x.shape
        angle = torch.arange(count)[:, None] * torch.tensor([1.0, 0.1]).to(x)
        cos, sin = torch.cat([angle, angle], 1).cos(), torch.cat([angle, angle], 1).sin()

        def rotate(z):
            return z * cos + torch.cat([-z[..., 2:], z[..., :2]], -1) * sin

        h = self.norm(x)
        q = rotate(self.q(h).view(batch, count, 2, 4).transpose(1, 2))
        k, v = rotate(self.k(h).unsqueeze(1)), self.v(h).unsqueeze(1)
        y = (q @ k.expand(-1, 2, -1, -1).mT / 2).softmax(-1) @ v.expand(-1, 2, -1, -1)
        x = x + self.o(y.transpose(1, 2).reshape(batch, count, width))
        h = self.norm(x)
        return self.head(x + self.down(F.silu(self.gate(h)) * self.up(h)))


class Twice(nn.Module):
    """Runs one layer twice."""

    def __init__(self):
        super().__init__()
        self.first, self.cell, self.last = nn.Linear(3, 5), nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, x):
        x = torch.tanh(self.first(x))
        return self.last(torch.tanh(self.cell(torch.tanh(self.cell(x)))))


def encoder():
    layer = nn.TransformerEncoderLayer(12, 3, 16, batch_first=True)
    return nn.Sequential(
        nn.Linear(4, 12), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(12, 3)
    )


TOKENS = torch.tensor([[0, 3, 5, 2, 6], [1, 1, 4, 0, 2]])

#: by name: a function that makes the network, and an input
NETWORKS = {
    "small-cnn": (SmallCNN, torch.randn(2, 1, 28, 28)),
    "lenet": (LeNet, torch.randn(2, 1, 28, 28)),
    "vgg": (VGG, torch.randn(2, 3, 16, 16)),
    "resnet18": (ResNet, torch.randn(2, 3, 64, 64)),
    "bottleneck": (lambda: ResNet(Bottleneck), torch.randn(2, 3, 64, 64)),
    "separable": (Separable, torch.randn(2, 3, 16, 16)),
    "grouped": (Grouped, torch.randn(2, 3, 16, 16)),
    "vit": (ViT, torch.randn(2, 3, 16, 16)),
    "gpt": (GPT, TOKENS),
    "gru": (lambda: Recurrent(nn.GRU), TOKENS),
    "lstm": (lambda: Recurrent(nn.LSTM, 2, bidirectional=True), TOKENS),
    "unet": (UNet, torch.randn(2, 1, 16, 16)),
    "two-branches": (TwoBranches, (torch.randn(3, 3), torch.randn(3, 2))),
    "llama": (Llama, TOKENS),
    "transformer-encoder": (encoder, torch.randn(2, 5, 4)),
}
