"""Reads `--output` of an export: a folder, or the file itself if the name ends in .onnx or .engine."""

from __future__ import annotations

from pathlib import Path

from alexnet_fast.errors import UserError

_DEFAULT = "model"
_ONNX, _ENGINE = ".onnx", ".engine"
# Extensions of other model files, which an export does not write.
_OTHER_SUFFIXES = (
    ".pt",
    ".pth",
    ".safetensors",
    ".npy",
    ".caffemodel",
    ".trt",
    ".plan",
    ".ckpt",
    ".h5",
    ".tflite",
    ".pb",
)


def export_place(output: Path | None, weights: Path, *, trt: bool) -> tuple[Path, str]:
    """Returns the folder of an export, and the name of its files without extension.

    Args:
        output: Value of the option: a path that ends in .onnx or .engine is that file, any other a folder.
        weights: The run folder or file of weights; its folder is the default.
        trt: Whether an engine is built.

    Raises:
        UserError: The option names a file that this export does not write, or a folder with the extension of
            a file.
    """
    if output is None:
        return (weights if weights.is_dir() else weights.parent), _DEFAULT
    suffix = output.suffix.lower()
    if suffix in _OTHER_SUFFIXES and not output.is_dir():
        raise UserError(
            f"--output {output}: an export writes ONNX files and TensorRT engines, not {suffix}",
            f"give a folder, or {output.with_suffix(_ONNX)}",
            exit_code=2,
        )
    if suffix not in (_ONNX, _ENGINE):
        return output, _DEFAULT
    if output.suffix != suffix:
        raise UserError(
            f"--output {output}: {output.suffix} is not known as {suffix}",
            f"give {output.with_suffix(suffix)}",
            exit_code=2,
        )
    if output.is_dir():
        raise UserError(
            f"--output {output} is a folder with the extension of a file",
            "remove it, or give another path",
            exit_code=2,
        )
    if suffix == _ENGINE and not trt:
        raise UserError(f"--output {output} is an engine, and none is built", "add --trt", exit_code=2)
    return output.parent, output.stem
