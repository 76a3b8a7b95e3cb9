"""Caffe's arrays, from its own files or turned around for TensorFlow, in our layout."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from alexnet_fast.models import CAFFE_INPUT, InputSpec

Arrays = dict[str, list[npt.NDArray[np.float32]]]

# Simonyan and Zisserman's mean, on the 0..255 scale (their Caffe models' page: BGR 103.939, 116.779, 123.68).
_VGG_INPUT = InputSpec(crop=224, resize=256, mean=(123.68, 116.779, 103.939), std=(1.0, 1.0, 1.0))


def from_caffe(arrays: Arrays) -> dict[str, torch.Tensor]:
    """Names Caffe's blobs as PyTorch does, and turns BGR to RGB.

    Args:
        arrays: Weights and biases by layer. Kernels (out, in / groups, height, width), as ours; matrices
            (out, in) or (1, 1, out, in), the inputs by channel, row, column, as ours.
    """
    tensors = {}
    for name, blobs in arrays.items():
        weight = blobs[0].squeeze() if blobs[0].shape[:2] == (1, 1) else blobs[0]
        tensors[f"{name}.weight"] = torch.from_numpy(weight.copy())
        if len(blobs) > 1:
            tensors[f"{name}.bias"] = torch.from_numpy(blobs[1].reshape(-1).copy())
    return _to_rgb(tensors)


def from_tensorflow(arrays: Arrays) -> dict[str, torch.Tensor]:
    """The same for arrays that were turned around for TensorFlow, as `bvlc_alexnet.npy` has them.

    Args:
        arrays: Kernels (height, width, in / groups, out); matrices (in, out), those of the first one by row,
            column, channel.
    """
    turned, channels, before = {}, 0, False
    for name, (weight, *bias) in arrays.items():
        if weight.ndim == 4:
            channels, before = weight.shape[3], True
            turned[name] = [weight.transpose(3, 2, 0, 1), *bias]
            continue
        matrix = weight.T
        if before and weight.ndim == 2:
            matrix = _by_channel(matrix, channels)
        before = False
        turned[name] = [matrix, *bias]
    return from_caffe(turned)


def _by_channel(matrix: npt.NDArray[np.float32], channels: int) -> npt.NDArray[np.float32]:
    """Orders inputs that come by row, column, channel by channel, row, column; maps are squares."""
    outputs, inputs = matrix.shape
    side = round((inputs / channels) ** 0.5)
    if side * side * channels != inputs:
        return matrix
    return matrix.reshape(outputs, side, side, channels).transpose(0, 3, 1, 2).reshape(outputs, inputs)


def _to_rgb(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Reverses the input channels of the first convolution: Caffe reads images as BGR."""
    first = next((name for name, tensor in tensors.items() if tensor.dim() == 4), None)
    if first is not None and tensors[first].shape[1] == 3:
        tensors[first] = tensors[first].flip(1)
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def caffe_input(tensors: dict[str, torch.Tensor]) -> InputSpec:
    """The images of Caffe's published networks: 0..255 less a mean, VGG's or ILSVRC's."""
    return _VGG_INPUT if "conv1_1.weight" in tensors else CAFFE_INPUT


def caffe_model(tensors: dict[str, torch.Tensor], net_name: str = "") -> str | None:
    """The network of ours that computes what Caffe's does, by its layers and the name that it was given."""
    if "conv1_1.weight" in tensors:
        return "vgg16" if "conv5_3.weight" in tensors else None
    if "conv5.weight" not in tensors:
        return None
    return "caffenet" if net_name.lower() == "caffenet" else "alexnet-caffe"
