"""Where an export goes: `--output` names a folder, or the file itself where it ends as one."""

from __future__ import annotations

from pathlib import Path

from alexnet_fast.errors import UserError

_DEFAULT = "model"
_ONNX, _ENGINE = ".onnx", ".engine"
# What other files of models end in, which an export does not write.
_OTHERS = (
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
    """Returns the folder of an export, and what its files are called before their endings.

    Args:
        output: What the option says: a path that ends in .onnx or .engine is that file, every other a folder.
        weights: The run folder or file of weights; its folder is the default.
        trt: Whether an engine is built.

    Raises:
        UserError: It names a file that this export does not write, or a folder that ends as a file.
    """
    if output is None:
        return (weights if weights.is_dir() else weights.parent), _DEFAULT
    suffix = output.suffix.lower()
    if suffix in _OTHERS and not output.is_dir():
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
            f"--output {output} is a folder, and ends as a file",
            "remove it, or give another path",
            exit_code=2,
        )
    if suffix == _ENGINE and not trt:
        raise UserError(f"--output {output} is an engine, and none is built", "add --trt", exit_code=2)
    return output.parent, output.stem
