"""A trained network together with what is needed to use it: classes and preprocessing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.files import atomic_file
from alexnet_fast.models import build_model, input_of
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.training.checkpoint import FORMAT, load_checkpoint, load_tensors
from alexnet_fast.training.run_folder import RunFolder

Tensors = dict[str, torch.Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """A network that can be evaluated, exported and served.

    Args:
        net: In evaluation mode, on the CPU.
        arguments: What `build_model` was called with.
        classes: Names of its outputs.
        spec: Its preprocessing.
        provenance: Where the weights come from: run, epoch, versions.
    """

    net: nn.Module
    arguments: dict[str, Any]
    classes: tuple[str, ...]
    spec: AugmentSpec
    provenance: dict[str, Any]

    @property
    def model(self) -> str:
        """The model's name."""
        return str(self.arguments["name"])


def load_trained(path: Path, model: str | None = None) -> Trained:
    """Reads a run folder (its best checkpoint), a checkpoint, or a file of weights.

    Args:
        path: A run folder, a `.pt`/`.pth` or a `.safetensors` file.
        model: Name of the model, needed for weights alone (such as torchvision's), which do not say it.

    Raises:
        UserError: There is nothing of the kind, or the weights do not fit the model.
    """
    if path.is_dir():
        return _from_run(path)
    if not path.exists():
        raise UserError(f"no such run or file: {path}", "give a run folder or a file of weights", exit_code=2)
    if path.suffix == ".safetensors":
        return _from_safetensors(path, model)
    if model is None:
        return _from_checkpoint(path)
    content = load_tensors(path)
    return _from_checkpoint(path) if content.get("format") == FORMAT else _from_weights(path, content, model)


def save_weights(path: Path, trained: Trained) -> None:
    """Writes the weights as safetensors, with classes and preprocessing in the header.

    Raises:
        UserError: The file cannot be written.
    """
    from safetensors.torch import save

    header = {
        "arguments": json.dumps(trained.arguments),
        "classes": json.dumps(trained.classes),
        "spec": json.dumps(trained.spec.to_dict()),
        "provenance": json.dumps(trained.provenance),
    }
    tensors = {name: tensor.contiguous() for name, tensor in trained.net.state_dict().items()}
    with atomic_file(path) as file:
        file.write(_in_order(save(tensors, metadata=header)))


def _in_order(content: bytes) -> bytes:
    """Sorts the header of a safetensors file, which comes in another order in every process.

    The file is the header's length in eight bytes, the header as JSON padded with spaces to a multiple of
    eight, and the tensors, whose places the header counts from its own end.
    """
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def _from_run(path: Path) -> Trained:
    """Reads the best checkpoint of a run folder."""
    run = RunFolder(path)
    for checkpoint in (run.best, run.last):
        if checkpoint.exists():
            return _from_checkpoint(checkpoint)
    raise UserError(f"{path} holds no checkpoint", "give the folder of a run (alexnet-fast train --run)")


def _from_checkpoint(path: Path) -> Trained:
    """Reads a checkpoint of ours."""
    content = load_checkpoint(path)
    return _trained(
        path, content["model"], content["weights"], content["classes"], content["spec"], content["provenance"]
    )


def _from_safetensors(path: Path, model: str | None) -> Trained:
    """Reads a safetensors file, ours by its header, or plain weights of a named model."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a safetensors file, or is damaged", "export it again") from error
    if "arguments" not in header:
        return _from_weights(path, weights, model)
    fields = {name: json.loads(header[name]) for name in ("arguments", "classes", "spec", "provenance")}
    return _trained(
        path, fields["arguments"], weights, fields["classes"], fields["spec"], fields["provenance"]
    )


def _from_weights(path: Path, weights: dict[str, Any], model: str | None) -> Trained:
    """Puts bare weights into a named model; the classes have numbers for names."""
    if model is None:
        raise UserError(f"{path} does not say which model it belongs to", "give --model NAME", exit_code=2)
    head = [value for value in weights.values() if isinstance(value, torch.Tensor) and value.dim() == 1]
    if not head:
        raise UserError(f"{path} holds no weights by name", "give a state dict", exit_code=2)
    classes = [str(index) for index in range(len(head[-1]))]
    arguments = {"name": model, "num_classes": len(classes)}
    own = input_of(model)
    spec = AugmentSpec(resize=own.resize, crop=own.crop, mean=own.mean, std=own.std)
    return _trained(path, arguments, weights, classes, spec.to_dict(), {"weights": path.name})


def _trained(
    path: Path,
    arguments: dict[str, Any],
    weights: Tensors,
    classes: list[str],
    spec: dict[str, Any],
    provenance: dict[str, Any],
) -> Trained:
    """Builds the network and fills it."""
    net = build_model(arguments)
    try:
        net.load_state_dict(weights)
    except (RuntimeError, KeyError) as error:
        lines = str(error).strip().splitlines()
        raise UserError(
            f"the weights of {path} do not fit {arguments['name']}: {lines[-1].strip()}", "check --model"
        ) from error
    net.eval()
    return Trained(
        net=net,
        arguments=arguments,
        classes=tuple(classes),
        spec=AugmentSpec.from_dict(spec),
        provenance=provenance,
    )
