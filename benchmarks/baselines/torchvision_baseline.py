"""torchvision as PyTorch's ImageNet example loads: ImageFolder in a DataLoader with worker processes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import torchvision_beside_cpu_torch  # noqa: F401 - before torchvision
from protocol import answer
from torch.utils.data import ConcatDataset, DataLoader
from torchvision import datasets, transforms


def epoch_of(options: argparse.Namespace) -> Callable[[], Iterator[int]]:
    """Makes the loader; its workers stay alive from epoch to epoch."""
    train = transforms.Compose(
        [
            transforms.Resize(options.resize),
            transforms.RandomCrop(options.crop),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )
    directory = datasets.ImageFolder(options.data, train)
    loader = DataLoader(
        ConcatDataset([directory] * options.repeat),
        batch_size=options.batch_size,
        shuffle=True,
        num_workers=options.threads,
        persistent_workers=True,
        drop_last=True,
    )
    return lambda: (len(labels) for _, labels in loader)


if __name__ == "__main__":
    answer("torchvision DataLoader", ["torchvision", "torch", "pillow"], epoch_of)
