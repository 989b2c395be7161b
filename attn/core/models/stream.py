"""From a stream of inputs to answers, in order and in constant memory; what a predictor is.

A bad input gets its reason instead of an answer.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from attn.core.errors import AttnError, UsageError
from attn.core.models.record import ModelRecord
from attn.core.results.prediction import Prediction, Value

X = TypeVar("X")
Y = TypeVar("Y")
Z = TypeVar("Z")

READERS = 4  # threads that read inputs ahead while the model works


class Predictor(Protocol):
    """A trained model with what it takes to use it."""

    record: ModelRecord
    labels: list[str]
    model: nn.Module

    @classmethod
    def load(cls, source: str | Path | None = None, *, device: str | torch.device | None = None) -> "Predictor":
        """The bundled model, a folder, or "hf://org/name", on `default_device()` unless `device` is given."""
        ...

    def predict(self, x: Any) -> Prediction:
        """One input. Raises InputError when it cannot be used."""
        ...

    def predict_many(self, xs: Iterable[Any]) -> Iterator[Prediction]:
        """A stream in its order and in constant memory; an input that cannot be used gives a failed prediction."""
        ...


def answer_stream(
    xs: Iterable[X],
    read: Callable[[X], Y],
    answer: Callable[[list[Y]], Iterable[Z]],
    *,
    batch_size: int,
    readers: int = READERS,
) -> Iterator[tuple[X, Z | AttnError]]:
    """Each input with its answer, or with the error that `read` raised for it, in the order of `xs`.

    `read` is called in `readers` threads, at most two batches ahead; with 0 readers it is called in this thread.
    `answer` takes what was read of the good inputs of a batch, and gives one answer for each. A UsageError ends the
    stream, because it is about the options and not about one input.
    """

    def attempt(x: X) -> tuple[X, Y | AttnError]:
        try:
            return x, read(x)
        except UsageError:
            raise
        except AttnError as error:
            return x, error

    attempts = iter(read_ahead(attempt, xs, 2 * batch_size, readers) if readers else map(attempt, xs))
    while batch := list(islice(attempts, batch_size)):
        good = [y for _, y in batch if not isinstance(y, AttnError)]
        answers = iter(answer(good)) if good else iter(())
        for x, y in batch:
            yield x, y if isinstance(y, AttnError) else next(answers)


def predict_stream(
    xs: Iterable[X],
    read: Callable[[X], Y],
    answer: Callable[[list[Y]], Iterable[Prediction]],
    *,
    name: Callable[[X], str],
    model: str,
    batch_size: int,
    readers: int = READERS,
    values: Callable[[X], Mapping[str, Value]] = lambda _: {},
) -> Iterator[Prediction]:
    """`answer_stream` of predictions: an input that `read` refuses gives a failed one of `name(x)` and `values(x)`."""
    for x, found in answer_stream(xs, read, answer, batch_size=batch_size, readers=readers):
        if isinstance(found, AttnError):
            yield Prediction.failed(name(x), str(found), model, values=values(x))
        else:
            yield found


def read_ahead(read: Callable[[X], Y], xs: Iterable[X], ahead: int, readers: int) -> Iterator[Y]:
    """`map(read, xs)` in order, with at most `ahead` results waiting."""
    waiting: deque[Future[Y]] = deque()
    with ThreadPoolExecutor(readers) as pool:
        try:
            for x in xs:
                waiting.append(pool.submit(read, x))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
