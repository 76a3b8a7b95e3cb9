"""Files of weights: what is read, what is refused, and with which words."""

from __future__ import annotations

import os
import pickle
import pickletools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_files import for_tensorflow, message, number, write_caffe_model, write_numpy
from safetensors.torch import save_file

from alexnet_fast.errors import UserError
from alexnet_fast.models import create_model
from alexnet_fast.training.checkpoint.model_io import load_trained, read_pretrained
from alexnet_fast.weights import Pretrained, fit_weights
from alexnet_fast.weights.caffe import read_caffe_model

SMALL = {"conv1": (4, 3, 3, 3), "conv2": (6, 2, 3, 3), "fc6": (5, 6 * 2 * 2), "fc7": (3, 5)}


@pytest.fixture
def arrays() -> dict[str, list[np.ndarray]]:
    random = np.random.default_rng(0)
    return {
        name: [random.standard_normal(shape, np.float32), random.standard_normal(shape[0], np.float32)]
        for name, shape in SMALL.items()
    }


@pytest.mark.parametrize("write", [write_numpy, *(
    lambda path, arrays, old=old: write_caffe_model(path, arrays, old=old) for old in (True, False)
)])  # fmt: skip
def test_kernels_and_matrices_come_out_in_our_layout(write, arrays, tmp_path: Path) -> None:
    path = tmp_path / ("x.npy" if write is write_numpy else "x.caffemodel")
    write(path, arrays)
    found = read_pretrained(path).tensors
    assert list(found) == [f"{name}.{kind}" for name in SMALL for kind in ("weight", "bias")]
    for name, (weight, bias) in arrays.items():
        wanted = weight[:, ::-1] if name == "conv1" else weight  # BGR to RGB
        np.testing.assert_array_equal(found[f"{name}.weight"].numpy(), wanted)
        np.testing.assert_array_equal(found[f"{name}.bias"].numpy(), bias)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_every_protocol_that_numpy_saves_with_is_read(arrays, protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(np.array(for_tensorflow(arrays), dtype=object), file, protocol=protocol)
    assert read_pretrained(path).tensors["fc7.bias"].tolist() == arrays["fc7"][1].tolist()


class Runs:
    """What a hostile file holds: a call."""

    def __init__(self, call: Callable[..., Any], *words: object) -> None:
        self._call, self._words = call, words

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call, self._words


@pytest.mark.parametrize(
    ("call", "words", "named"),
    [
        (os.mkdir, ("HERE",), "posix.mkdir"),
        (eval, ("1",), "builtins.eval"),
        (np.load, ("x",), "numpy.load"),
        (getattr, (1, "real"), "builtins.getattr"),
        (np.dtype, ("O",), None),
    ],
)
def test_a_numpy_file_runs_nothing(call, words, named, tmp_path: Path) -> None:
    """Each call would work; the file is refused by name, and nothing was made."""
    words = [str(tmp_path / "made") if word == "HERE" else word for word in words]
    path = tmp_path / "x.npy"
    np.save(path, np.array({"conv1": [Runs(call, *words)]}, dtype=object), allow_pickle=True)
    with pytest.raises(
        UserError, match=f"it asks for {named}.*do not trust" if named else "does not hold layers"
    ):
        read_pretrained(path)
    assert list(tmp_path.iterdir()) == [path]


def damaged(content: bytes) -> dict[str, bytes]:
    return {
        "cut": content[: len(content) // 2],
        "empty": b"",
        "text": b"hello, I am text",
        "bit": b"\xff" + content[1:],
    }


@pytest.mark.parametrize("how", ["cut", "empty", "text", "bit"])
@pytest.mark.parametrize("suffix", [".npy", ".caffemodel", ".pth", ".safetensors"])
def test_damaged_files_are_named(how: str, suffix: str, arrays, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        write_numpy(path, arrays)
    elif suffix == ".caffemodel":
        write_caffe_model(path, arrays, old=True)
    elif suffix == ".pth":
        torch.save({"a": torch.zeros(100)}, path)
    else:
        save_file({"a": torch.zeros(100)}, path)
    path.write_bytes(damaged(path.read_bytes())[how])
    with pytest.raises(UserError, match=f"x{suffix}") as caught:
        read_pretrained(path)
    assert "\n" not in str(caught.value)


def test_random_bytes_never_do_more_than_refuse(arrays, tmp_path: Path) -> None:
    """400 files with a few bytes changed: each is read or refused, none raises anything else."""
    random = np.random.default_rng(3)
    for suffix in (".npy", ".caffemodel"):
        path = tmp_path / f"x{suffix}"
        whole = (write_numpy if suffix == ".npy" else lambda p, a: write_caffe_model(p, a, old=False))(
            path, arrays
        )
        content = whole.read_bytes()
        refused = 0
        for _ in range(200):
            spoiled = bytearray(content)
            for place in random.integers(0, len(content), 8):
                spoiled[place] = random.integers(256)
            path.write_bytes(spoiled)
            try:
                read_pretrained(path)
            except UserError:
                refused += 1
        assert refused > 0


def test_other_numpy_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "plain.npy", np.zeros((3, 3)))
    with pytest.raises(UserError, match="holds one array of numbers, not layers by name"):
        read_pretrained(tmp_path / "plain.npy")
    np.save(tmp_path / "ints.npy", np.array({"a": [np.zeros(3, np.int64)]}, dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="an array of type i8"):
        read_pretrained(tmp_path / "ints.npy")
    assert "numpy" in "".join(str(arg) for _, arg, _ in pickletools.genops(pickle.dumps(np.zeros(1), 2)))


def test_a_caffe_file_whose_numbers_do_not_fit_its_shape(tmp_path: Path) -> None:
    blob = message(7, message(1, b"\x05")) + message(5, np.zeros(4, "<f4").tobytes())
    (tmp_path / "x.caffemodel").write_bytes(message(100, message(1, b"fc") + message(7, blob)))
    with pytest.raises(UserError, match=r"is not a .caffemodel, or is damaged \(4 numbers do not fit"):
        read_pretrained(tmp_path / "x.caffemodel")


def test_a_caffe_file_whose_numbers_are_not_packed(tmp_path: Path) -> None:
    """Old writers write one field per number; a number in a field of another type is skipped."""
    floats = b"".join(bytes([5 << 3 | 5]) + struct.pack("<f", value) for value in (1.5, -2.0))
    doubles = b"".join(bytes([8 << 3 | 1]) + struct.pack("<d", value) for value in (0.25, 3.0, 4.0))
    layers = [(b"one", floats), (b"two", doubles + number(5, 1 << 40))]
    content = b"".join(message(2, message(4, name) + message(6, blob)) for name, blob in layers)
    (tmp_path / "x.caffemodel").write_bytes(content)
    _, arrays = read_caffe_model(tmp_path / "x.caffemodel")
    assert {name: blob.tolist() for name, (blob,) in arrays.items()} == {
        "one": [1.5, -2.0],
        "two": [0.25, 3.0, 4.0],
    }


def small_weights(classes: int = 4, **changes: torch.Tensor) -> Pretrained:
    torch.manual_seed(1)
    tensors = create_model("linear", classes, image_size=8).state_dict()
    return Pretrained(path=Path("w.pth"), tensors={**tensors, **changes}, model="linear")


def test_a_tensor_of_another_shape_is_named_with_both_shapes() -> None:
    net = create_model("mlp", 4, image_size=8)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(
        UserError,
        match="fc1.weight in w.pth has shape 4x192, the network needs 1024x192; give --model linear",
    ):
        fit_weights(net, small_weights(), None)
    other = create_model("mlp", 4, image_size=16).state_dict()
    less = {name: tensor for name, tensor in before.items() if name != "fc1.bias"}
    with pytest.raises(UserError, match="w.pth has no fc1.bias, which the network needs"):
        fit_weights(net, Pretrained(path=Path("w.pth"), tensors=less), None)
    with pytest.raises(UserError, match="fc1.weight in w.pth has shape 1024x768, the network needs 1024x192"):
        fit_weights(net, Pretrained(path=Path("w.pth"), tensors=other), None)
    with pytest.raises(UserError, match="w.pth has fc9.weight, which the network does not know"):
        tensors = {**net.state_dict(), "fc9.weight": torch.zeros(1)}
        fit_weights(net, Pretrained(path=Path("w.pth"), tensors=tensors), None)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_the_last_layer_begins_anew_for_other_classes() -> None:
    net = create_model("linear", 3, image_size=8)
    fresh = net.fc1.weight.clone()
    assert fit_weights(net, small_weights(4), ("a", "b", "c")).new_head
    assert torch.equal(net.fc1.weight, fresh)
    same = small_weights(3)
    assert not fit_weights(net, same, ("a", "b", "c")).new_head
    assert torch.equal(net.fc1.weight, same.tensors["fc1.weight"])
    named = Pretrained(path=Path("w"), tensors=same.tensors, classes=("x", "y", "z"))
    assert fit_weights(net, named, ("a", "b", "c")).new_head
    assert fit_weights(net, same, ("a", "b", "c"), new_head=True).new_head


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torchvisions_names(suffix: str, tmp_path: Path) -> None:
    ours = create_model("alexnet-owt", 3)
    names = {ours_: theirs for theirs, ours_ in ours.torchvision_names(ours.spec).items()}
    theirs = {
        f"{names[k.rpartition('.')[0]]}.{k.rpartition('.')[2]}": v for k, v in ours.state_dict().items()
    }
    path = tmp_path / f"alexnet{suffix}"
    torch.save(theirs, path) if suffix == ".pth" else save_file(theirs, path)
    trained = load_trained(path, "alexnet-owt")
    assert torch.equal(trained.net.conv5.weight, ours.conv5.weight)
    assert len(trained.classes) == 3
    with pytest.raises(UserError, match="alexnet.* has no fc8.weight, which the network needs"):
        load_trained(path, "alexnet")


def test_foreign_files_say_which_network_they_are(arrays, tmp_path: Path) -> None:
    write_numpy(tmp_path / "x.npy", arrays)
    with pytest.raises(UserError, match="does not say which model it belongs to; give --model"):
        load_trained(tmp_path / "x.npy")
    write_numpy(tmp_path / "x.npy", {**arrays, "fc8": arrays["fc7"]})
    with pytest.raises(UserError, match="conv1.weight in .* has shape 4x3x3x3, the network needs 96x3x11x11"):
        load_trained(tmp_path / "x.npy", "alexnet-caffe")
    more = {"conv5": arrays["conv2"], **arrays}
    for name, model in (("CaffeNet", "caffenet"), ("AlexNet", "alexnet-caffe")):
        write_caffe_model(tmp_path / "x.caffemodel", more, old=True, name=name)
        assert read_pretrained(tmp_path / "x.caffemodel").model == model
