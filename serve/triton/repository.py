"""Writes a model repository for Triton from an exported model.

    write_repository(Path("runs/first/model.onnx"), Path("models"), name="cells", variant="python")

`tritonserver --model-repository models` then takes encoded images at `v2/models/cells/infer` and returns the
outputs of the network.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from PIL import Image

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.runtime.manifest import FileStamp, TensorInfo, manifest_path, read_manifest, verify_manifest
from alexnet_fast.runtime.metadata import GraphMetadata
from alexnet_fast.runtime.onnx_runtime import OnnxModel
from alexnet_fast.runtime.open import model_file
from alexnet_fast.serve.triton import model_config as configs
from alexnet_fast.serve.triton.model_config import LABELS, WARMUP, TritonConfig
from alexnet_fast.utils.atomic import link_atomically, make_dir, write_atomically

Variant = Literal["python", "gpu"]

# Lists the folders that we wrote; Triton ignores files.
RECORD = "alexnet-fast.json"
CONFIG = "config.pbtxt"
_STAGING = ".alexnet-fast-"
_FORMAT = "alexnet-fast Triton repository"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_HERE = Path(__file__).parent
_WARMUP_FILE = f"warmup/{WARMUP}"
# Contents of the files of a model by name; a path is linked or copied.
Files = dict[str, str | bytes | Path]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """An exported model.

    Args:
        network: The file that Triton runs: model.onnx or model.engine.
        onnx: The ONNX file that describes it.
        metadata: The metadata of the ONNX file.
        outputs: The outputs of the network.
    """

    network: Path
    onnx: Path
    metadata: GraphMetadata
    outputs: tuple[TensorInfo, ...]

    @property
    def platform(self) -> str:
        """Triton's platform for the network."""
        return "tensorrt_plan" if self.network.suffix == ".engine" else "onnxruntime_onnx"


def write_repository(
    model: Path,
    directory: Path,
    *,
    name: str,
    variant: Variant = "python",
    config: TritonConfig | None = None,
) -> list[Path]:
    """Writes the models of a variant into a repository, beside the existing ones.

    Args:
        model: An ONNX file or engine that `alexnet-fast export` wrote, or a folder with a `model.onnx`.
        directory: The repository, which is created if missing. A folder that holds anything else is refused.
        name: Name of the model for clients, and prefix of the other models of the variant.
        variant: "python" runs onnxruntime in Triton's Python backend, on the CPU; "gpu" is an ensemble of
            DALI and the network in TensorRT or onnxruntime.
        config: Batching and threads.

    Returns:
        The folders of the models, first the one that clients call.

    Raises:
        UserError: The model, the name or the folder does not fit; nothing has changed.
    """
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} cannot be the name of a model", "use letters, digits, _ and -", exit_code=2
        )
    if variant == "python" and model.suffix == ".engine":
        raise UserError(
            f"{model} is an engine, and the Python variant runs ONNX", "give the model.onnx beside it"
        )
    source = _open(model)
    models = _models(name, variant, source, config or TritonConfig())
    written = written_models(directory)
    for entry in models:
        _check_replaceable(directory / entry, written)
    make_dir(directory)
    with _staging(directory) as work:
        for entry, files in models.items():
            _write_model(work / entry, files)
        written |= {entry: FileStamp.of(work / entry / CONFIG).sha256 for entry in models}
        # The record comes first: it may name a model that does not exist.
        record = {"format": _FORMAT, "models": dict(sorted(written.items()))}
        write_atomically(directory / RECORD, json.dumps(record, indent=2).encode() + b"\n")
        # The ensemble comes last: a Triton that polls never finds it without its parts.
        for entry in reversed(models):
            _move(work / entry, directory / entry)
    return [directory / name for name in models]


def _open(model: Path) -> Source:
    """Reads the description of an exported model."""
    if model.suffix != ".engine":
        path = model_file(model)
        loaded = OnnxModel(path)
        return Source(network=path, onnx=path, metadata=loaded.metadata, outputs=loaded.output_tensors)
    described = read_manifest(manifest_path(model))
    verify_manifest(model, runtime_version=described.library_version)
    if described.library != "tensorrt":
        raise UserError(
            f"{model} was built by {described.library}, and Triton loads engines of tensorrt alone",
            "give the model.onnx beside it, or build the engine where tensorrt and a GPU are",
        )
    onnx = model.with_name(described.onnx.file)
    metadata = OnnxModel(onnx).metadata
    return Source(network=model, onnx=onnx, metadata=metadata, outputs=described.outputs)


