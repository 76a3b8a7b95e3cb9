"""`alexnet-fast predict`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result, answers
from alexnet_fast.cli.types import number
from alexnet_fast.errors import UserError
from alexnet_fast.progress_bar import progress_bar

if TYPE_CHECKING:
    from alexnet_fast.pipelines.crops import Crops

EXAMPLE = """\b
Examples:
  alexnet-fast predict runs/first photo.jpg
  alexnet-fast predict runs/first/model.onnx photos/ --top 3 --json
"""


def _table(result: Result) -> str:
    lines = []
    for prediction in result["predictions"]:
        lines.append(prediction["file"])
        if prediction["error"]:
            lines.append(f"  cannot be classified: {prediction['error']}")
        lines += [f"  {guess['probability']:7.2%}  {guess['label']}" for guess in prediction["classes"]]
    lines.append(
        f"answered by {result['backend']}, {result['crops']} crop{'s' * (result['crops'] != 'single')}"
    )
    return "\n".join(lines)


def _failed(result: Result) -> bool:
    return any(prediction["error"] for prediction in result["predictions"])


@click.command(epilog=EXAMPLE)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@number("--top", default=5, show_default=True, help="Classes to name.")
@options.crops("Crops to average over.  [default: ten where the model can]")
@options.jitter
@options.weights_of
@options.model_device
@options.allow_fallback
@answers(_table, failed=_failed)
def predict(
    model: Path, images: tuple[Path, ...], top: int, crops: Crops | None, jitter: bool, **given: Any
) -> Result:
    """The likeliest classes of each of the IMAGES.

    A folder stands for the pictures in it. MODEL is a run folder, a checkpoint, a file of weights, an
    exported ONNX file or an engine. The exit code is 1 if a picture could not be classified; the others are.
    """
    from alexnet_fast.classifier import open_classifier
    from alexnet_fast.prediction import predict_files

    files = [file for image in images for file in _files(image)]
    classifier = open_classifier(
        model, device=given["device"], model=given["net"], allow_fallback=given["allow_fallback"]
    )
    crops = crops or classifier.crops[0]
    predictions = []
    with progress_bar(len(files), "predicting") as bar:
        for prediction in predict_files(classifier, files, crops, top, jitter=jitter):
            predictions.append(dataclasses.asdict(prediction))
            bar.update(1)
    return {
        "model": classifier.name,
        "backend": classifier.backend,
        "crops": crops,
        "predictions": predictions,
    }


def _files(image: Path) -> list[Path]:
    """Returns the picture files that an argument stands for."""
    from alexnet_fast.data.picture_list import PICTURE_ENDINGS

    if not image.is_dir():
        return [image]
    files = sorted(file for file in image.iterdir() if file.suffix.lower() in PICTURE_ENDINGS)
    if not files:
        raise UserError(f"no pictures in {image}", "give a folder of pictures, or picture files", exit_code=2)
    return files
