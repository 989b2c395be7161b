"""Every mixer with its settings, for the tests that sweep the registry."""

import torch
from torch import nn

from attn.core import mixers

SIZES = {1: (7,), 2: (5, 6)}
LONGER = {("axial", 1): (20,)}  # where not all parts of a mechanism act on SIZES
OTHER_SIZES = {1: [(1,), (4,), (12,)], 2: [(1, 1), (3, 7), (9, 5), (12, 12)]}

# Each mechanism with its defaults, and with settings that make its windows smaller than the map.
EVERY = [(info.name, dims, {}) for info in mixers.available() for dims in info.dims]
EVERY += [
    ("softmax", 1, {"causal": True}),
    ("relative", 1, {"max_distance": 2, "clip": True}),
    ("relative_local", 1, {"block": 3}),
    ("relative_places", 1, {"max_across": 2, "max_along": 3}),
    ("halo", 2, {"block": 4, "halo": 0}),
    ("halo", 2, {"block": 4, "halo": 1, "masked": False}),
    ("halo", 2, {"block": 2, "halo": 1}),
    ("neighborhood", 2, {"kernel": 2, "dilation": 2}),
    ("neighborhood", 2, {"kernel": 3}),
    ("neighborhood", 1, {"kernel": 3, "dilation": 2}),
    ("neighborhood", 1, {"kernel": 3, "dilation": 2, "causal": True}),
    ("neighborhood", 1, {"kernel": 4, "causal": True}),
    ("relative_convolutional", 1, {"max_distance": 3}),
    ("context_mixing", 2, {"near": 2, "wide": 3, "regions": 2}),
    ("selective", 1, {"of": "relative"}),
    ("selective", 1, {"causal": True}),
    ("selective", 2, {"of": "halo"}),
    ("axial", 2, {"along": "columns"}),
    ("axial", 1, {"width": 3}),
    ("routing", 1, {"clusters": 2, "causal": True}),
    ("routing", 1, {"clusters": 2}),
    ("gated_positional", 2, {"strength": 2.5}),
    *(("dual", 2, options) for options in ({"window": 2}, {"part": "window"}, {"part": "channel", "version": 2})),
    ("dual", 1, {"version": 2}),
    *(("deconstructed", 1, {"variant": variant}) for variant in ("mlp", "non_approximate", "static")),
]

# Export takes seconds: each mechanism once, with its last settings.
EACH = [(name, dims, options) for (name, dims), options in {entry[:2]: entry[2] for entry in EVERY}.items()]


def sizes(name, dims):
    every = [SIZES[dims], *OTHER_SIZES[dims]]
    return [size for size in every if len(set(size)) == 1] if info_of(name, dims).square else every


def make(name, dims, options, channels=8):
    """A mixer whose parameters, zero biases too, are all drawn at random."""
    torch.manual_seed(0)
    mixer = mixers.create(name, dims=dims, channels=channels, heads=2, size=SIZES[dims], **options)
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.4)
    return mixer.eval()


def tokens(dims, size=None, batch=2, channels=8, **kind):
    torch.manual_seed(1)
    return torch.randn(batch, *(size or SIZES[dims]), channels, **kind)


def coordinates(mixer, x):
    """Where the tokens lie, for a mixer that asks: drawn at random."""
    torch.manual_seed(2)
    return {"coordinates": torch.randint(0, 8, (*x.shape[:-1], mixer.coordinates))} if mixer.coordinates else {}


def info_of(name, dims):
    return next(info for info in mixers.available() if info.name == name and dims in info.dims)
