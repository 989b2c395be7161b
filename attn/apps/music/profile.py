"""A decoding policy for a model (HyLRA, arXiv:2602.00777): measured with full attention, planned, written.

    sensitivity   what the answer loses if one layer alone attends to its k largest tokens: KL divergence, nats a token
    overlap       of the k largest tokens of two layers, a mean over queries

Both are measured on the last tokens of a piece, which are read with all tokens before them in the caches. A layer that
is more sensitive than SENSITIVE computes.

Shapes: B batch (1), L tokens, Q queries, V vocabulary, n keys.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from attn.apps.music.compose import MOST_BARS, MOST_SECONDS
from attn.apps.music.model import MusicTransformer
from attn.apps.music.motif import naming
from attn.apps.music.predict import MusicGenerator
from attn.apps.music.styles import EDGE, STEPS_PER_BAR
from attn.core.attention.watch import Change, intervene, record
from attn.core.blocks.reuse import reusable
from attn.core.decoding.policy import COMPUTE, Policy, among, largest, plan
from attn.core.errors import InputError, UsageError
from attn.core.models.record import fingerprint
from attn.core.settings import read_made

QUERIES = 64
SENSITIVE = 0.01  # nats a token
LEAST_OVERLAP = 0.85  # the paper's
KEYS = 256
TOKENS_A_SECOND = 20  # fewer than performances have, so that what a model writes for itself is long enough


def sites_of(model: MusicTransformer) -> list[str]:
    """The names of the layers that attend to what is written so far."""
    return [f"blocks.{layer}.mixer" for layer in range(len(model.layers))]


def answer(
    model: MusicTransformer,
    ids_1l: Int[Tensor, "1 L"],
    queries: int,
    changes: Mapping[str, Change] | None = None,
    keep: Change = lambda seen: None,
) -> tuple[Float[Tensor, "Q V"], Mapping[str, object]]:
    """Log-probabilities after the last tokens, with changed weights in these, and what is kept of their weights."""
    with torch.inference_mode():
        state = model.start(1, ids_1l.shape[1])
        model(ids_1l[:, :-queries], past=state)
        with intervene(model, changes or {}), record(model, keep=keep) as seen:
            logits_1qv = model(ids_1l[:, -queries:], past=state)
    return logits_1qv[0].double().log_softmax(-1), dict(seen)


def profile(
    generator: MusicGenerator,
    pieces: Sequence[np.ndarray],
    *,
    keys: int = KEYS,
    least_overlap: float = LEAST_OVERLAP,
    advance: Callable[[], None] = lambda: None,
) -> Policy:
    """The policy of a model, measured on pieces of ids (L,) that begin with the edge.

    Raises UsageError for a model whose layers have nothing to reuse, and for pieces that are too short.
    """
    model = generator.model
    able = able_layers(generator)
    names = [site for layer, site in enumerate(sites_of(model)) if layer in able]
    queries = min(QUERIES, min(map(len, pieces)) // 4)
    if any(len(ids_l) - queries <= keys for ids_l in pieces):
        shortest = min(map(len, pieces))
        raise UsageError(
            f"of {shortest} tokens none are left out with {keys} keys", hint="give fewer --keys, or more music"
        )
    sensitivity = np.zeros(len(able))
    overlap = np.zeros((len(able), len(able)))
    for ids_l in pieces:
        ids_1l = torch.from_numpy(ids_l.astype(np.int64))[None].to(model.embedding.weight.device)
        plain_qv, kept = answer(model, ids_1l, queries, keep=lambda seen: largest(seen.weights, keys))
        sets = torch.stack([kept[name] for name in names]).flatten(1, 2).double()  # type: ignore[misc]
        overlap += (torch.einsum("aqn,bqn->ab", sets, sets) / (sets.shape[1] * keys)).cpu().numpy()
        advance()
        for place, name in enumerate(names):
            changed_qv, _ = answer(
                model, ids_1l, queries, {name: lambda seen: among(seen.weights, largest(seen.weights, keys))}
            )
            sensitivity[place] += float((plain_qv.exp() * (plain_qv - changed_qv)).sum(-1).mean())
            advance()
    sensitivity /= len(pieces)
    overlap /= len(pieces)
    planned = plan(overlap, least_overlap, {*np.flatnonzero(sensitivity > SENSITIVE).tolist()})
    layers = [COMPUTE] * len(model.layers)
    for place, source in zip(able, planned, strict=True):
        layers[place] = COMPUTE if source == COMPUTE else able[source]
    return Policy(
        app="music",
        model=generator.record.name,
        fingerprint=fingerprint(generator.record),
        keys=keys,
        layers=tuple(layers),
        tokens=max(map(len, pieces)),
        least_overlap=least_overlap,
        sensitivity=_over(able, sensitivity.tolist(), len(layers)),
        overlap=tuple(
            _over(able, overlap[able.index(layer)].tolist() if layer in able else [None] * len(able), len(layers))
            for layer in range(len(layers))
        ),
    )


def able_layers(generator: MusicGenerator) -> list[int]:
    """The layers that a policy can change. Raises UsageError where there are not two of them."""
    able = [layer for layer, block in enumerate(generator.model.layers) if reusable(block)]
    if len(able) < 2:
        raise UsageError(
            f"fewer than two layers of {generator.record.name} decode over all tokens so far, and none can reuse any",
            hint="a policy is for relative and softmax attention",
        )
    return able


def pieces_of(generator: MusicGenerator, paths: Sequence[Path], length: int) -> list[np.ndarray]:
    """Ids of files, cut to the first `length` tokens, or without files of a piece that the model writes itself.

    Raises UsageError where the model is to write too much.
    """
    if not paths:
        most = TOKENS_A_SECOND * int(MOST_SECONDS)
        if generator.style.voices > 1:
            most = MOST_BARS * generator.style.voices * STEPS_PER_BAR
        if length > most:
            raise UsageError(f"a model writes at most {most:,} tokens", hint="give a shorter --length, or files")
        bars = max(1, length // (generator.style.voices * STEPS_PER_BAR))
        how = {"seconds": length / TOKENS_A_SECOND} if generator.style.voices == 1 else {"bars": bars}
        found = [piece.ids for piece in generator.generate(seed=0, **how)]
    else:
        found = []
        for path in paths:
            with naming(path):
                found.append(generator.style.read(path))
    return [np.concatenate([[EDGE], ids_l])[:length] for ids_l in found]


def read_policy(path: Path, generator: MusicGenerator) -> Policy:
    """The policy of a file, made for this model. Raises InputError."""
    found = read_made(path, Policy, "policy", "`attn music profile MODEL` writes one")
    if found.app != "music" or found.fingerprint != fingerprint(generator.record):
        raise InputError(
            f"is a policy of the model {found.model!r:.60}, not of {generator.record.name!r:.60}",
            where=path,
            hint="profile this model, or give --model",
        )
    if len(found.layers) != len(generator.model.layers):
        raise InputError(f"has {len(found.layers)} layers, not {len(generator.model.layers)}", where=path)
    return found


def _over(able: Sequence[int], values: Sequence[float | None], layers: int) -> tuple[float | None, ...]:
    """Values of the able layers in a row of all; None for the others."""
    return tuple(values[able.index(layer)] if layer in able else None for layer in range(layers))
