"""Decoding chorales with policies of reused tokens (HyLRA): tokens/s and NLL against full attention.

    uv run python benchmarks/music_policy.py

The bundled chorale model reads unseen chorales one after another (of JSB, in $ATTN_DATA/music), 4,096 and 8,192
tokens, which is more than the 1,024 that it was trained on. NLL: of the last 512 tokens, given all before them. Speed:
64 steps after so many tokens, one core, medians of turns that alternate between the sides. The policy at the paper's
least overlap of 0.85 is measured by its profile; the others let every layer reuse the first that can be.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from music_train import data_folder
from rows import keep

from attn.apps.music.decode import Sampling, generate
from attn.apps.music.predict import MusicGenerator
from attn.apps.music.profile import able_layers, answer, profile, sites_of
from attn.apps.music.sources import open_collection
from attn.apps.music.styles import EDGE
from attn.core.decoding.policy import COMPUTE, Policy, restricting

TOKENS = (4096, 8192)
SCORED, STEPS, TURNS = 512, 64, 5
KEYS = (256, 1024)


class Anything:
    """A grammar that allows every token, for so many steps."""

    def __init__(self, vocabulary: int, steps: int) -> None:
        self.left, self.everything_bv = steps, np.ones((1, vocabulary), bool)

    @property
    def finished(self) -> bool:
        return self.left == 0

    def allowed(self) -> np.ndarray:
        return self.everything_bv

    def bias(self) -> np.ndarray:
        return np.zeros(self.everything_bv.shape)

    def accept(self, ids_b: np.ndarray) -> None:
        self.left -= 1


def reusing_first(generator: MusicGenerator, keys: int) -> Policy:
    """Every layer that can reuses the first that can."""
    first, *rest = able_layers(generator)
    layers = tuple(first if layer in rest else COMPUTE for layer in range(len(generator.model.layers)))
    return Policy(app="music", model=generator.record.name, fingerprint="", keys=keys, layers=layers)


def nll(generator: MusicGenerator, ids_1l: torch.Tensor, policy: Policy | None) -> float:
    """Nats a token of the last tokens."""
    changes = {} if policy is None else restricting(sites_of(generator.model), policy)
    log_p_qv, _ = answer(generator.model, ids_1l[:, :-1], SCORED, changes)
    return -float(log_p_qv.gather(1, ids_1l[0, -SCORED:, None]).mean())


def seconds(generator: MusicGenerator, ids_1l: torch.Tensor, policy: Policy | None) -> float:
    """Of a step, after the prompt was read."""
    length = ids_1l.shape[1] + STEPS + 1
    grammar = Anything(generator.style.size, STEPS)
    steps = generate(generator.model, ids_1l, grammar, Sampling(), seeds=[0], length=length, policy=policy)
    next(steps)
    began = time.perf_counter()
    count = sum(1 for _ in steps)
    return (time.perf_counter() - began) / count


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    generator = MusicGenerator.load(bundled="chorale", device="cpu")
    source = data_folder() / "jsb" / "Jsb16thSeparated.json"
    collection = open_collection(source, generator.style, Path("runs") / "tokens")
    ids_l = np.concatenate([[EDGE], *(piece.ids[0] for piece in collection.test)]).astype(np.int64)
    for tokens in TOKENS:
        ids_1l = torch.from_numpy(ids_l[: tokens + 1])[None]
        policies = {
            "full attention": None,
            "planned at 0.85, 256 keys": profile(generator, [ids_l[:tokens]], keys=256),
            **{f"two of four reuse, {keys:,} keys": reusing_first(generator, keys) for keys in KEYS},
        }
        times: dict[str, list[float]] = {name: [] for name in policies}
        for _ in range(TURNS):
            for name, policy in policies.items():
                times[name].append(seconds(generator, ids_1l[:, :-1], policy))
        for name, policy in policies.items():
            keep(
                "music_policy",
                {
                    "row": f"{tokens} tokens, {name}",
                    "tokens": tokens,
                    "policy": name,
                    "reusing": 0 if policy is None else sum(source != COMPUTE for source in policy.layers),
                    "tokens_s": 1 / statistics.median(times[name]),
                    "nll": nll(generator, ids_1l, policy),
                },
            )


if __name__ == "__main__":
    main()
