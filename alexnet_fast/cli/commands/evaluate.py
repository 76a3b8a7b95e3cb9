"""`alexnet-fast evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result, answers
from alexnet_fast.cli.help_page import command
from alexnet_fast.cli.part import opened, part_loader, part_options
from alexnet_fast.cli.path_roles import DATA, MODEL, PathOf
from alexnet_fast.utils.progress import progress_bar

if TYPE_CHECKING:
    from alexnet_fast.pipelines.ten_crop import Crops

EXAMPLE = """\b
Examples:
  alexnet-fast evaluate runs/first images
  alexnet-fast evaluate runs/first images --checkpoint last
  alexnet-fast evaluate runs/first/model.onnx images --split test --json
"""


def _table(result: Result) -> str:
    lines = [f"model         {result['model']} ({result['backend']})", f"images      {result['images']}"]
    for kind in ("single_crop", "five_crop", "ten_crop"):
        if result.get(kind):
            accuracy = result[kind]
            lines.append(
                f"{kind.replace('_', '-'):13s} top-1 {accuracy['top1']:.4f}  top-5 {accuracy['top5']:.4f}"
            )
    lines.append(f"speed         {result['images_per_second']:.1f} images/s")
    return "\n".join(lines)


@command(epilog=EXAMPLE)
@click.argument("model", type=PathOf(MODEL))
@click.argument("data", type=PathOf(DATA))
@options.crops("Crops to average over.  [default: those of the file; for a network single and ten]")
@options.jitter
@click.option(
    "--checkpoint",
    type=click.Choice(["best", "last"]),
    default="best",
    show_default=True,
    help="Checkpoint of a run folder: that of the best epoch, or the latest one.",
)
@options.amp("off")
@part_options
@answers(_table)
def evaluate(crops: Crops | None, checkpoint: str, **arguments: Any) -> Result:
    """Measure the accuracy of MODEL on DATA, with a single crop and with ten crops.

    MODEL is a run folder, a checkpoint, a file of weights, an exported ONNX file or an engine.
    """
    from alexnet_fast.inference.evaluate import evaluate as measure
    from alexnet_fast.training.run_dir import RunDir

    path = arguments["model"]
    classifier = opened(RunDir(path).last if checkpoint == "last" and path.is_dir() else path, arguments)
    loader = part_loader(classifier, arguments)
    kinds: tuple[Crops, ...] = (crops,) if crops else classifier.crops
    with progress_bar(len(loader.images), "evaluating") as bar:
        result = measure(
            classifier, loader, kinds, lambda done: bar.update(done - bar.pos), jitter=arguments["jitter"]
        )
    accuracies = {
        f"{name}_crop": {"top1": a.top1, "top5": a.top5} if (a := result.by_crops.get(name)) else None
        for name in ("single", "five", "ten")
        if name != "five" or "five" in kinds
    }
    return {
        "model": classifier.name,
        "images": result.images,
        **accuracies,
        "images_per_second": result.images_per_second,
        "bad_images": result.bad_images,
        "backend": classifier.backend,
        "split": arguments["split"],
    }
