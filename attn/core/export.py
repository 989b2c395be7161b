"""A model as an ONNX file, checked against the model itself.

Shapes: B batch, free in the file; everything else is as in the example.
"""

import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from attn.core.errors import ModelError
from attn.core.files import replacing

OPSET = 18


def to_onnx(
    module: nn.Module,
    example: Tensor,
    path: str | Path,
    batches: Sequence[int] = (1, 3, 16),
    *,
    input_name: str = "image",
    metadata: Mapping[str, str] | None = None,
) -> float:
    """Write `module` in eval mode as one ONNX file and return the largest absolute difference of the two.

    `example` (B, ...) gives the shape and dtype of the one input; B stays free in the file. The module must
    return one tensor, called "output". The difference is over normal random inputs of every batch size in
    `batches`, onnxruntime on the CPU against the module where it is. `metadata` (labels, preprocessing, as
    text) goes into the file's metadata_props.

    The module comes back in the mode it was in. Raises ModelError when it cannot be exported; then no file is
    left.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad(), replacing(path) as part:
            model = _export(module, example, input_name)
            for key, value in (metadata or {}).items():
                model.metadata_props.add(key=key, value=value)
            onnx.save(model, part)
            return _largest_difference(module, example, part, batches)
    finally:
        module.train(was_training)


def _export(module: nn.Module, example: Tensor, input_name: str) -> onnx.ModelProto:
    # Exported at batch 2, since a dimension of size 1 would be taken for a constant.
    pair = torch.cat([example[:1], example[:1]])
    batch = torch.export.Dim("batch")
    try:
        with _quiet() as said:
            program = torch.onnx.export(
                module,
                (pair,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[input_name],
                output_names=["output"],
                dynamic_shapes=({0: batch},),
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ModelError(f"cannot be exported to ONNX: {_reason(error)}") from error
    if program is None:
        raise ModelError(f"cannot be exported to ONNX: {said.getvalue().strip()}")
    return program.model_proto


def _largest_difference(module: nn.Module, example: Tensor, path: Path, batches: Sequence[int]) -> float:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for batch in batches:
        x = torch.randn(batch, *example.shape[1:], generator=generator).to(example)
        (theirs,) = session.run(None, {name: x.cpu().numpy()})
        ours: Tensor = module(x)
        largest = max(largest, float((torch.from_numpy(theirs) - ours.cpu()).abs().max()))
    return largest


def _reason(error: BaseException) -> str:
    """The first line of the first cause: what the exporter wraps around it is advice on its own options."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


@contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """Hold back what the exporter prints, logs and warns about; nobody asked for it."""
    said = io.StringIO()
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(said), redirect_stderr(said):
            warnings.simplefilter("ignore")
            yield said
    finally:
        logging.disable(before)
