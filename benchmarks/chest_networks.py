"""The networks that MEDUSA is compared with: a backbone alone, and one with attention isolated in each scale.

Shapes: B batch, S model side, C channels, H height, W width, K classes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from attn.apps.chest.model import START, VARIANTS, Medusa, MedusaConfig, body_share, image
from attn.core.blocks.backbones import LITE0, Backbone, backbone
from attn.core.blocks.convolution import PooledHead, initialise

PAPER = {"network": "paper (COVIDNet-CXR-3)", "parameters_M": 29.2, "GMACs": 29.1, "body_share": None}
COARSE = 12  # the largest side at which isolated attention works; MEDUSA's bottleneck has 6 at 96 px


class Alone(nn.Module):
    """The backbone and the head of a MEDUSA, without attention."""

    def __init__(self, config: MedusaConfig) -> None:
        super().__init__()
        self.backbone: Backbone = backbone(config.backbone, config.scales)
        self.head = PooledHead(self.backbone.widths[-1], config.head, config.classes, config.dropout)
        initialise(self.head)
        if config.backbone == LITE0:
            initialise(self.backbone)

    def scale(self, index: int, x_bchw: Tensor) -> Tensor:
        return self.backbone.scale(index, x_bchw)

    def forward(self, x_b1ss: Tensor) -> Tensor:
        x_bchw = image(x_b1ss).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        for index in range(len(self.backbone.widths)):
            x_bchw = self.scale(index, x_bchw)
        return self.head.classify(self.head.embed(x_bchw))


class Own(nn.Module):
    """Attention that sees one scale only: its map of factors (B, 1, H, W), near 1 at the start as MEDUSA's is."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.GELU(),
            nn.Conv2d(hidden, hidden, 7, padding=3, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.GELU(),
            nn.Conv2d(hidden, 1, 1),
        )

    def start(self) -> None:
        nn.init.normal_(self.layers[-1].weight, std=0.02)
        nn.init.constant_(self.layers[-1].bias, START["sigmoid"])

    def forward(self, x_bchw: Tensor) -> Tensor:
        height, width = x_bchw.shape[2:]
        z_bchw = F.adaptive_avg_pool2d(x_bchw, COARSE) if height > COARSE else x_bchw
        z_b1hw = F.interpolate(self.layers(z_bchw), size=(height, width), mode="bilinear", align_corners=False)
        return z_b1hw.sigmoid()


class Isolated(Alone):
    """Attention of its own for each scale, in all as many parameters as MEDUSA's body and heads."""

    def __init__(self, config: MedusaConfig) -> None:
        super().__init__(config)
        with torch.device("meta"):
            whole = count(Medusa(config)) - count(Alone(config))
        widths = self.backbone.widths
        # A hidden channel costs c + 1 weights in the 1x1 layers, 49 in the 7x7 layer and 4 in the norms.
        ratio = whole / sum(width * (width + 54) for width in widths)
        self.own = nn.ModuleList(Own(width, max(1, round(ratio * width))) for width in widths)
        initialise(self.own)
        for own in self.own:
            own.start()

    def scale(self, index: int, x_bchw: Tensor) -> Tensor:
        x_bchw = super().scale(index, x_bchw)
        return x_bchw * self.own[index](x_bchw)


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def sizes() -> list[dict[str, object]]:
    """Parameters and multiply-adds of one image, beside the paper's."""
    rows = [PAPER]
    for name, config in VARIANTS.items():
        with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
            model = Medusa(config).eval()
            model(torch.rand(1, 1, config.image_size, config.image_size))
        rows.append(
            {
                "network": f"{name}, {config.image_size} px",
                "parameters_M": round(count(model) / 1e6, 2),
                "GMACs": round(counter.get_total_flops() / 2e9, 2),
                "body_share": round(body_share(config), 2),
            }
        )
    return rows
