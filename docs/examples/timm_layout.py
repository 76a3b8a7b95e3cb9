"""timm's folders (train/ and val/) and arguments, our pixels: python timm_layout.py DATA [MODEL].

`create_loader` takes the place of timm's: like its prefetcher it gives normalised images on the device.
"""

import math
import sys

import timm
import torch
from timm.data import resolve_data_config
from timm.optim import create_optimizer_v2
from torch.nn import functional

from alexnet_fast.pipelines import AugmentSpec, ImageLoader


class TimmLoader(ImageLoader):
    """What timm's train.py looks at besides; mixup is the training script's own business."""

    mixup_enabled = False


def create_loader(root, input_size, batch_size, is_training=False, mean=(), std=(), crop_pct=0.875, **_):
    """Takes the arguments of `timm.data.create_loader`, but for a folder in the place of the data set."""
    side = input_size[-1]
    to_255 = {"mean": tuple(255 * m for m in mean), "std": tuple(255 * s for s in std)}
    spec = AugmentSpec(resize=math.floor(side / crop_pct), crop=side, jitter=None, **to_255)
    return TimmLoader(root, train=is_training, batch_size=batch_size, spec=spec)


def main(data: str, model: str = "resnet10t", epochs: int = 3) -> list[float]:
    torch.manual_seed(0)
    net = timm.create_model(model, num_classes=2)
    config = resolve_data_config({"input_size": (3, 64, 64)}, model=net)
    train = create_loader(f"{data}/train", batch_size=8, is_training=True, **config)
    optimizer = create_optimizer_v2(net, "sgd", lr=0.01)
    means = []
    for epoch in range(epochs):
        train.sampler.set_epoch(epoch)
        losses = []
        for images, labels in train:
            loss = functional.cross_entropy(net(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        means.append(sum(losses) / len(losses))
    return means


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
