"""Options of `train` that say how a network learns: optimiser, learning rate, regularisation, speed."""

from __future__ import annotations

from pathlib import Path

import click

from alexnet_fast.cli.options import all_of
from alexnet_fast.cli.types import choice, number

optimiser = all_of(
    choice(
        "--optimizer",
        default="sgd",
        show_default=True,
        help="Momentum SGD, Adam, Adam with decoupled decay, or layer-wise rates for large batches.",
    ),
    number("--lr", default=0.01, show_default=True, help="Highest learning rate."),
    number(
        "--momentum",
        default=0.9,
        show_default=True,
        help="Of SGD and LARS; Adam's first beta.",
    ),
    click.option("--nesterov/--no-nesterov", default=False, help="Nesterov's momentum, for SGD."),
    number("--weight-decay", default=5e-4, show_default=True, help="Of the weights."),
    click.option(
        "--decay-bias/--no-decay-bias",
        default=True,
        show_default=True,
        help="Weight decay on biases and norm layers too.",
    ),
    number("--ema", default=0.0, help="Decay of a moving average of the weights; 0: none."),
)

schedule = all_of(
    choice(
        "--schedule",
        default="plateau",
        show_default=True,
        help="Of the learning rate: the paper's, half a cosine over all epochs, or falls at set epochs.",
    ),
    number(
        "--factor",
        default=0.1,
        show_default=True,
        help="What plateau and step multiply it by.",
    ),
    number(
        "--patience",
        default=5,
        show_default=True,
        help="Epochs without a lower validation error before plateau lowers it.",
    ),
    number("--drops", default=3, show_default=True, help="Falls of plateau before training ends."),
    number("--step-epochs", default=30, show_default=True, help="Epochs between two falls of step."),
    number(
        "--warmup-epochs",
        default=0.0,
        help="Epochs, or a part of one, over which it rises step by step from nothing.",
    ),
)

regularisation = all_of(
    number("--dropout", help="Share of hidden units left out.  [default: the model's]"),
    choice(
        "--loss",
        default="cross-entropy",
        show_default=True,
        help="Cross-entropy, the same with smoothed labels, or a support vector machine's hinge loss.",
    ),
    number(
        "--label-smoothing",
        default=0.0,
        help="Share of a label spread over all classes; 0.1 with --loss smoothed.",
    ),
    number("--mixup", default=0.0, help="Parameter of the mixing of images; 0: none."),
)

beginning = all_of(
    click.option(
        "--weights",
        type=click.Path(path_type=Path),
        help="Begin with those of a run, or of a .pth, .safetensors, .npy or .caffemodel file.",
    ),
    click.option(
        "--from-scratch",
        is_flag=True,
        help="Begin with fresh weights, whatever a config says: the default.",
    ),
    click.option(
        "--transfer/--no-transfer",
        default=False,
        help="A new last layer on --weights: it learns alone first, then all of it does.",
    ),
    number(
        "--freeze-epochs",
        default=1,
        show_default=True,
        help="Epochs of --transfer in which only the last layer learns, on features computed once.",
    ),
    number(
        "--unfreeze-lr",
        default=0.1,
        show_default=True,
        help="What the learning rate is multiplied by after them.",
    ),
    click.option(
        "--features/--no-features",
        default=False,
        help="A new last layer on --weights, which alone learns, on features computed once.",
    ),
    choice(
        "--init",
        help="How fresh weights are drawn.  [default: the model's]",
    ),
)

speed = all_of(
    click.option("--compile/--no-compile", default=False, help="Run the network through torch.compile."),
    click.option(
        "--cuda-graphs/--no-cuda-graphs", default=False, help="Record the passes once, and replay them."
    ),
)
