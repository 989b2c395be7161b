"""Speed and memory of the music app, side by side with its peers in one run.

    uv run --group peers python benchmarks/music.py
    uv run --group peers python benchmarks/music.py --only decode --quick

Four parts, each a ratio of medians over runs that alternate between the sides:
decode: whole pieces of 2,048 tokens written with a cache, float32, against x-transformers and Hugging Face's GPT-2,
    alone on the machine and beside one process that never rests;
train: a training step with relative attention against the same model with plain fused attention;
parse: MIDI files to tokens, against pretty_midi (notes only) and MidiTok;
memory: the peak of one attention, forward and backward, against the paper's comparison, the L x L x D tensor.
"""

import argparse
import random
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from music_train import data_folder
from rows import RESULTS, keep
from torch import Tensor, nn
from torch.nn import functional as F

from attn.apps.music.decode import Sampling, generate
from attn.apps.music.model import MusicTransformer, configure
from attn.core.attention.attend import attend
from attn.core.attention.relative import Relative
from attn.core.training.malloc import keep_freed_memory
from attn.data_adapters.midi.events import EventVocabulary
from attn.data_adapters.midi.file import read_midi, with_sustain

VOCABULARY = len(EventVocabulary())
WIDTH, DEPTH, HEADS = 256, 4, 4
PROMPT = 64
NAIVE_BYTES = 6e9  # memory of the naive form; where it needs more, it is not run


