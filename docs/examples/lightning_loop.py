"""Lightning with ImageLoader in the place of a DataLoader: python lightning_loop.py DATA RUN.

Lightning saves the loader's position with each checkpoint, mid-epoch too, and restores it with `ckpt_path`.
"""

import sys

import lightning
import torch
from torch.nn import functional

from alexnet_fast.pipelines import AugmentSpec, ImageLoader

SPEC = AugmentSpec(resize=72, crop=64, mean=(124, 116, 104), std=(58, 57, 57), jitter=None)


class Classifier(lightning.LightningModule):
    """A network, its loss and its optimiser."""

    def __init__(self) -> None:
        super().__init__()
        features = [torch.nn.Conv2d(3, 16, 8, stride=4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(4)]
        self.net = torch.nn.Sequential(*features, torch.nn.Flatten(), torch.nn.Linear(256, 2))
        self.losses = []

    def training_step(self, batch, _):
        images, labels = batch
        loss = functional.cross_entropy(self.net(images), labels)
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


def main(data: str, run: str, resume: str | None = None, **options) -> Classifier:
    module = Classifier()
    trainer = lightning.Trainer(default_root_dir=run, accelerator="cpu", logger=False, **options)
    trainer.fit(module, ImageLoader(f"{data}/train", batch_size=8, spec=SPEC), ckpt_path=resume)
    return module


if __name__ == "__main__":
    main(*sys.argv[1:], max_epochs=3)
