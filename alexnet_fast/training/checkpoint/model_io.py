"""A trained network together with what is needed to use it: classes and preprocessing."""

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stored:
    """What a run folder or a file holds; of bare weights the tensors alone.

    Args:
        path: Where it was read from.
        tensors: State dict.
        arguments: What `build_model` was called with.
        classes: Names of the outputs.
        spec: Preprocessing.
        provenance: Where the weights come from.
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
        model: Name of the model, for weights alone, which do not say it; those of torchvision's AlexNet and
            VGG-16 are recognised.

    Raises:
        UserError: There is nothing of the kind, or the weights do not fit the model.
    """
    if path.exists() and is_external(path):
        return _from_foreign(path, model)
    return _trained(read_weights(path), model)


def read_pretrained(path: Path) -> Pretrained:
    """Reads weights to begin another training with.

    Args:
        path: As `load_trained`.

    Raises:
        UserError: There is nothing of the kind.
    """
    if path.exists() and is_external(path):
        return read_foreign(path)
    stored = read_weights(path)
    spec, made_by = stored.spec, stored.arguments
    own = InputSpec(crop=spec.crop, resize=spec.resize, mean=spec.mean, std=spec.std) if spec else None
    known = None if made_by else recognise(stored.tensors)
    return Pretrained(
        path=path,
        tensors=stored.tensors,
        input=own,
        classes=stored.classes,
        model=str(made_by["name"]) if made_by else known.ours if known else None,
    )


def read_weights(path: Path) -> Stored:
    """Reads what there is, without building a network.

    Args:
        path: As `load_trained`, but for the files of other programs.

    Raises:
        UserError: There is nothing of the kind.
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
    """Sorts the header of a safetensors file, which comes in another order in every process.

    The file is the header's length in eight bytes, the header as JSON padded with spaces to a multiple of
    eight, and the tensors, whose places the header counts from its own end.
    """
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def _checkpoint_of(path: Path) -> Path:
    """Returns the best checkpoint of a run folder."""
    run = RunDir(path)
    for checkpoint in (run.best, run.last):
        if checkpoint.exists():
            return checkpoint
    raise UserError(f"{path} holds no checkpoint", "give the folder of a run (alexnet-fast train --run)")


def _only_tensors(path: Path, content: dict[str, Any]) -> Tensors:
    """Returns the state dict in a file of another program.

    Raises:
        UserError: It holds none, or is a checkpoint of an alexnet-fast that is too old.
    """
    tensors = unwrapped(content)
    if tensors is None:
        raise UserError(
            f"{path} is not a checkpoint of alexnet-fast, and holds no weights by name",
            "give a run folder, its checkpoints/best.pt, or a state dict",
        )
    return tensors


def _stored(path: Path, tensors: Tensors, fields: dict[str, Any], arguments: dict[str, Any]) -> Stored:
    """Returns what our own files hold."""
    return Stored(
        path=path,
        tensors=tensors,
        arguments=arguments,
        classes=tuple(fields["classes"]),
        spec=AugmentSpec.from_dict(fields["spec"]),
        provenance=fields["provenance"],
    )


def _from_safetensors(path: Path) -> Stored:
    """Reads a safetensors file, ours by its header, or plain weights."""
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


def _from_foreign(path: Path, model: str | None) -> TrainedModel:
    """Reads a file of another program; it says by itself which network of ours computes the same."""
    found = read_foreign(path)
    name = model or found.model
    if name is None or found.input is None:
        raise UserError(f"{path} does not say which model it belongs to", "give --model NAME", exit_code=2)
    classes = tuple(str(index) for index in range(_outputs(path, name, found.tensors)))
    arguments = {"name": name, "num_classes": len(classes), "image_size": input_of(name).crop}
    net = build_model(arguments)
    fit_weights(net, found, None)
    own, theirs = input_of(name), found.input
    spec = AugmentSpec(resize=own.resize, crop=own.crop, mean=theirs.mean, std=theirs.std)
    return TrainedModel(
        net=net.eval(), arguments=arguments, classes=classes, spec=spec, provenance={"weights": path.name}
    )


def _named(stored: Stored, model: str | None) -> Stored:
    """Gives bare weights a model; the classes have numbers for names."""
    path = stored.path
    model = model or _recognised(path, stored.tensors)
    own, outputs = input_of(model), _outputs(path, model, stored.tensors)
    return dataclasses.replace(
        stored,
        arguments={"name": model, "num_classes": outputs},
        classes=tuple(str(index) for index in range(outputs)),
        spec=AugmentSpec(resize=own.resize, crop=own.crop, mean=own.mean, std=own.std),
        provenance={"weights": path.name},
    )


def _recognised(path: Path, tensors: Tensors) -> str:
    """Returns the network of ours that bare weights are of.

    Raises:
        UserError: They are of none that is known, or of one that we do not have.
    """
    found = recognise(tensors)
    if found is None:
        raise UserError(f"{path} does not say which model it belongs to", "give --model NAME", exit_code=2)
    if found.ours is None:
        raise UserError(
            f"{path} looks like {found.name} of torchvision or timm, which is not one of our networks",
            "give --model package.module:Net, a function of the number of classes that makes it",
            exit_code=2,
        )
    return found.ours


def _outputs(path: Path, model: str, tensors: Tensors) -> int:
    """Returns how many classes bare weights are for.

    Raises:
        UserError: They are not those of the model.
    """
    if is_custom(model):
        vectors = [value for value in tensors.values() if value.dim() == 1]
        if not vectors:
            raise UserError(f"{path} holds no weights by name", "give a state dict", exit_code=2)
        return len(vectors[-1])
    with torch.device("meta"):
        net = create_model(model, 2)
    name = f"{net.last}.weight"
    found = our_names(net, tensors).get(name)
    if found is None:
        raise UserError(
            f"{path} has no {name}, which the network needs", "give the --model that they were trained for"
        )
    return len(found)


def _trained(stored: Stored, model: str | None) -> TrainedModel:
    """Builds the network and fills it."""
    own = stored.arguments is not None
    stored = stored if own else _named(stored, model)
    assert stored.arguments is not None
    assert stored.classes is not None
    assert stored.spec is not None
    net = build_model(stored.arguments)
    if own:
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
    """Fills a network with what it was itself when it was saved.

    Raises:
        UserError: It has changed since.
    """
    try:
        net.load_state_dict(stored.tensors)
    except (RuntimeError, KeyError) as error:
        lines = str(error).strip().splitlines()
        name = stored.arguments and stored.arguments["name"]
        raise UserError(
            f"the weights of {stored.path} do not fit {name}: {lines[-1].strip()}", "check --model"
        ) from error
