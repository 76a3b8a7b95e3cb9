"""`alexnet-fast predict`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result, answers
from alexnet_fast.cli.help_page import command
from alexnet_fast.cli.image_files import image_files
from alexnet_fast.cli.path_roles import IMAGES, MODEL, PathOf
from alexnet_fast.cli.spooled_rows import SpooledRows
from alexnet_fast.cli.types import number
from alexnet_fast.utils.progress import progress_bar

if TYPE_CHECKING:
    from alexnet_fast.pipelines.ten_crop import Crops

EXAMPLE = """\b
Examples:
  alexnet-fast predict runs/first photo.jpg
  alexnet-fast predict runs/first/model.onnx photos --top 3 --json
"""


def _table(result: Result) -> Iterator[str]:
    for prediction in result["predictions"]:
        yield prediction["file"]
        if prediction["error"]:
            yield f"  cannot be classified: {prediction['error']}"
        for score in prediction["classes"]:
            yield f"  {score['probability']:7.2%}  {score['label']}"
    yield f"answered by {result['backend']}, {result['crops']} crop{'s' * (result['crops'] != 'single')}"


def _failed(result: Result) -> bool:
    return bool(result["failed"])


@command(epilog=EXAMPLE)
@click.argument("model", type=PathOf(MODEL))
@click.argument("images", nargs=-1, required=True, type=PathOf(IMAGES))
@number("--top", default=5, show_default=True, help="Number of classes to print.")
@options.crops("Crops to average over.  [default: ten if the model has them]")
@options.jitter
@options.model_name
@options.model_device
@options.allow_fallback
@answers(_table, failed=_failed)
def predict(
    model: Path, images: tuple[Path, ...], top: int, crops: Crops | None, jitter: bool, **arguments: Any
) -> Result:
    """Print the top classes for each image.

    For a folder, all images in it and in its subfolders are classified; hidden files, files with other
    suffixes and named pipes are ignored and counted. MODEL is a run folder, a checkpoint, a file of weights,
    an exported ONNX file or an engine. If an image cannot be classified, the others still are, and the exit
    code is 1.
    """
    from alexnet_fast.inference.classifier import open_classifier, predict_files

    files, ignored = image_files(images)
    classifier = open_classifier(
        model, device=arguments["device"], model=arguments["net"], allow_fallback=arguments["allow_fallback"]
    )
    crops = crops or classifier.crops[0]
    predictions, failed = SpooledRows(), 0
    with progress_bar(len(files), "predicting") as bar:
        for prediction in predict_files(classifier, files, crops, top, jitter=jitter):
            predictions.append(dataclasses.asdict(prediction))
            failed += prediction.error is not None
            bar.update(1)
    return {
        "model": classifier.name,
        "backend": classifier.backend,
        "crops": crops,
        "predictions": predictions,
        "failed": failed,
        "ignored": ignored,
    }
