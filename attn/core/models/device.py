"""Where a model runs when nobody says where."""

import torch


def default_device() -> torch.device:
    """CUDA where there is a device, else the CPU: the default of every predictor's `load`."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
