"""The images that an export is compared and calibrated on: the run's, or those of the options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from alexnet_fast.cli.command import say
from alexnet_fast.errors import UserError
from alexnet_fast.utils.memory import check_memory
from alexnet_fast.utils.progress import progress_bar

if TYPE_CHECKING:
    from alexnet_fast.data import ImageList
    from alexnet_fast.export.config import ExportConfig
    from alexnet_fast.export.export_images import ExportImages, VerificationImages
    from alexnet_fast.training.checkpoint.model_io import TrainedModel
    from alexnet_fast.utils.arrays import Pixels

# Default numbers: comparing two files of `alexnet` with PyTorch takes a minute on two cores.
_VERIFIED, _MEASURED = 64, 200


def export_images(
    weights: Path, trained: TrainedModel, config: ExportConfig, options: dict[str, Any]
) -> ExportImages:
    """Returns the images that an export with these options needs.

    Raises:
        UserError: Images that the options require do not exist.
    """
    from alexnet_fast.export.export_images import ExportImages

    calibration = _calibration_images(weights, trained, options)
    verification = _verification_images(weights, trained, config, options)
    comparison = (
        _comparison_images(weights, trained, options)
        if verification is None and calibration is None
        else None
    )
    return ExportImages(verification=verification, calibration=calibration, comparison=comparison)


def _comparison_images(weights: Path, trained: TrainedModel, options: dict[str, Any]) -> Pixels | None:
    """Returns a few validation images for the comparison that every export makes.

    Returns:
        None if there are none, and generated ones are used; for a run a message says so.

    Raises:
        UserError: --data names images that do not exist.
    """
    from alexnet_fast.export.export_images import LEAST
    from alexnet_fast.training.run_dir import RunDir

    named = options["data"] is not None
    if not named and not RunDir(weights).config.exists():
        return None
    try:
        part = _part(weights, trained, options["data"], "val", "the comparison needs images", "--data DIR")
        return _squares(part, trained, max(LEAST, options["images"] or LEAST))[0]
    except UserError as error:
        if named:
            raise
        say(f"compared on generated images: {error.problem}")
        return None


def _verification_images(
    weights: Path, trained: TrainedModel, config: ExportConfig, options: dict[str, Any]
) -> VerificationImages | None:
    """Returns labelled validation images to measure the accuracy of an export on.

    Returns:
        None if no accuracy is measured; a message says so if a rounded export lacks images.

    Raises:
        UserError: --verify or --data requires images that do not exist.
    """
    import numpy as np

    from alexnet_fast.export.export_images import VerificationImages

    if not config.verify and config.precision == "fp32":
        return None
    count = options["images"] or (_VERIFIED if config.precision == "fp32" else _MEASURED)
    try:
        part = _part(weights, trained, options["data"], "val", "--verify needs images", "--data DIR")
        pixels, places = _squares(part, trained, count)
    except UserError as error:
        if config.verify or options["data"] is not None:
            raise
        say(f"the accuracy in {config.precision} is not measured: {error}")
        return None
    return VerificationImages(nhwc_u8=pixels, labels=np.asarray(part.labels)[places])


def _calibration_images(weights: Path, trained: TrainedModel, options: dict[str, Any]) -> Pixels | None:
    """Returns training images to calibrate int8 on; None for another precision.

    Raises:
        UserError: There are none, or --calibration-data is given without int8.
    """
    if options["precision"] != "int8":
        if options["calibration_data"] is not None:
            raise UserError(
                f"--calibration-data is for int8, not {options['precision']}",
                "add --precision int8",
                exit_code=2,
            )
        return None
    why = "--precision int8 needs images to calibrate on"
    part = _part(weights, trained, options["calibration_data"], "train", why, "--calibration-data DATA")
    return _squares(part, trained, options["calibration_images"])[0]


def _part(
    weights: Path,
    trained: TrainedModel,
    data: Path | None,
    split: Literal["train", "val"],
    why: str,
    option: str,
) -> ImageList:
    """Returns the images of a split of a data set: the one named, or the run's.

    Raises:
        UserError: No data set is named, or it does not exist or has no images.
    """
    from alexnet_fast.data import ClassMap, open_split
    from alexnet_fast.data.layouts.detect import DatasetFormat
    from alexnet_fast.data.split_rule import recorded_rule
    from alexnet_fast.training.run_dir import RunDir
    from alexnet_fast.utils.toml import read_toml

    file, dataset_format = RunDir(weights).config, DatasetFormat()
    if data is None and file.exists():
        run = read_toml(file)
        data = Path(run["data"])
        labels, encoding = (Path(run[name]) if name in run else None for name in ("labels", "label_encoding"))
        dataset_format = DatasetFormat.from_options(
            run.get("dataset_format"), labels, encoding, run.get("image_key"), run.get("label_key")
        )
    if data is None:
        raise UserError(why, f"give {option}, a data set with the same classes", exit_code=2)
    fraction = trained.provenance.get("val_fraction", 0.1)
    rule = recorded_rule(trained.provenance)
    return open_split(
        data,
        split,
        ClassMap(trained.classes),
        val_fraction=fraction,
        rule=rule,
        dataset_format=dataset_format,
    )


def _squares(part: ImageList, trained: TrainedModel, count: int) -> tuple[Pixels, list[int]]:
    """Returns images spread evenly over a list, resized for the network, and their indices."""
    import numpy as np

    from alexnet_fast.pipelines.io import spread, square_at

    places = spread(len(part), count)
    check_memory(
        len(places) * trained.spec.resize**2 * 3,
        f"{len(places):,} images to compare on",
        "give fewer --images",
    )
    with progress_bar(len(places), "reading images") as bar:
        squares = []
        for place in places:
            squares.append(square_at(part, place, trained.spec))
            bar.update(1)
    return np.stack(squares), places
