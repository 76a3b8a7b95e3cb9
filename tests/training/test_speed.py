"""What makes a step fast: nothing is read back, half precision holds, compiled and recorded passes agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from dispatched import calls

from alexnet_fast.errors import UserError
from alexnet_fast.models import create_model
from alexnet_fast.training.checkpoint.state import ScalerState
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.metrics_log import read_metrics
from alexnet_fast.training.optim import make_optimizer
from alexnet_fast.training.precision import Precision, choose_precision
from alexnet_fast.training.run import train
from alexnet_fast.training.train_step import EagerForwardBackward, compile_net
from alexnet_fast.training.trainer import Trainer

Make = Callable[..., TrainConfig]


EVERYTHING = {"ema_decay": 0.9, "mixup_alpha": 0.3, "label_smoothing": 0.1, "nesterov": True}


@pytest.mark.parametrize(
    "options",
    [
        {},
        EVERYTHING,
        pytest.param({"optimizer": "lars", "loss": "hinge"}, marks=pytest.mark.slow),
        pytest.param({"optimizer": "adamw"}, marks=pytest.mark.slow),
    ],
    ids=["plain", "everything", "lars", "adamw"],
)
def test_nothing_is_read_back_between_two_reports(
    config: Make, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """Counts every operator of all steps but those that are reported, the backward passes too."""
    seen: Counter[str] = Counter()
    take_step, steps = Trainer._take_step, []

    def counting(*arguments: Any) -> None:
        with calls() as some:
            take_step(*arguments)
        seen.update(some)
        steps.append(None)

    monkeypatch.setattr(Trainer, "_take_step", counting)
    train(config(epochs=1, log_interval=1000, **options))
    assert len(steps) == 3
    assert seen["aten::convolution"] == 5 * 3, "the steps are seen"
    assert seen["aten::convolution_backward"] == 5 * 3, "their backward passes are seen"
    assert "aten::_local_scalar_dense" not in seen
    assert "aten::is_nonzero" not in seen
    assert "aten::nonzero" not in seen
    # Copies change the type here (float64 sums of the meter); with a device they would stay on it.
    with calls() as control:
        torch.ones(1).sum().item()
    assert control["aten::_local_scalar_dense"], "the control is seen"


@pytest.mark.gpu
def test_no_step_waits_for_the_gpu(config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    take_step, taken = Trainer._take_step, []

    def watched(*arguments: Any) -> None:
        # The first steps choose algorithms and allocate.
        torch.cuda.set_sync_debug_mode("error" if len(taken) > 1 else "default")
        try:
            take_step(*arguments)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        taken.append(None)

    monkeypatch.setattr(Trainer, "_take_step", watched)
    train(config(epochs=2, device="cuda", amp="fp16", **EVERYTHING))
    assert len(taken) == 6


class TestHalfPrecision:
    """fp16 as it runs on a GPU, on the CPU: autocast and loss scaling are the same code there."""

    def parts(
        self, config: Make, name: str = "convnet-64"
    ) -> tuple[torch.nn.Module, torch.optim.Optimizer, EagerForwardBackward]:
        """Returns a network, its optimiser and a pass in fp16 with a scale of 1024."""
        torch.manual_seed(0)
        net = create_model(name, 4).eval()
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        precision = Precision(device=torch.device("cpu"), dtype=torch.float16)
        one_pass = EagerForwardBackward(
            model=net, loss=torch.nn.functional.cross_entropy, precision=precision, scaler=scaler
        )
        return net, make_optimizer(config(lr=1e-4), net), one_pass

    def step(
        self,
        optimizer: torch.optim.Optimizer,
        one_pass: EagerForwardBackward,
        images: torch.Tensor,
        weight: float = 1.0,
    ) -> torch.Tensor:
        """Takes a step and returns the loss; with a weight of a million the gradients overflow."""
        optimizer.zero_grad()
        loss, _ = one_pass(images, torch.arange(4), weight, None)
        one_pass.scaler.step(optimizer)
        one_pass.scaler.update()
        return loss

    def test_images_on_the_papers_scale_give_numbers(self, config: Make) -> None:
        """Activations reach the hundreds, whose squares overflow fp16 in a plain LRN."""
        net, optimizer, one_pass = self.parts(config, "alexnet-64")
        images = torch.randn(4, 3, 64, 64) * 60
        loss = self.step(optimizer, one_pass, images)
        assert torch.isfinite(loss)
        assert one_pass.scaler.get_scale() == 1024.0
        with torch.no_grad():
            expected = torch.nn.functional.cross_entropy(create_like(net)(images), torch.arange(4))
        assert loss.item() == pytest.approx(expected.item(), rel=0.02)

    def test_an_overflow_leaves_the_weights_and_halves_the_scale(self, config: Make) -> None:
        net, optimizer, one_pass = self.parts(config)
        before = {name: value.clone() for name, value in net.state_dict().items()}
        self.step(optimizer, one_pass, torch.randn(4, 3, 64, 64) * 60, weight=1e6)
        assert one_pass.scaler.get_scale() == 512.0
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
        self.step(optimizer, one_pass, torch.randn(4, 3, 64, 64) * 60)
        assert one_pass.scaler.get_scale() == 512.0
        assert not torch.equal(net.fc.weight, before["fc.weight"])

    def test_the_scale_and_the_steps_since_an_overflow_are_saved(self, config: Make) -> None:
        """A scaler that begins anew after a resume overflows for a dozen steps."""
        _, optimizer, one_pass = self.parts(config)
        self.step(optimizer, one_pass, torch.randn(4, 3, 64, 64) * 60, weight=1e6)
        self.step(optimizer, one_pass, torch.randn(4, 3, 64, 64) * 60)
        fresh = torch.amp.GradScaler("cpu", init_scale=65536.0)
        ScalerState(fresh).load_state_dict(ScalerState(one_pass.scaler).state_dict())
        assert fresh.get_scale() == 512.0
        assert fresh.state_dict()["_growth_tracker"] == 1


def create_like(net: torch.nn.Module) -> torch.nn.Module:
    """Returns the network as it was before its first step."""
    torch.manual_seed(0)
    return create_model("alexnet-64", 4).eval()


class TestChoice:
    def test_a_cpu_computes_in_float32_unless_it_is_asked(self) -> None:
        assert choose_precision("auto", torch.device("cpu")).name == "fp32"
        assert choose_precision("bf16", torch.device("cpu")).name == "bf16"

    def test_bf16_without_its_instructions_is_said_to_be_slow(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        from alexnet_fast.training import precision

        monkeypatch.setattr(precision, "has_bf16_instructions", lambda: False)
        with caplog.at_level("WARNING"):
            choose_precision("bf16", torch.device("cpu"))
        assert "no bf16 instructions" in caplog.text

    def test_graphs_are_refused_where_they_do_not_hold(self, config: Make) -> None:
        options = config(cuda_graphs=True, device="cpu")
        with pytest.raises(UserError, match="--cuda-graphs on cpu; give --device cuda"):
            train(options)
        assert not options.run.exists()

    def test_compile_without_a_compiler_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.delenv("CXX", raising=False)
        with pytest.raises(UserError, match="--compile finds no C.. compiler; apt-get install g"):
            compile_net(create_model("alexnet-64", 2), torch.device("cpu"))


@pytest.mark.slow
def test_a_compiled_run_learns_what_the_plain_one_does_and_is_saved_under_the_same_names(
    config: Make, tmp_path: Path
) -> None:
    for name, compiled in (("plain", False), ("compiled", True)):
        train(config(run=tmp_path / name, epochs=1, compile=compiled, dropout=0.0))
    one, other = (read_metrics(tmp_path / name / "metrics.csv")[0] for name in ("plain", "compiled"))
    assert other.train_loss == pytest.approx(one.train_loss, rel=1e-3)
    assert other.val_loss == pytest.approx(one.val_loss, rel=1e-3)


@pytest.mark.gpu
def test_recorded_passes_learn_what_the_plain_ones_do(config: Make, tmp_path: Path) -> None:
    options = {"device": "cuda", "amp": "off", "dropout": 0.0, "mixup_alpha": 0.3}
    for name, recorded in (("plain", False), ("recorded", True)):
        train(config(run=tmp_path / name, cuda_graphs=recorded, **options))
    one, other = (read_metrics(tmp_path / name / "metrics.csv")[-1] for name in ("plain", "recorded"))
    assert other.train_loss == pytest.approx(one.train_loss, rel=1e-3)
    assert other.val_loss == pytest.approx(one.val_loss, rel=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("amp", ["fp16", "bf16"])
def test_everything_together_runs_on_a_gpu(config: Make, amp: str) -> None:
    train(config(device="cuda", amp=amp, compile=True, **EVERYTHING))
