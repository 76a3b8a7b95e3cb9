"""The moving average of the weights, mixup and the losses, each against its formula."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.losses import Mixup, make_loss, mix, mixed_loss
from alexnet_fast.training.optim import ModelEma

Make = Callable[..., TrainConfig]


class TestWeightAverage:
    def test_it_follows_the_weights_slowly_and_at_first_quickly(self) -> None:
        net = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(net.weight)
        average = ModelEma(net, decay=0.9)
        expected = 0.0
        for update in range(200):
            nn.init.constant_(net.weight, float(update))
            average.update()
            kept = min(0.9, (1 + update) / (10 + update))
            expected = kept * expected + (1 - kept) * update
        assert average.net.weight.item() == pytest.approx(expected, rel=1e-5)
        assert net.weight.item() == 199.0

    def test_statistics_of_batch_norm_are_averaged_too(self) -> None:
        net = nn.Sequential(nn.BatchNorm1d(2))
        average = ModelEma(net, decay=0.5)
        net(torch.randn(8, 2) + 5.0)
        average.update()
        assert torch.allclose(average.net[0].running_mean, 0.9 * net[0].running_mean)
        assert average.net[0].num_batches_tracked == 0

    def test_a_saved_average_goes_on_as_if_it_had_not_been_saved(self) -> None:
        torch.manual_seed(0)
        net = nn.Linear(3, 3)
        whole = ModelEma(net, decay=0.99)
        for _ in range(3):
            nn.init.normal_(net.weight)
            whole.update()
        resumed = ModelEma(net, decay=0.99)
        resumed.load_state_dict(whole.state_dict())
        nn.init.normal_(net.weight)
        for average in (whole, resumed):
            average.update()
        assert torch.equal(whole.net.weight, resumed.net.weight)


class TestMixup:
    def test_the_share_belongs_to_seed_epoch_and_step(self) -> None:
        mixup = Mixup(alpha=0.2, seed=7)
        shares = {(epoch, step): mixup.lam(epoch, step) for epoch in range(3) for step in range(20)}
        assert len(set(shares.values())) == 60
        assert all(0.5 <= share <= 1 for share in shares.values())
        assert Mixup(alpha=0.2, seed=7).lam(2, 11) == shares[2, 11]
        assert Mixup(alpha=0.2, seed=8).lam(2, 11) != shares[2, 11]

    def test_shares_are_those_of_a_beta_distribution(self) -> None:
        shares = torch.tensor([Mixup(alpha=0.2, seed=0).lam(0, step) for step in range(2000)])
        # Beta(a, a) has the mean 1 / 2 and the variance 1 / (4 (2 a + 1)).
        assert (shares - 0.5).square().mean().item() == pytest.approx(1 / (4 * 1.4), rel=0.05)

    def test_images_and_loss_are_weighted_means_of_two(self) -> None:
        torch.manual_seed(0)
        images = torch.randn(6, 3, 4, 4).contiguous(memory_format=torch.channels_last)
        logits, labels = torch.randn(6, 5), torch.tensor([0, 1, 2, 3, 4, 0])
        mixed = mix(images, 0.75)
        assert mixed.is_contiguous(memory_format=torch.channels_last)
        partner = [3, 4, 5, 0, 1, 2]
        torch.testing.assert_close(mixed, 0.75 * images + 0.25 * images[partner])
        soft = 0.75 * functional.one_hot(labels, 5) + 0.25 * functional.one_hot(labels[partner], 5)
        torch.testing.assert_close(
            mixed_loss(functional.cross_entropy, logits, labels, 0.75),
            functional.cross_entropy(logits, soft),
        )

    def test_pairs_do_not_depend_on_the_number_of_processes(self) -> None:
        """Images are dealt in turns: process r of w has the images r, r + w, r + 2 w and so on."""
        batch = torch.randn(12, 3, 2, 2)
        whole = mix(batch, 0.6)
        for world in (2, 3):
            for rank in range(world):
                assert torch.equal(mix(batch[rank::world], 0.6), whole[rank::world])


class TestLoss:
    def test_label_smoothing_spreads_a_share_over_all_classes(self, config: Make) -> None:
        logits, labels = torch.randn(6, 5), torch.tensor([0, 1, 2, 3, 4, 0])
        soft = 0.9 * functional.one_hot(labels, 5) + 0.1 / 5
        torch.testing.assert_close(
            make_loss(config(label_smoothing=0.1))(logits, labels), functional.cross_entropy(logits, soft)
        )

    def test_the_hinge_loss_is_nothing_beyond_a_margin_of_one(self, config: Make) -> None:
        loss = make_loss(config(loss="hinge"))
        assert loss(torch.tensor([[2.0, 0.9, 1.0]]), torch.tensor([0])).item() == 0.0
        assert loss(torch.tensor([[2.0, 1.6, 0.0]]), torch.tensor([0])).item() == pytest.approx(0.6 / 3)