def _models(name: str, variant: Variant, source: Source, config: TritonConfig) -> dict[str, Files]:
    """Returns the files of each model."""
    spec, outputs = source.metadata.spec, source.outputs
    labels, warmup = _labels(source.metadata.classes), _warmup(spec.resize)
    if variant == "python":
        described = configs.python_config(name, outputs, config)
        program = (_HERE / "python_model.py").read_bytes()
        return {
            name: {
                CONFIG: described,
                LABELS: labels,
                _WARMUP_FILE: warmup,
                "1/model.py": program,
                "1/model.onnx": source.network,
            }
        }
    unpack, decode, network = parts = (f"{name}-unpack", f"{name}-decode", f"{name}-network")
    plan = "1/model.plan" if source.platform == "tensorrt_plan" else "1/model.onnx"
    return {
        name: {
            CONFIG: configs.ensemble_config(name, outputs, parts, config),
            LABELS: labels,
            _WARMUP_FILE: warmup,
        },
        unpack: {
            CONFIG: configs.unpack_config(unpack, spec.resize, spec.background, config),
            "1/model.py": (_HERE / "unpack_model.py").read_bytes(),
        },
        decode: {
            CONFIG: configs.dali_config(decode, spec.resize, config),
            "1/model.dali": _decoder(spec.resize, config),
        },
        network: {
            CONFIG: configs.network_config(network, source.platform, spec.resize, outputs, config),
            LABELS: labels,
            plan: source.network,
        },
    }


def _write_model(directory: Path, files: Files) -> None:
    """Writes the files of a model; Triton requires the folder of the version even if it is empty."""
    make_dir(directory / "1")
    for name, content in files.items():
        target = directory / name
        make_dir(target.parent)
        if isinstance(content, Path):
            link_atomically(content, target)
        else:
            write_atomically(target, content.encode() if isinstance(content, str) else content)


def _decoder(side: int, config: TritonConfig) -> bytes:
    """Returns the DALI graph that decodes and resizes, serialized."""
    try:
        from alexnet_fast.pipelines.dali.graph import build_square_graph
    except ModuleNotFoundError as error:
        raise UserError(
            f"the GPU variant needs {error.name}, which is not installed", "pip install alexnet-fast"
        ) from error
    batch_size = config.batching.max_batch_size
    graph = build_square_graph(side, device="gpu", batch_size=batch_size, threads=config.threads)
    serialized: bytes = graph.serialize()
    return serialized


def _labels(classes: Sequence[str]) -> bytes:
    """Returns the names of the classes, one per line, for Triton's classification extension."""
    for label in classes:
        if len(label.splitlines()) != 1:
            raise UserError(f"the class {label!r} does not fit into a line of Triton's labels", "rename it")
    return "".join(f"{label}\n" for label in classes).encode("utf-8", "surrogateescape")


def _warmup(side: int) -> bytes:
    """Returns a grey image as an element of a BYTES tensor: after its length in four bytes, little-endian."""
    encoded = io.BytesIO()
    Image.new("RGB", (side, side), (128, 128, 128)).save(encoded, "JPEG")
    content = encoded.getvalue()
    return len(content).to_bytes(4, "little") + content


def written_models(directory: Path) -> dict[str, str]:
    """Returns the models that earlier calls wrote, with the SHA-256 of their configuration.

    Raises:
        UserError: The folder holds anything but a repository that we wrote.
    """
    if not directory.exists():
        return {}
    if not directory.is_dir():
        raise UserError(f"{directory} is not a folder", "choose another one")
    if not any(directory.iterdir()):
        return {}
    try:
        record = json.loads((directory / RECORD).read_bytes())
        if record["format"] == _FORMAT:
            return {str(directory): str(sha256) for directory, sha256 in record["models"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _foreign(directory) from error
    raise _foreign(directory)


def _foreign(directory: Path) -> UserError:
    return UserError(f"{directory} is not a repository of alexnet-fast", "choose another folder")


def _check_replaceable(directory: Path, written: Mapping[str, str]) -> None:
    """Raises `UserError` if we did not write a folder, or its configuration was edited since."""
    if not directory.exists():
        return
    if directory.name not in written:
        raise UserError(f"{directory} exists, and alexnet-fast did not write it", "choose another --name")
    config = directory / CONFIG
    if config.is_file() and FileStamp.of(config).sha256 != written[directory.name]:
        raise UserError(f"{config} was changed since it was written", "move it away or choose another --name")


@contextlib.contextmanager
def _staging(directory: Path) -> Iterator[Path]:
    """Yields a temporary folder on the same disk; also removes those that killed calls left."""
    for left in directory.glob(f"{_STAGING}*"):
        shutil.rmtree(left, ignore_errors=True)
    try:
        with tempfile.TemporaryDirectory(dir=directory, prefix=_STAGING) as work:
            yield Path(work)
    except OSError as error:
        raise UserError(f"cannot write into {directory}: {system_reason(error)}") from error


def _move(new: Path, directory: Path) -> None:
    """Moves a folder to its place."""
    if directory.exists():
        directory.rename(new.with_name(f"{new.name}.old"))
    new.rename(directory)
