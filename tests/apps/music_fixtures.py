"""Tiny pieces and tiny models of music, for the tests of all its rooms."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from attn.apps.music.corpus import Piece
from attn.apps.music.model import MusicTransformer, configure
from attn.apps.music.predict import MusicGenerator
from attn.apps.music.styles import AnyStyle, Chorale, Piano
from attn.core.models.folder import ModelRecord
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.writer import write_midi

RANGES = Chorale().ranges
SCALE = np.array([0, 2, 4, 5, 7, 9, 11])


def performance(number: int, count: int = 60) -> Notes:
    """A broken chord up and down over a held bass, with its own tempo, key and dynamics."""
    draw = np.random.default_rng(number)
    step, key = draw.uniform(0.1, 0.25), 48 + int(draw.integers(12))
    start = step * np.arange(count)
    pitch = key + np.tile([0, 4, 7, 12, 16, 12, 7, 4], count)[:count]
    upper = Notes.of(start, start + 0.9 * step, pitch, draw.integers(40, 100, count))
    bass = Notes.of(start[::8], start[::8] + 6 * step, np.full(len(start[::8]), key - 12), np.full(len(start[::8]), 60))
    return upper.joined(bass)


def chorale_grid(number: int, bars: int = 3, beats_more: int = 0) -> np.ndarray:
    """Four voices that walk along C major, each within its range and mostly below the last: (T, 4), a chord a beat."""
    draw = np.random.default_rng(number)
    beats = 4 * bars + beats_more
    voices = []
    for low, high in RANGES:
        notes = np.array([pitch for pitch in range(low, high + 1) if pitch % 12 in SCALE])
        walk = len(notes) // 2 + np.cumsum(draw.integers(-1, 2, beats)).clip(-2, 2)
        voices.append(np.repeat(notes[walk], 4))
    return np.stack(voices, 1)


def chorale_pieces(count: int = 4, bars: int = 3) -> list[Piece]:
    return [Piece(f"{n}", (Chorale().encode(chorale_grid(n, bars)).astype(np.int16),)) for n in range(count)]


def piano_pieces(count: int = 4) -> list[Piece]:
    return [Piece(f"{n}", (Piano().encode(performance(n)).astype(np.int16),)) for n in range(count)]


def write_performances(folder: Path, count: int = 12) -> Path:
    """A folder of that many MIDI files."""
    folder.mkdir(parents=True)
    for number in range(count):
        write_midi(folder / f"{number}.mid", performance(number))
    return folder


def write_chorales(path: Path, *, train: int = 6, bars: int = 5) -> Path:
    """A JSON file of chorales with the splits train, valid and test."""
    sizes = {"train": train, "valid": 2, "test": 2}
    numbers = iter(range(100))
    grids = {split: [chorale_grid(next(numbers), bars).tolist() for _ in range(n)] for split, n in sizes.items()}
    path.write_text(json.dumps(grids))
    return path


def tiny_model(style: AnyStyle, *, seed: int = 0, **changes: object) -> MusicTransformer:
    """A random network with two layers, whose predictions are far from uniform."""
    settings = {"vocabulary": style.size, "width": 16, "depth": 2, "heads": 2, "hidden": 32, "length": 128}
    settings |= {"voices": style.voices, "cycles": style.cycles, "dropout": 0.0}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MusicTransformer(configure(**settings | changes))
        for parameter in model.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.3)
    return model.eval()


def tiny_generator(style: AnyStyle, *, name: str = "tiny", seed: int = 0, **changes: object) -> MusicGenerator:
    """The same, ready to compose."""
    model = tiny_model(style, seed=seed, **changes)
    return MusicGenerator(model, record_of(model, style, name))


def record_of(model: MusicTransformer, style: AnyStyle, name: str = "tiny") -> ModelRecord:
    """What a model folder says of it."""
    architecture, preprocessing = model.config.model_dump(mode="json"), style.model_dump(mode="json")
    return ModelRecord(
        app="music", verb="generate", name=name, architecture=architecture, labels=[], preprocessing=preprocessing
    )
