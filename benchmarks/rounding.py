"""Rounding of float32: PyTorch and the exported file, each compared with float64.

    python -m benchmarks.rounding runs/first images --images 200

Both add up the same products in another order, so each is off by a few roundings. This says by how many, and
so what a difference between the two is worth.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alexnet_fast.data import ClassMap, open_split
from alexnet_fast.errors import UserError
from alexnet_fast.export.config import GraphConfig, LrnForm
from alexnet_fast.export.limits import Answers
from alexnet_fast.export.torch_export import export_onnx
from alexnet_fast.export.verify import batches, model_answers, net_answers
from alexnet_fast.pipelines.io import sample_squares
from alexnet_fast.pipelines.ten_crop import take_crops
from alexnet_fast.runtime.onnx_runtime import OnnxModel
from alexnet_fast.training.checkpoint.model_io import load_trained

if TYPE_CHECKING:
    import torch

    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.pipelines.ten_crop import Crops
    from alexnet_fast.training.checkpoint.model_io import TrainedModel
    from alexnet_fast.utils.arrays import Pixels

# That of model.onnx, and the one operator.
_FORMS: tuple[LrnForm, ...] = ("conv", "op")


def exact_answers(net: torch.nn.Module, spec: AugmentSpec, images_nhwc_u8: Pixels, crops: Crops) -> Answers:
    """Runs images through PyTorch on the CPU in float64, the normalisation of the images in float32."""
    import torch

    reference = copy.deepcopy(net).to("cpu").double().eval()
    values = []
    with torch.inference_mode():
        for batch in batches(images_nhwc_u8, "float64", None):
            x = take_crops(torch.tensor(batch), spec, crops).double()
            probabilities = reference(x).softmax(1)
            values.append(probabilities.reshape(-1, len(batch), probabilities.shape[1]).mean(0).numpy())
    return Answers("PyTorch float64", np.concatenate(values))


def distances(trained: TrainedModel, images_nhwc_u8: Pixels, crops: Crops) -> dict[str, float]:
    """Returns the largest difference of a probability between two of the results, by their names."""
    answers = {
        "float64": exact_answers(trained.net, trained.spec, images_nhwc_u8, crops),
        "PyTorch": net_answers(trained.net, trained.spec, images_nhwc_u8, crops),
    }
    with tempfile.TemporaryDirectory() as directory:
        for form in _FORMS:
            path = Path(directory) / f"{form}.onnx"
            export_onnx(
                trained.net,
                trained.spec,
                trained.classes,
                path,
                crops=crops,
                config=GraphConfig(lrn=form),
                model_name=trained.model,
                provenance={},
            )
            answers[f"onnxruntime, LRN as {form}"] = model_answers(OnnxModel(path), images_nhwc_u8)
    return {
        f"{name} to {other}": float(np.abs(got.probabilities - answers[other].probabilities).max())
        for other in ("float64", "PyTorch")
        for name, got in answers.items()
        if name not in ("float64", other)
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Measures the rounding of float32 beside float64.")
    parser.add_argument("weights", type=Path, help="run folder, checkpoint or file of weights")
    parser.add_argument("data", type=Path, help="images with the same classes")
    parser.add_argument("--images", type=int, default=200, help="images")
    options = parser.parse_args()
    try:
        trained = load_trained(options.weights, None)
        part = open_split(options.data, "val", ClassMap(trained.classes))
        images = sample_squares(part, trained.spec, options.images)
        differences = distances(trained, images, "ten" if trained.spec.margin else "single")
    except UserError as error:
        sys.exit(f"rounding: {error}")
    sys.stdout.write(f"{trained.model}, {len(images)} images: largest difference of a probability\n")
    for name, difference in differences.items():
        sys.stdout.write(f"  {name:<44}{difference:9.2e}\n")


if __name__ == "__main__":
    main()
