"""Loads one epoch in a process of its own, and says what became of each image.

    python epoch_script.py DATA dali|torch [whole|region]

Prints {"used": [...], "bad": {path: reason}} as its last line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    from alexnet_fast.data import ClassMap
    from alexnet_fast.data.image_folder import class_dirs, list_images
    from alexnet_fast.pipelines.factory import make_loader
    from alexnet_fast.pipelines.loader import LoaderConfig
    from alexnet_fast.pipelines.sampler import EpochSampler
    from alexnet_fast.pipelines.spec import AugmentSpec

    root = Path(sys.argv[1])
    images = list_images(root, ClassMap.from_names(class_dirs(root)))
    sampler = EpochSampler(num_images=len(images), batch_size=16, shuffle=False)
    config = LoaderConfig(kind=sys.argv[2], on_bad_image="skip")
    loader = make_loader(images, AugmentSpec(), "eval", sampler, config)
    used = [images.path(index) for batch in loader.epoch(0) for index in batch.indices.tolist()]
    print(json.dumps({"used": used, "bad": loader.bad.reasons}))


if __name__ == "__main__":
    main()
