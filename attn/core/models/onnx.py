"""A model as an ONNX file, checked against the model itself.

`to_onnx` is for a model of one input and one output; `write_onnx` for any, with the check left to the caller.

Shapes: B batch, free in the file; everything else is as in the example.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TypeVar

import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from attn.core.errors import ModelError, UsageError
from attn.core.files import replacing

OPSET = 18

T = TypeVar("T")


def to_onnx(
    module: nn.Module,
    example: Tensor,
    path: str | Path,
    batches: Sequence[int] = (1, 3, 16),
    *,
    input_name: str,
    metadata: Mapping[str, str] | None = None,
) -> float:
    """Write `module` in eval mode as one ONNX file and return the largest absolute difference of the two.

    `example` (B, ...) gives the shape and dtype of the one input, which the file calls `input_name`; B stays free. The
    module must return one tensor, called "output". The difference is over normal random inputs of every batch size in
    `batches`, onnxruntime on the CPU against the module where it is. `metadata` (labels, preprocessing, as
    text) goes into the file's metadata_props.

    The module comes back in the mode it was in. Raises ModelError when it cannot be exported; no file is left then.
    """
    # Exported at batch 2, because the exporter takes a dimension of size 1 for a constant.
    pair = torch.cat([example[:1], example[:1]])

    def difference(session: onnxruntime.InferenceSession) -> float:
        generator = torch.Generator().manual_seed(0)
        largest = 0.0
        for batch in batches:
            x = torch.randn(batch, *example.shape[1:], generator=generator).to(example)
            (theirs,) = session.run(None, {input_name: x.cpu().numpy()})
            ours: Tensor = module(x)
            largest = max(largest, float((torch.from_numpy(theirs) - ours.cpu()).abs().max()))
        return largest

    return write_onnx(
        module, {input_name: pair}, ["output"], path, difference, free={input_name: {0: "batch"}}, metadata=metadata
    )


def write_onnx(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    path: str | Path,
    check: Callable[[onnxruntime.InferenceSession], T],
    *,
    free: Mapping[str, Mapping[int, str]],
    metadata: Mapping[str, str] | None = None,
) -> T:
    """Write `module` in eval mode as one ONNX file and return what `check` finds, on the CPU and without gradients.

    inputs: an example of each by its name in the file, in the order of `forward`; outputs: names of the tensors it
    returns. free: for each input the names of its dimensions that stay free. Dimensions with the same name have the
    same size; make it at least 2 in the examples, because the exporter takes 1 for a constant. `metadata` goes into
    the file's metadata_props.

    The module comes back in the mode it was in. Raises UsageError for a `path` that does not end in .onnx, and
    ModelError when the module cannot be exported. No file is left then, nor when `check` raises.
    """
    path = Path(path)
    if path.suffix.lower() != ".onnx":
        raise UsageError("does not end in .onnx", where=path, hint="give a name such as model.onnx")
    path.parent.mkdir(parents=True, exist_ok=True)
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad(), replacing(path) as part:
            model = _export(module, inputs, outputs, free)
            for key, value in (metadata or {}).items():
                model.metadata_props.add(key=key, value=value)
            onnx.save(model, part)
            options = onnxruntime.SessionOptions()
            # A thread that waits in a busy loop takes the processor from whoever else needs it.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            return check(onnxruntime.InferenceSession(part, options, providers=["CPUExecutionProvider"]))
    finally:
        module.train(was_training)


def _export(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], free: Mapping[str, Mapping[int, str]]
) -> onnx.ModelProto:
    sizes = {name: torch.export.Dim(name) for names in free.values() for name in names.values()}
    try:
        with _quiet() as said:
            program = torch.onnx.export(
                module,
                tuple(inputs.values()),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=tuple({n: sizes[name] for n, name in free.get(key, {}).items()} for key in inputs),
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ModelError(f"cannot be exported to ONNX: {_reason(error)}") from error
    if program is None:
        raise ModelError(f"cannot be exported to ONNX: {said.getvalue().strip()}")
    return program.model_proto


def _reason(error: BaseException) -> str:
    """The first line of the first cause. The exporter wraps advice on its own options around it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


@contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """Keep what the exporter prints, logs and warns about from the terminal."""
    said = io.StringIO()
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(said), redirect_stderr(said):
            warnings.simplefilter("ignore")
            yield said
    finally:
        logging.disable(before)
