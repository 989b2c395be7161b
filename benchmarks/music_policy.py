"""Decoding chorales with policies of reused tokens (HyLRA): tokens/s and NLL against full attention.

    uv run python benchmarks/music_policy.py

The bundled chorale model reads unseen chorales one after another (of JSB, in $ATTN_DATA/music), 4,096 and 8,192 tokens,
which is more than the 1,024 that it was trained on. NLL: of the last 256 tokens, given all before them. Speed: 64 steps
after so many tokens, one core, medians of turns that alternate between the sides. In the policies each layer that can
reuses the first that can; overlap is the smaller of its two, which a plan at the paper's least of 0.85 would refuse.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from music_train import data_folder
from rows import keep
from torch import Tensor

from attn.apps.music.model import DecodingState, MusicTransformer
from attn.apps.music.predict import MusicGenerator
from attn.apps.music.profile import able_layers, sites_of
from attn.apps.music.sources import open_collection
from attn.apps.music.styles import EDGE
from attn.core.attention.watch import intervene, record
from attn.core.blocks.reuse import reusing
from attn.core.decoding.policy import COMPUTE, Policy, largest, restricting

TOKENS = (4096, 8192)
SCORED, STEPS, TURNS = 256, 64, 5
KEYS = (256, 1024)


def reusing_first(generator: MusicGenerator, keys: int) -> Policy:
    """Every layer that can reuses the first that can."""
    first, *rest = able_layers(generator)
    layers = tuple(first if layer in rest else COMPUTE for layer in range(len(generator.model.layers)))
    return Policy(app="music", model=generator.record.name, fingerprint="", keys=keys, layers=layers)


@contextmanager
def kept(state: DecodingState) -> Iterator[None]:
    """What is decoded inside is forgotten: the caches are as long as before, and their first tokens the same."""
    tokens, blocks = state.tokens, state.blocks
    yield
    for block in blocks:
        block.cache.length = tokens
    state.tokens, state.blocks = tokens, blocks


def seconds(model: MusicTransformer, state: DecodingState, policy: Policy | None, ids_s: Tensor) -> float:
    """Of a step."""
    with kept(state):
        if policy is not None:
            state.blocks = reusing(model.layers, state.blocks, policy, 1)
        began = time.perf_counter()
        for id_ in ids_s:
            model(id_.view(1, 1), past=state)
        return (time.perf_counter() - began) / len(ids_s)


def nll(generator: MusicGenerator, state: DecodingState, ids_l: Tensor, policy: Policy | None) -> float:
    """Nats a token of the ids that follow the state."""
    changes = {} if policy is None else restricting(sites_of(generator.model), policy)
    with kept(state), intervene(generator.model, changes):
        logits_lv = generator.model(ids_l[None, :-1], past=state)[0]
    return float(torch.nn.functional.cross_entropy(logits_lv, ids_l[1:]))


def overlap(generator: MusicGenerator, state: DecodingState, ids_l: Tensor, policy: Policy) -> float:
    """The smaller of the reusing layers' overlaps with their source."""
    sites = sites_of(generator.model)
    with kept(state), record(generator.model, keep=lambda seen: largest(seen.weights, policy.keys)) as seen:
        generator.model(ids_l[None, :-1], past=state)
    pairs = [(layer, source) for layer, source in enumerate(policy.layers) if source != COMPUTE]
    shared = [
        (seen[sites[layer]] & seen[sites[source]]).sum(-1).double().mean() / policy.keys for layer, source in pairs
    ]
    return float(min(shared))


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    generator = MusicGenerator.load(bundled="chorale", device="cpu")
    source = data_folder() / "jsb" / "Jsb16thSeparated.json"
    collection = open_collection(source, generator.style, Path("runs") / "tokens")
    ids_l = torch.from_numpy(np.concatenate([[EDGE], *(piece.ids[0] for piece in collection.test)]).astype(np.int64))
    policies = {"full attention": None} | {
        f"two of four reuse, {keys:,} keys": reusing_first(generator, keys) for keys in KEYS
    }
    for tokens in TOKENS:
        with torch.inference_mode():
            state = generator.model.start(1, tokens + STEPS)
            generator.model(ids_l[None, : tokens - SCORED], past=state)
            last_l = ids_l[tokens - SCORED : tokens + 1]
            losses = {name: nll(generator, state, last_l, policy) for name, policy in policies.items()}
            overlaps = {name: overlap(generator, state, last_l, policy) for name, policy in policies.items() if policy}
            generator.model(last_l[None, :-1], past=state)
            times: dict[str, list[float]] = {name: [] for name in policies}
            for _ in range(TURNS):
                for name, policy in policies.items():
                    times[name].append(seconds(generator.model, state, policy, ids_l[tokens : tokens + STEPS]))
        for name in policies:
            row = {"what": f"{tokens:,} tokens, {name}", "overlap": overlaps.get(name)}
            keep("music_policy", row | {"tokens_s": 1 / statistics.median(times[name]), "nll": losses[name]})


if __name__ == "__main__":
    main()
