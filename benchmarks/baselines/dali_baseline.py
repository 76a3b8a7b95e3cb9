"""DALI as NVIDIA's ImageNet examples write it: file reader, decode, resize, crop-mirror-normalise."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

from nvidia.dali import fn, pipeline_def, types
from nvidia.dali.plugin.base_iterator import LastBatchPolicy
from nvidia.dali.plugin.pytorch import DALIClassificationIterator
from protocol import answer, files_of


@pipeline_def
def training(options: argparse.Namespace):
    """Defines the graph."""
    files, labels = files_of(options)
    encoded, labels = fn.readers.file(files=files, labels=labels, random_shuffle=True, name="Reader")
    images = fn.decoders.image(encoded, output_type=types.RGB)
    images = fn.resize(images, resize_shorter=options.resize)
    images = fn.crop_mirror_normalize(
        images,
        dtype=types.FLOAT,
        output_layout="CHW",
        crop=(options.crop, options.crop),
        crop_pos_x=fn.random.uniform(range=(0.0, 1.0)),
        crop_pos_y=fn.random.uniform(range=(0.0, 1.0)),
        mirror=fn.random.coin_flip(),
        mean=[0.485 * 255, 0.456 * 255, 0.406 * 255],
        std=[0.229 * 255, 0.224 * 255, 0.225 * 255],
    )
    return images, labels


def epoch_of(options: argparse.Namespace) -> Callable[[], Iterator[int]]:
    """Builds the pipeline."""
    pipeline = training(
        options, batch_size=options.batch_size, num_threads=options.threads, device_id=None, seed=0
    )
    pipeline.build()
    loader = DALIClassificationIterator(
        pipeline, reader_name="Reader", last_batch_policy=LastBatchPolicy.DROP, auto_reset=True
    )
    return lambda: (len(batch[0]["label"]) for batch in loader)


if __name__ == "__main__":
    answer("DALI, NVIDIA's example", ["nvidia-dali-cuda120", "torch"], epoch_of)
