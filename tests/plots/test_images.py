"""Content of each plot; plots are visible and reproducible."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from torch import nn

import alexnet_fast.plots
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.cpu.pillow import decode
from alexnet_fast.pipelines.loader import LoaderConfig
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.ten_crop import crop_probabilities, take_crops
from alexnet_fast.plots.augmented import augmented, training_samples
from alexnet_fast.plots.confusion import confusion
from alexnet_fast.plots.crops import crop_by_crop, crops
from alexnet_fast.plots.curves import curves
from alexnet_fast.plots.kernels import kernels
from alexnet_fast.plots.predictions import Sample, predictions
from alexnet_fast.plots.style import label_text, png_bytes, save_png
from alexnet_fast.runtime.prediction import ClassScore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.figure import Figure

    from alexnet_fast.data import ImageList

SPEC = AugmentSpec(resize=72, crop=64)
MATRIX = np.array([[8, 2, 0], [3, 7, 0], [0, 0, 0]])


def small_net() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Module()
    net.conv1 = nn.Conv2d(3, 20, 5)
    net.conv2 = nn.Conv2d(20, 24, 3, groups=2)
    net.fc8 = nn.Linear(4, 2)
    return net


def settings() -> dict[str, Any]:
    # Asking for the backend would load one.
    return {name: mpl.rcParams[name] for name in mpl.rcParams if name != "backend"}


def sample(truth: str | None, *guesses: str) -> Sample:
    share = 1 / len(guesses)
    named = tuple(ClassScore(label=name, index=i, probability=share) for i, name in enumerate(guesses))
    return Sample(pixels=np.full((40, 60, 3), 99, np.uint8), truth=truth, guesses=named)


@pytest.fixture(
    params=[
        "curves",
        "augmented",
        "crops",
        "said crops",
        "kernels",
        "grey kernels",
        "confusion",
        "predictions",
    ]
)
def draw(request: pytest.FixtureRequest, rows: Any, listed: ImageList, noise: Any) -> Callable[[], Figure]:
    """Each kind of plot in turn."""
    square = noise(72, 72, 0)
    said = np.full((10, 3), 1 / 3)
    kinds: dict[str, Callable[[], Figure]] = {
        "curves": lambda: curves(rows(5)),
        "augmented": lambda: augmented(listed, SPEC, samples=2),
        "crops": lambda: crops(square, SPEC),
        "said crops": lambda: crops(square, SPEC, said, ("ant", "bee", "cow"), truth=1),
        "kernels": lambda: kernels(small_net()),
        "grey kernels": lambda: kernels(small_net(), "conv2"),
        "confusion": lambda: confusion(MATRIX, ("ant", "bee", "cow")),
        "predictions": lambda: predictions(
            [sample("ant", "ant", "bee"), sample("bee", "ant"), sample(None, "cow")]
        ),
    }
    return kinds[request.param]


class TestEveryImage:
    def test_fits_a_page_and_is_not_blank(self, draw: Any, pixels_of: Any) -> None:
        pixels = pixels_of(png_bytes(draw()))
        height, width, _ = pixels.shape
        assert 300 <= width <= 1120
        assert 200 <= height <= 2400
        assert pixels.std() > 8
        assert (pixels[0] == 255).mean() > 0.9, "the edge is white paper"

    def test_is_the_same_file_every_time_whatever_the_users_settings(self, draw: Any) -> None:
        first = png_bytes(draw())
        with mpl.rc_context({"font.size": 31, "axes.facecolor": "black", "savefig.dpi": 33}):
            before = settings()
            assert png_bytes(draw()) == first
            assert settings() == before, "settings stay as they were"

    def test_carries_no_date_and_no_version(self, draw: Any) -> None:
        png = png_bytes(draw())
        assert b"Software" not in png
        assert b"tEXt" not in png
        assert b"tIME" not in png


def test_nothing_goes_through_pyplot(monkeypatch: pytest.MonkeyPatch, noise: Any) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    png_bytes(crops(noise(72, 72, 0), SPEC))
    assert "matplotlib.pyplot" not in sys.modules


def test_save_png_writes_the_bytes_and_leaves_nothing_else(tmp_path: Path) -> None:
    figure = confusion(MATRIX, ("ant", "bee", "cow"))
    save_png(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == png_bytes(figure)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"need matplotlib; pip install 'alexnet-fast\[demo\]'"):
        importlib.reload(alexnet_fast.plots)


class TestLabelText:
    def test_keeps_short_names(self) -> None:
        assert label_text("001.ak47") == "001.ak47"

    def test_cuts_the_middle_out_of_long_ones(self) -> None:
        short = label_text("n02085620-Chihuahua, a very small dog", 12)
        assert len(short) == 12
        assert short.startswith("n02085")
        assert short.endswith("l dog")

    def test_is_one_printable_line(self, hostile: tuple[str, ...]) -> None:
        assert all(label_text(name).isprintable() and label_text(name) for name in hostile)


class TestCurves:
    def test_one_epoch_is_enough(self, rows: Any) -> None:
        figure = curves(rows(1))
        png_bytes(figure)
        assert figure.axes[0].get_lines()[0].get_xdata().tolist() == [1]

    def test_calls_the_loss_by_no_unit_that_a_hinge_loss_does_not_have(self, rows: Any) -> None:
        assert curves(rows(2)).axes[0].get_ylabel() == "loss"

    def test_rings_the_epoch_whose_weights_are_kept(self, rows: Any) -> None:
        (legend,) = curves(rows(6)).legends
        assert "best: epoch 4, 90.0%" in [text.get_text() for text in legend.get_texts()]

    def test_names_each_learning_rate_and_marks_where_it_falls(self, rows: Any) -> None:
        figure = curves(rows(6))
        rate = figure.axes[2]
        assert rate.get_yticks().tolist() == [0.001, 0.01]
        for axes in figure.axes:
            assert [3.5, 3.5] in [list(line.get_xdata()) for line in axes.get_lines()]

    def test_no_epoch_is_an_error(self) -> None:
        with pytest.raises(UserError, match="no finished epoch"):
            curves([])


class TestAugmented:
    def test_samples_are_the_loaders_own_pixels(self, listed: ImageList) -> None:
        # Without jitter and resizing, a sample is a piece of the file, mirrored or not.
        plain = AugmentSpec(resize=72, crop=64, std=(58.0, 57.0, 56.0), jitter=None)
        tiles = training_samples(listed, plain, samples=2, seed=1, config=LoaderConfig(workers=1))
        assert sorted(tiles) == [0, 1, 2, 3]
        for index, views in tiles.items():
            whole = np.asarray(decode(listed.path(index)))
            pieces = np.lib.stride_tricks.sliding_window_view(whole, (64, 64, 3)).reshape(-1, 64, 64, 3)
            for view in views:
                assert any((piece == either).all() for piece in pieces for either in (view, view[:, ::-1]))

    def test_epochs_differ_and_the_seed_chooses(self, listed: ImageList) -> None:
        def draw(seed: int) -> list[bytes]:
            one = listed.select([0])
            views = training_samples(one, SPEC, samples=3, seed=seed, config=LoaderConfig(workers=1))
            return [view.tobytes() for view in views[0]]

        assert len(set(draw(0))) == 3
        assert draw(0) == draw(0)
        assert draw(0) != draw(1)

    def test_says_which_loader_made_them(self, listed: ImageList) -> None:
        one = listed.select([0])
        by_dali = augmented(one, SPEC, samples=1, config=LoaderConfig(workers=1))
        by_pillow = augmented(one, SPEC, samples=1, config=LoaderConfig(kind="torch", workers=1))
        assert by_dali.get_supxlabel().startswith("Loaded by DALI ")
        assert by_pillow.get_supxlabel().startswith("Loaded by Pillow ")


class TestCrops:
    def test_tiles_are_the_ten_crops_in_the_order_of_the_network(self, noise: Any) -> None:
        square = noise(72, 72, 3)
        unscaled = AugmentSpec(resize=72, crop=64, mean=(0.0, 0.0, 0.0))
        expected = take_crops(torch.tensor(square)[None], unscaled, "ten").permute(0, 2, 3, 1).numpy()
        tiles = crops(square, unscaled).subfigs[1].axes
        assert len(tiles) == 10
        for axes, crop in zip(tiles, expected, strict=True):
            np.testing.assert_array_equal(axes.images[0].get_array(), crop)

    def test_each_says_its_likeliest_class_and_whether_it_is_right(self, noise: Any) -> None:
        said = np.tile([0.75, 0.25], (10, 1))
        said[3] = [0.4, 0.6]
        figure = crops(noise(72, 72, 0), SPEC, said, ("ant", "bee"), truth=0)
        labels = [axes.get_xlabel() for axes in figure.subfigs[1].axes]
        assert labels[0] == "✓ ant 75%"
        assert labels[3] == "✗ bee 60%"
        texts = [text.get_text() for text in figure.subfigs[0].axes[1].texts]
        assert texts == ["ant (true)", "71.5%", "bee", "28.5%"]

    def test_what_the_crops_say_averages_to_the_ten_crop_answer(self, noise: Any) -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(48, 3)).eval()
        square = noise(72, 72, 1)
        with torch.inference_mode():
            expected = crop_probabilities(net, torch.tensor(square)[None], SPEC, "ten")[0]
        np.testing.assert_allclose(crop_by_crop(net, square, SPEC).mean(axis=0), expected, atol=1e-6)

    def test_a_net_that_takes_the_whole_image_has_none(self, noise: Any) -> None:
        with pytest.raises(UserError, match="ten crops need an image larger"):
            crops(noise(64, 64, 0), AugmentSpec(resize=64, crop=64))

    def test_sizes_that_do_not_fit_are_named(self, noise: Any) -> None:
        with pytest.raises(UserError, match="the image is 70x72x3"):
            crops(noise(70, 72, 0), SPEC)
        with pytest.raises(UserError, match="the probabilities are 9x2, not 10x2"):
            crops(noise(72, 72, 0), SPEC, np.zeros((9, 2)), ("a", "b"))


class TestKernels:
    def test_colour_kernels_are_all_shown(self) -> None:
        assert kernels(small_net()).axes[0].get_title("left") == "conv1: all 20 kernels of 5x5 pixels, RGB"

    def test_grey_ones_say_how_many_of_how_many(self) -> None:
        title = kernels(small_net(), "conv2").axes[0].get_title("left")
        assert title == "conv2: 16 of 24 kernels of 3x3 (rows), all 10 input channels (columns)"

    def test_zero_is_middle_grey_and_the_largest_weight_is_full(self) -> None:
        net = small_net()
        with torch.no_grad():
            net.conv1.weight.zero_()
            net.conv1.weight[0, 0, 0, 0] = -3.0
        sheet = np.asarray(kernels(net).axes[0].images[0].get_array())
        assert sheet[0, 0].tolist() == [0.0, 0.5, 0.5]
        # Of twenty kernels four are in the second row: a grey one first, and paper at its end.
        assert sheet[-1, 0].tolist() == [0.5, 0.5, 0.5]
        assert sheet[-1, -1].tolist() == [1.0, 1.0, 1.0]
        assert np.isfinite(sheet).all()

    def test_an_unknown_layer_is_answered_with_the_list(self) -> None:
        with pytest.raises(
            UserError, match="--layer fc8 is no convolution of this network; choose from conv1, conv2"
        ):
            kernels(small_net(), "fc8")


class TestPredictions:
    def test_right_and_wrong_are_told_apart_without_colour(self) -> None:
        figure = predictions([sample("ant", "ant", "bee"), sample("bee", "ant", "bee")])
        titles = [axes.get_title("left") for axes in figure.axes if axes.images]
        assert titles == ["✓ true: ant", "✗ true: bee"]

    def test_an_unknown_truth_is_not_judged(self) -> None:
        (image, _) = predictions([sample(None, "ant")]).axes
        assert not image.get_title("left")

    def test_none_is_an_error(self) -> None:
        with pytest.raises(UserError, match="no prediction"):
            predictions([])


def test_learning_rates_that_lie_close_are_not_named_one_upon_the_other():
    from alexnet_fast.plots.curves import _apart

    assert _apart([0.00025, 0.00075, 0.001]) == [0.00025, 0.001]
    assert _apart([1e-4, 1e-3, 1e-2]) == [1e-4, 1e-3, 1e-2]
    assert _apart([0.01]) == [0.01]
