"""Mixers: modules that mix tokens. One file in this folder is one mechanism; `registry` finds them by name."""

from attn.core.mixers.base import Mixer
from attn.core.mixers.choice import Choice, parse, per_layer
from attn.core.mixers.registry import MixerInfo, available, create, register

__all__ = ["Choice", "Mixer", "MixerInfo", "available", "create", "parse", "per_layer", "register"]
