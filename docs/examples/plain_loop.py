"""A plain loop, stopped anywhere, goes on to the same weights: python plain_loop.py FOLDER LAST.pt."""

import sys
from pathlib import Path

import torch
from torch.nn import functional

from alexnet_fast.pipelines import AugmentSpec, ImageLoader

SPEC = AugmentSpec(resize=72, crop=64, mean=(124, 116, 104), std=(58, 57, 57), jitter=None)


def small_net(classes: int) -> torch.nn.Module:
    """Any network will do."""
    features = [torch.nn.Conv2d(3, 16, 8, stride=4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(4)]
    return torch.nn.Sequential(*features, torch.nn.Flatten(), torch.nn.Linear(256, classes))


def main(directory: str, checkpoint: str, epochs: int = 3, stop_at: int | None = None) -> list[float]:
    """Trains, saving after every step; returns the losses."""
    torch.manual_seed(0)
    loader = ImageLoader(directory, batch_size=8, spec=SPEC)
    net = small_net(len(loader.dataset.classes))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    parts = {"net": net, "optimizer": optimizer, "loader": loader}
    if Path(checkpoint).exists():
        for name, state in torch.load(checkpoint).items():
            parts[name].load_state_dict(state)
    losses = []
    for epoch in range(loader.epoch, epochs):
        loader.set_epoch(epoch)
        for images, labels in loader:
            loss = functional.cross_entropy(net(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            torch.save({name: part.state_dict() for name, part in parts.items()}, checkpoint)
            if len(losses) == stop_at:
                return losses
    return losses


if __name__ == "__main__":
    print(main(*sys.argv[1:3]))
