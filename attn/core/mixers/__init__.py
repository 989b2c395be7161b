"""Mixers: modules that mix tokens. One file in this folder is one mechanism; `registry` finds them by name."""

from attn.core.mixers.registry import Mixer, MixerInfo, available, create, register

__all__ = ["Mixer", "MixerInfo", "available", "create", "register"]
