"""Trained networks with their classes and preprocessing: loading and saving."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.models import InputSpec, build_model, create_model, input_of, is_custom
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.training.checkpoint.format import is_checkpoint, load_checkpoint, load_tensors
from alexnet_fast.training.run_dir import RunDir
from alexnet_fast.utils.atomic import atomic_file, utf8_path
from alexnet_fast.utils.special_files import check_plain
from alexnet_fast.weights import (
    Pretrained,
    fit_weights,
    is_external,
    our_names,
    read_foreign,
    recognise,
    unwrapped,
)

Tensors = dict[str, torch.Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A network that can be evaluated, exported and served.

    Args:
        net: In evaluation mode, on the CPU.
        arguments: The arguments of `build_model`.
        classes: Names of the outputs.
        spec: The preprocessing.
        provenance: The origin of the weights: run, epoch, versions.
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stored:
    """The content of a run directory or a file of weights; plain weights have tensors alone.

    Args:
        path: The file.
        tensors: State dict.
        arguments: See `TrainedModel`.
        classes: See `TrainedModel`.
        spec: See `TrainedModel`.
        provenance: See `TrainedModel`.
    """

    path: Path
    tensors: Tensors
    arguments: dict[str, Any] | None = None
    classes: tuple[str, ...] | None = None
    spec: AugmentSpec | None = None
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)


def load_trained(path: Path, model: str | None = None) -> TrainedModel:
    """Reads a run folder (its best checkpoint), a checkpoint, or a file of weights.

    Args:
        path: A run folder, a `.pt`/`.pth`, `.safetensors`, `.npy` or `.caffemodel` file.
        model: Name of the model, for plain weights, which do not hold it; those of torchvision's AlexNet and
            VGG-16 are recognised.

    Raises:
        UserError: The file is missing or invalid, or the weights do not fit the model.
    """
    if path.exists() and is_external(path):
        return _from_external(path, model)
    return _trained(read_weights(path), model)


def read_pretrained(path: Path) -> Pretrained:
    """Reads initial weights for a training run.

    Args:
        path: See `load_trained`.

    Raises:
        UserError: The file is missing or invalid.
    """
    if path.exists() and is_external(path):
        return read_foreign(path)
    stored = read_weights(path)
    spec, arguments = stored.spec, stored.arguments
    known = None if arguments else recognise(stored.tensors)
    return Pretrained(
        path=path,
        tensors=stored.tensors,
        input=InputSpec(crop=spec.crop, resize=spec.resize, mean=spec.mean, std=spec.std) if spec else None,
        classes=stored.classes,
        model=str(arguments["name"]) if arguments else known.ours if known else None,
    )


def read_weights(path: Path) -> Stored:
    """Reads weights without building a network.

    Args:
        path: See `load_trained`; files of other programs excepted.

    Raises:
        UserError: The file is missing or invalid.
    """
    if path.is_dir():
        path = _checkpoint_of(path)
    if not path.exists():
        raise UserError(f"no such run or file: {path}", "give a run folder or a file of weights", exit_code=2)
    if path.suffix == ".safetensors":
        return _from_safetensors(path)
    content = load_tensors(path)
    if not is_checkpoint(path, content):
        return Stored(path=path, tensors=_only_tensors(path, content))
    content = load_checkpoint(path)
    return _stored(path, content["weights"], content, content["model"])


def save_weights(path: Path, trained: TrainedModel) -> None:
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
    """Sorts the header of a safetensors file, whose order differs between processes.

    The file is the length of the header in eight bytes, the header as JSON padded with spaces to a multiple
    of eight, and the tensors, with offsets from the end of the header.
    """
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def _checkpoint_of(path: Path) -> Path:
    """Returns the best checkpoint of a run directory."""
    run = RunDir(path)
    for checkpoint in (run.best, run.last):
        if checkpoint.exists():
            return checkpoint
    raise UserError(f"{path} holds no checkpoint", "give the folder of a run (alexnet-fast train --run)")


def _only_tensors(path: Path, content: dict[str, Any]) -> Tensors:
    """Returns the state dict in a file of another program.

    Raises:
        UserError: The file holds no weights by name.
    """
    tensors = unwrapped(content)
    if tensors is None:
        raise UserError(
            f"{path} is not a checkpoint of alexnet-fast, and holds no weights by name",
            "give a run folder, its checkpoints/best.pt, or a state dict",
        )
    return tensors


def _stored(path: Path, tensors: Tensors, fields: dict[str, Any], arguments: dict[str, Any]) -> Stored:
    """Returns the content of a file of alexnet-fast."""
    return Stored(
        path=path,
        tensors=tensors,
        arguments=arguments,
        classes=tuple(fields["classes"]),
        spec=AugmentSpec.from_dict(fields["spec"]),
        provenance=fields["provenance"],
    )


def _from_safetensors(path: Path) -> Stored:
    """Reads a safetensors file: of alexnet-fast, known by its header, or plain weights."""
    from safetensors import SafetensorError, safe_open

    try:
        check_plain(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {system_reason(error)}", exit_code=2) from error
    try:
        with utf8_path(path) as named, safe_open(named, framework="pt") as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a safetensors file, or is damaged", "export it again") from error
    if "arguments" not in header:
        return Stored(path=path, tensors=weights)
    fields = {name: json.loads(header[name]) for name in ("arguments", "classes", "spec", "provenance")}
    return _stored(path, weights, fields, fields["arguments"])


def _from_external(path: Path, model: str | None) -> TrainedModel:
    """Reads a file of another program, which determines the network that computes the same."""
    pretrained = read_foreign(path)
    name = model or pretrained.model
    if name is None or pretrained.input is None:
        raise _unknown_model(path)
    classes = _numbered(_outputs(path, name, pretrained.tensors))
    expected = input_of(name)
    arguments = {"name": name, "num_classes": len(classes), "image_size": expected.crop}
    net = build_model(arguments)
    fit_weights(net, pretrained, None)
    mean, std = pretrained.input.mean, pretrained.input.std
    spec = AugmentSpec(resize=expected.resize, crop=expected.crop, mean=mean, std=std)
    return TrainedModel(
        net=net.eval(), arguments=arguments, classes=classes, spec=spec, provenance={"weights": path.name}
    )


def _unknown_model(path: Path) -> UserError:
    """Returns the error for weights of an unknown network."""
    return UserError(f"{path} does not say which model it belongs to", "give --model NAME", exit_code=2)


def _numbered(classes: int) -> tuple[str, ...]:
    """Returns numbers as names of classes."""
    return tuple(str(index) for index in range(classes))


def _with_model(stored: Stored, model: str | None) -> Stored:
    """Adds a model to plain weights; the names of the classes are numbers."""
    path = stored.path
    model = model or _recognised(path, stored.tensors)
    expected, outputs = input_of(model), _outputs(path, model, stored.tensors)
    return dataclasses.replace(
        stored,
        arguments={"name": model, "num_classes": outputs},
        classes=_numbered(outputs),
        spec=AugmentSpec(resize=expected.resize, crop=expected.crop, mean=expected.mean, std=expected.std),
        provenance={"weights": path.name},
    )


def _recognised(path: Path, tensors: Tensors) -> str:
    """Returns the name of the network of plain weights.

    Raises:
        UserError: The network is unknown, or is not one of alexnet-fast.
    """
    network = recognise(tensors)
    if network is None:
        raise _unknown_model(path)
    if network.ours is None:
        raise UserError(
            f"{path} looks like {network.name} of torchvision or timm, which is not one of our networks",
            "give --model package.module:Net, a function of the number of classes that makes it",
            exit_code=2,
        )
    return network.ours


def _outputs(path: Path, model: str, tensors: Tensors) -> int:
    """Returns the number of classes of plain weights.

    Raises:
        UserError: The weights are not those of the model.
    """
    if is_custom(model):
        vectors = [value for value in tensors.values() if value.dim() == 1]
        if not vectors:
            raise UserError(f"{path} holds no weights by name", "give a state dict", exit_code=2)
        return len(vectors[-1])
    with torch.device("meta"):
        net = create_model(model, 2)
    name = f"{net.last}.weight"
    weight = our_names(net, tensors).get(name)
    if weight is None:
        raise UserError(
            f"{path} has no {name}, which the network needs", "give the --model that they were trained for"
        )
    return len(weight)


def _trained(stored: Stored, model: str | None) -> TrainedModel:
    """Builds the network and loads the weights."""
    complete = stored.arguments is not None
    stored = stored if complete else _with_model(stored, model)
    assert stored.arguments is not None
    assert stored.classes is not None
    assert stored.spec is not None
    net = build_model(stored.arguments)
    if complete:
        _load(net, stored)
    else:
        fit_weights(net, Pretrained(path=stored.path, tensors=stored.tensors), None)
    return TrainedModel(
        net=net.eval(),
        arguments=stored.arguments,
        classes=stored.classes,
        spec=stored.spec,
        provenance=stored.provenance,
    )


def _load(net: nn.Module, stored: Stored) -> None:
    """Loads the weights that were saved with the same network.

    Raises:
        UserError: The weights do not fit: the network has changed since.
    """
    try:
        net.load_state_dict(stored.tensors)
    except (RuntimeError, KeyError) as error:
        lines = str(error).strip().splitlines()
        name = stored.arguments and stored.arguments["name"]
        raise UserError(
            f"the weights of {stored.path} do not fit {name}: {lines[-1].strip()}", "check --model"
        ) from error
