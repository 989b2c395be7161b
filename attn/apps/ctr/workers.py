"""Score the frames of a table in several processes; the answers come in the order of the frames.

Shapes: N rows.
"""

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

import polars as pl
import torch

from attn.core.errors import UsageError

if TYPE_CHECKING:
    from attn.apps.ctr.predict import CTRPredictor, Scored

_predictor: "CTRPredictor | None" = None  # of a process that scores


def scored_in_order(
    predictor: "CTRPredictor", frames: Iterable[pl.DataFrame], workers: int
) -> Iterator[tuple[pl.DataFrame, "Scored"]]:
    """Each frame with its answers; without workers, scored here. A process uses one thread.

    At most twice as many frames as workers are in memory. Raises UsageError for a model that is not on the CPU, and
    when a process was killed.
    """
    if not workers:
        yield from ((frame, predictor.scored(frame)) for frame in frames)
        return
    if predictor.model.out.weight.device.type != "cpu":
        raise UsageError("several processes score on the CPU only", hint="leave --workers away, or add --device cpu")
    context = multiprocessing.get_context("spawn")  # a forked torch waits for threads that are not there
    pool = ProcessPoolExecutor(workers, context, _begin, (predictor,))
    waiting: deque[tuple[pl.DataFrame, Future[Scored]]] = deque()
    try:
        for frame in frames:
            waiting.append((frame, pool.submit(_score, frame)))
            if len(waiting) >= 2 * workers:
                first, answer = waiting.popleft()
                yield first, answer.result()
        while waiting:
            first, answer = waiting.popleft()
            yield first, answer.result()
    except BrokenProcessPool as error:
        raise UsageError("a process was killed, most likely for its memory", hint="use fewer --workers") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(predictor: "CTRPredictor") -> None:
    global _predictor
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits, which ends the others
    torch.set_num_threads(1)
    _predictor = predictor


def _score(frame: pl.DataFrame) -> "Scored":
    assert _predictor is not None
    return _predictor.scored(frame)
