"""Transfer: the last layer learns alone for some epochs, then the whole network at a lower rate.

All of it is a function of the epoch, so that a run that goes on needs nothing more to be remembered.
"""

from __future__ import annotations

from torch import nn

from alexnet_fast.training.batch_norm import batch_norm_layers
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.weights import last_layer


class Freezing:
    """Which part of a network learns in which epoch, and how fast.

    Args:
        net: The network.
        config: The options; without `transfer` everything learns in every epoch.
    """

    def __init__(self, net: nn.Module, config: TrainConfig) -> None:
        self._net, self._factor = net, config.unfreeze_lr if config.transfer else 1.0
        self._epochs = config.freeze_epochs if config.transfer else 0
        head = net.get_submodule(last_layer(net)) if self._epochs else net
        learning = {id(parameter) for parameter in head.parameters()}
        self._rest = [p for p in net.parameters() if p.requires_grad and id(p) not in learning]

    def frozen(self, epoch: int) -> bool:
        """Tells whether only the last layer learns in an epoch, counted from 0."""
        return epoch < self._epochs

    def rate(self, epoch: int) -> float:
        """Returns what the learning rate of an epoch is multiplied by."""
        return 1.0 if self.frozen(epoch) else self._factor

    def set_parameters(self, epoch: int) -> None:
        """Lets the parameters that learn in an epoch have gradients, and no others."""
        for parameter in self._rest:
            parameter.requires_grad_(not self.frozen(epoch))

    def set_mode(self, epoch: int) -> None:
        """Sets the network to training; frozen batch norm keeps its statistics, and uses them."""
        self._net.train()
        if self.frozen(epoch):
            for layer in batch_norm_layers(self._net):
                layer.eval()