def medians(sides: dict[str, Callable[[], Any]], turns: int) -> dict[str, float]:
    """Median seconds of each, measured in turns; the first turn only warms up where there are several."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(turns):
        for name, side in sides.items():
            began = time.perf_counter()
            side()
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(taken[1:] or taken) for name, taken in times.items()}


def ours(mixer: str, length: int) -> MusicTransformer:
    options = {"mixer": mixer, "length": length, "width": WIDTH, "depth": DEPTH, "heads": HEADS, "hidden": 4 * WIDTH}
    return MusicTransformer(configure(vocabulary=VOCABULARY, dropout=0.0, **options))


# Decoding


class Anything:
    """A grammar that allows every token until there are `tokens`, as the peers do."""

    def __init__(self, batch: int, tokens: int) -> None:
        self.left = tokens
        self.everything_bv = np.ones((batch, VOCABULARY), bool)

    @property
    def finished(self) -> bool:
        return self.left == 0

    def allowed(self) -> np.ndarray:
        return self.everything_bv

    def accept(self, ids_b: np.ndarray) -> None:
        self.left -= 1


def peers(length: int) -> dict[str, tuple[nn.Module, Callable[[Tensor, int], Tensor]]]:
    """The models, and functions that add tokens to a prompt, drawn at temperature 1 from all."""
    from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports
        from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

    shape = {"n_embd": WIDTH, "n_layer": DEPTH, "n_head": HEADS, "n_positions": length}
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, bos_token_id=None, eos_token_id=None, **shape)).eval()
    layers = Decoder(dim=WIDTH, depth=DEPTH, heads=HEADS, attn_dim_head=WIDTH // HEADS, attn_flash=True)
    wrapper = TransformerWrapper(num_tokens=VOCABULARY, max_seq_len=length, attn_layers=layers, tie_embedding=True)
    x = AutoregressiveWrapper(wrapper).eval()

    def with_gpt2(prompt_bl: Tensor, tokens: int) -> Tensor:
        how = GenerationConfig(do_sample=True, top_k=0, max_new_tokens=tokens, pad_token_id=0, use_cache=True)
        return gpt2.generate(prompt_bl, generation_config=how, attention_mask=torch.ones_like(prompt_bl))[:, -tokens:]

    def with_x(prompt_bl: Tensor, tokens: int) -> Tensor:
        return x.generate(prompt_bl, tokens, cache_kv=True, filter_logits_fn=lambda logits: logits)

    return {"x-transformers": (x, with_x), "GPT-2": (gpt2, with_gpt2)}


def bytes_per_second() -> float:
    """Read and written by a copy of 256 MB."""
    source = torch.zeros(64 << 20)
    target = torch.empty_like(source)
    return 2 * source.nbytes / medians({"copy": lambda: target.copy_(source)}, 9)["copy"]


@contextmanager
def busy_process() -> Iterator[None]:
    """Another process that wants all of one core, within the block; it ends with this one, however that ends."""
    busy = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
    process = subprocess.Popen([sys.executable, "-c", busy])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def decode(length: int, turns: int, out: Path) -> None:
    model = ours("relative", length).eval()
    theirs = peers(length)
    weights = sum(p.nbytes for p in model.parameters())
    bandwidth = bytes_per_second()
    tokens = length - PROMPT
    print(
        f"\nDecoding {tokens:,} tokens after {PROMPT}, width {WIDTH}, {DEPTH} layers, {HEADS} heads. Parameters: ours"
    )
    print(
        f"{weights // 4:,}", *(f"{name} {sum(p.numel() for p in m.parameters()):,}" for name, (m, _) in theirs.items())
    )
    print(f"Memory: {bandwidth / 1e9:.1f} GB/s. The limit reads the weights once for every token of a batch, or these")
    print("and the keys and values of the past.")
    for batch in (1, 8):
        prompt_bl = torch.randint(2, VOCABULARY, (batch, PROMPT))

        def write(prompt_bl: Tensor = prompt_bl) -> None:
            grammar = Anything(len(prompt_bl), tokens)
            steps = list(
                generate(model, prompt_bl, grammar, Sampling(), seeds=range(len(prompt_bl)), length=length + 1)
            )
            assert len(steps) == tokens

        def check(side: Callable[[Tensor, int], Tensor], prompt_bl: Tensor = prompt_bl) -> None:
            assert side(prompt_bl, tokens).shape == (len(prompt_bl), tokens)

        sides = {"ours": write} | {name: lambda side=side: check(side) for name, (_, side) in theirs.items()}
        for beside, aim in (("", "2"), (" beside a busy process", "1")):
            with torch.inference_mode(), busy_process() if beside else nullcontext():
                seconds = medians(sides, min(turns, 3) if beside else turns)  # a side may take minutes there
            rates = {name: batch * tokens / taken for name, taken in seconds.items()}
            past = 2 * DEPTH * WIDTH * 4 * batch * (PROMPT + length) / 2
            shares = [read / bandwidth * tokens / seconds["ours"] for read in (weights, weights + past)]
            own = rates.pop("ours")
            what, ratio = f"decoding {length:,} tokens, batch {batch}{beside}, tokens/s", own / max(rates.values())
            keep("music_speed", {"what": what, "ours": own, "peers": rates, "ratio": f"{ratio:.2f}", "aim": aim}, out)
            if not beside:
                print(f"of the limit {shares[0]:.0%}, with keys and values {shares[1]:.0%}", flush=True)


# Training


def train(lengths: tuple[int, ...], turns: int, out: Path, batch: int = 2) -> None:
    keep_freed_memory()  # as training does
    for length in lengths:
        ids_bl = torch.randint(2, VOCABULARY, (batch, length + 1))

        def stepper(mixer: str, ids_bl: Tensor = ids_bl) -> Callable[[], None]:
            model = ours(mixer, ids_bl.shape[1] - 1)
            optimizer = torch.optim.AdamW(model.parameters())

            def step() -> None:
                optimizer.zero_grad()
                F.cross_entropy(model(ids_bl[:, :-1]).flatten(0, 1), ids_bl[:, 1:].flatten()).backward()
                optimizer.step()

            return step

        taken = medians({mixer: stepper(mixer) for mixer in ("relative", "softmax")}, turns)
        print(f"batch {batch}, seconds: {taken}")
        row = {"what": f"training step, relative over plain, {length:,} tokens", "ours": None, "peers": {}}
        ratio = f"{taken['relative'] / taken['softmax']:.2f}"
        keep("music_speed", {**row, "ratio": ratio, "aim": "at most 1.25"}, out)


# Files


def parse(files: int, turns: int, out: Path) -> None:
    import pretty_midi

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from miditok import MIDILike, TokenizerConfig

    found = sorted((data_folder() / "maestro").rglob("*.mid*"))
    paths = random.Random(0).sample(found, min(files, len(found)))
    vocabulary = EventVocabulary()
    tokenizer = MIDILike(TokenizerConfig(pitch_range=(21, 109), num_velocities=32))
    sides = {
        "ours": lambda: [vocabulary.encode(with_sustain(read_midi(path))) for path in paths],
        "pretty_midi": lambda: [pretty_midi.PrettyMIDI(str(path)) for path in paths],
        "MidiTok": lambda: [tokenizer(path) for path in paths],
    }
    rates = {name: len(paths) / seconds for name, seconds in medians(sides, turns).items()}
    own = rates.pop("ours")
    ratio = ", ".join(f"{own / rate:.1f}" for rate in rates.values())
    what = "MIDI files to tokens, files/s"
    keep("music_speed", {"what": what, "ours": own, "peers": rates, "ratio": ratio, "aim": "1"}, out)


# Memory


def naive(q: Tensor, k: Tensor, v: Tensor, table: Tensor) -> Tensor:
    """Relative attention with one vector for every head, query and key: an H x L x L x D tensor."""
    length = q.shape[2]
    distance = torch.arange(length)[:, None] - torch.arange(length)
    vectors = table[:, length - 1 - distance.clamp(min=0)]
    logits = (q @ k.mT + torch.einsum("bhid,hijd->bhij", q, vectors)) * q.shape[-1] ** -0.5
    return logits.masked_fill(distance < 0, -torch.inf).softmax(-1) @ v


FORMS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "relative": lambda q, k, v, table: attend(q, k, v, relative=Relative(table), causal=True),
    "plain": lambda q, k, v, table: attend(q, k, v, causal=True),
    "naive": naive,
}


def peak_bytes(form: str, length: int) -> int:
    """What forward and backward add to the memory that this process holds; Linux only (proc_pid_clear_refs(5))."""

    def once(tokens: int) -> None:
        shape = (1, HEADS, tokens, WIDTH // HEADS)
        q, k, v = (torch.randn(shape, requires_grad=True) for _ in range(3))
        table = torch.randn(shape[1:], requires_grad=True)
        FORMS[form](q, k, v, table).sum().backward()

    def held(what: str) -> int:
        return 1024 * int(Path("/proc/self/status").read_text().split(f"{what}:")[1].split()[0])

    once(64)  # libraries take their own memory at the first call
    Path("/proc/self/clear_refs").write_text("5")
    before = held("VmRSS")
    once(length)
    return held("VmHWM") - before


def memory(lengths: tuple[int, ...], out: Path) -> None:
    """Batch 1, 4 heads of 64; MB."""
    for length in lengths:
        row: dict[str, Any] = {"tokens": length}
        for form in FORMS:
            least = 2 * 4 * WIDTH * length**2  # the naive form's largest tensor and its gradient
            row[form] = None
            if form == "naive" and least > NAIVE_BYTES:
                continue
            command = [sys.executable, __file__, "--peak", form, str(length)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            row[form] = int(done.stdout) / 1e6
        keep("music_memory", row, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("decode", "train", "parse", "memory"))
    parser.add_argument("--quick", action="store_true", help="small sizes and one turn, to see that it runs")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(peak_bytes(options.peak[0], int(options.peak[1])))
        return
    quick = options.quick
    out = Path("runs/quick") if quick else RESULTS
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    torch.manual_seed(0)
    parts: dict[str, Callable[[], None]] = {
        "decode": lambda: decode(256 if quick else 2048, 1 if quick else 4, out),
        "parse": lambda: parse(4 if quick else 40, 1 if quick else 4, out),
        "memory": lambda: memory((512, 1024) if quick else (512, 1024, 2048, 4096), out),
        "train": lambda: train((256,) if quick else (1024, 2048), 2 if quick else 8, out),  # last: it changes malloc
    }
    for name, part in parts.items():
        if options.only in (None, name):
            part()


if __name__ == "__main__":
    main()
