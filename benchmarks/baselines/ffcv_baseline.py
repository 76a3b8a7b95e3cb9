"""FFCV as its ImageNet example loads: a data set file of JPEGs, decoded and cropped in compiled threads."""

from __future__ import annotations

import argparse
import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.basics import IntDecoder
from ffcv.fields.decoders import RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, ToTensor, ToTorchImage
from ffcv.writer import DatasetWriter
from PIL import Image
from protocol import answer, files_of


class Images:
    """What the writer asks for."""

    def __init__(self, files: list[str], labels: list[int]) -> None:
        self.files, self.labels = files, labels

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.open(self.files[index]).convert("RGB"), self.labels[index]


def written(options: argparse.Namespace) -> Path:
    """Writes the data set file: JPEG at quality 90, in the images' own size."""
    directory = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, directory)
    field = RGBImageField(write_mode="jpg", jpeg_quality=90)
    writer = DatasetWriter(
        str(directory / "train.beton"), {"image": field, "label": IntField()}, num_workers=options.threads
    )
    files, labels = files_of(options)
    once = len(files) // options.repeat
    writer.from_indexed_dataset(Images(files[:once], labels[:once]))
    return directory / "train.beton"


def epoch_of(options: argparse.Namespace) -> Callable[[], Iterator[int]]:
    """Makes the loader; FFCV cannot resize and crop, so its random-resized-crop stands in."""
    mean, std = np.array([0.485, 0.456, 0.406]) * 255, np.array([0.229, 0.224, 0.225]) * 255
    image = [
        RandomResizedCropRGBImageDecoder((options.crop, options.crop)),
        RandomHorizontalFlip(),
        NormalizeImage(mean, std, np.float32),
        ToTensor(),
        ToTorchImage(),
    ]
    loader = Loader(
        str(written(options)),
        batch_size=options.batch_size,
        num_workers=options.threads,
        order=OrderOption.RANDOM,
        indices=list(range(len(files_of(options)[0]) // options.repeat)) * options.repeat,
        drop_last=True,
        pipelines={"image": image, "label": [IntDecoder(), ToTensor()]},
    )
    return lambda: (len(batch[1]) for batch in loader)


if __name__ == "__main__":
    answer("FFCV", ["ffcv", "numba", "torch"], epoch_of)
