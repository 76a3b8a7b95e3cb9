"""A file of weights of another program."""

from __future__ import annotations

from pathlib import Path

from alexnet_fast.weights.caffe import read_caffe_model
from alexnet_fast.weights.layout import caffe_input, caffe_model, from_caffe, from_tensorflow
from alexnet_fast.weights.npy import read_arrays
from alexnet_fast.weights.pretrained import Pretrained


def is_external(path: Path) -> bool:
    """Tells whether a file is one that `read_foreign` reads, by its ending."""
    return path.suffix in (".npy", ".caffemodel")


def read_foreign(path: Path) -> Pretrained:
    """Reads a `.caffemodel`, or a `.npy` that was made of one for TensorFlow; nothing in the file is run.

    Raises:
        UserError: It is missing, damaged, or of another kind.
    """
    if path.suffix == ".caffemodel":
        net_name, arrays = read_caffe_model(path)
        tensors = from_caffe(arrays)
    else:
        net_name, tensors = "", from_tensorflow(read_arrays(path))
    return Pretrained(
        path=path, tensors=tensors, input=caffe_input(tensors), model=caffe_model(tensors, net_name)
    )
