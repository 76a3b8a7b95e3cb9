"""An exported ONNX file in onnxruntime: images in, class probabilities out.

    model = OnnxModel(Path("model.onnx"))
    probabilities_nk = model.run(images_nhwc)

Imports neither torch nor DALI.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime

from alexnet_fast.errors import UnavailableError, UserError, system_reason
from alexnet_fast.runtime.base import ModelInfo
from alexnet_fast.runtime.cuda import driver_problem
from alexnet_fast.runtime.manifest import TensorInfo, verify_onnx_file
from alexnet_fast.runtime.metadata import INPUT, OUTPUT, TENSOR_TYPES, GraphMetadata
from alexnet_fast.utils.arrays import AnyArray, Pixels, Probabilities
from alexnet_fast.utils.special_files import read_given

ProviderName = Literal["cpu", "cuda", "tensorrt"]

_log = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_PROVIDERS: dict[str, str] = {"cpu": CPU, "cuda": _CUDA, "tensorrt": "TensorrtExecutionProvider"}
_NOT_OURS = "give a file that `alexnet-fast export` wrote"
# OrtLoggingLevel: 3 is errors. Its warnings would report a missing GPU at every start.
_ERRORS_ONLY = 3


def provider_names(providers: Sequence[ProviderName]) -> list[str]:
    """Returns onnxruntime's names, best first, the CPU's last.

    Raises:
        UserError: There is no such provider.
    """
    for name in providers:
        if name not in _PROVIDERS:
            raise UserError(
                f"there is no provider {name!r}", f"choose from {', '.join(_PROVIDERS)}", exit_code=2
            )
    # onnxruntime needs its CPU provider beside the others, for shape arithmetic.
    return list(dict.fromkeys([*(_PROVIDERS[name] for name in providers), CPU]))


def resolve_providers(requested: list[str], *, allow_fallback: bool) -> list[str]:
    """Returns the providers to request; without a GPU onnxruntime would print a page about missing libraries.

    Raises:
        UnavailableError: There is no GPU, and no fallback is allowed.
    """
    if requested[0] == CPU or driver_problem() is None:
        return requested
    if not allow_fallback:
        raise _unavailable(requested[0], CPU)
    _warn_of_fallback(requested[0], CPU)
    return [CPU]


def with_options(requested: list[str], gpu: int) -> list[tuple[str, dict[str, str]]]:
    """Adds each provider's options; float32 stays float32 on a GPU, without TensorFloat-32's ten bits.

    https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html
    """
    options = {_CUDA: {"use_tf32": "0"}}
    return [
        (name, {} if name == CPU else {"device_id": str(gpu), **options.get(name, {})}) for name in requested
    ]


def check_providers(session: Any, requested: list[str], *, allow_fallback: bool) -> str:
    """Returns the provider that runs most nodes of the graph.

    Raises:
        UserError: It is not the first one requested, and no fallback is allowed.
    """
    best = requested[0]
    runs_on = _busiest(session)
    if runs_on == best and best in session.get_providers():
        return runs_on
    if not allow_fallback:
        raise _unavailable(best, runs_on)
    _warn_of_fallback(best, runs_on)
    return runs_on


def _warn_of_fallback(best: str, instead: str) -> None:
    reason = driver_problem() or "see alexnet-fast doctor"
    _log.warning("%s is unavailable; %s runs the model (%s)", best, instead, reason)


def _busiest(session: Any) -> str:
    """Returns the provider with the most nodes; a loaded GPU provider may have none."""
    # Newer than the oldest version that we accept (1.23 is the last for Python 3.10).
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return str(session.get_providers()[0])
    nodes: dict[str, int] = {}
    for part in session.get_provider_graph_assignment_info():
        nodes[part.ep_name] = nodes.get(part.ep_name, 0) + len(part.get_nodes())
    return max(nodes, key=lambda name: nodes[name]) if nodes else str(session.get_providers()[0])


def _unavailable(best: str, instead: str) -> UnavailableError:
    """Returns the error of a requested provider that cannot be used."""
    problem = driver_problem()
    reason = f": {problem}" if problem else ""
    return UnavailableError(
        f"{best} is unavailable; onnxruntime {onnxruntime.__version__} would use {instead}{reason}",
        "see `alexnet-fast doctor` for what is missing, or allow it with --allow-fallback",
    )


class OnnxModel(ModelInfo):
    """A loaded ONNX file.

    Args:
        path: A file that `alexnet-fast export` wrote.
        providers: Execution providers, best first. All but "cpu" must be available.
        threads: CPU threads for one call; None for one per core.
        gpu: Number of the GPU, from 0; unused on the CPU.
        allow_fallback: Fall back to the CPU, with a warning, if a provider is unavailable.

    Attributes:
        metadata: The metadata in the file.
        output_tensors: Its outputs, the probabilities first.

    Raises:
        UserError: There is no such file, or it is not an ONNX file of ours.
        UnavailableError: A provider is unavailable.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        providers: Sequence[ProviderName] = ("cpu",),
        threads: int | None = None,
        gpu: int = 0,
        allow_fallback: bool = False,
    ) -> None:
        self.path = Path(path)
        requested = resolve_providers(provider_names(providers), allow_fallback=allow_fallback)
        onnxruntime.set_default_logger_severity(_ERRORS_ONLY)
        content = _read(self.path)
        self._session = _open(
            self.path, content, requested, _options(threads), gpu=gpu, allow_fallback=allow_fallback
        )
        self.metadata = GraphMetadata.from_props(
            self._session.get_modelmeta().custom_metadata_map, str(self.path)
        )
        _check_signature(self._session, self.metadata, self.path)
        self.output_tensors = _output_tensors(self._session, self.path)
        # The session knows: onnxruntime's list of available providers names GPUs that are not there.
        self._runs_on = check_providers(self._session, requested, allow_fallback=allow_fallback)

    @property
    def backend(self) -> str:
        """The runtime that runs the file, such as "onnxruntime CPUExecutionProvider 1.31.1"."""
        return f"onnxruntime {self._runs_on} {onnxruntime.__version__}"

    def run(self, images_nhwc: Pixels) -> Probabilities:
        """Classifies images; may be called from several threads at once.

        Args:
            images_nhwc: uint8 (N, resize, resize, 3), RGB; N may be 0.

        Returns:
            float32 (N, classes), rows summing to 1.

        Raises:
            UserError: The array has another type or shape, or the file is damaged.
        """
        return self.outputs(images_nhwc, [OUTPUT])[OUTPUT]

    def outputs(self, images_nhwc: Pixels, names: Sequence[str] | None = None) -> dict[str, AnyArray]:
        """Returns outputs by name, in the file's order: the probabilities first.

        Args:
            images_nhwc: As for `run`.
            names: Names of the outputs; None for all.

        Raises:
            UserError: As `run`.
        """
        check_images(images_nhwc, self.spec.resize)
        tensors = [tensor for tensor in self.output_tensors if names is None or tensor.name in names]
        if len(images_nhwc) == 0:
            return {
                tensor.name: np.empty((0, *tensor.shape[1:]), TENSOR_TYPES[tensor.dtype].numpy)
                for tensor in tensors
            }
        errors = onnxruntime.capi.onnxruntime_pybind11_state
        order = [tensor.name for tensor in tensors]
        try:
            values = self._session.run(order, {INPUT: np.ascontiguousarray(images_nhwc)})
        except (errors.Fail, errors.InvalidArgument, errors.RuntimeException) as error:
            raise UserError(f"onnxruntime cannot run {self.path} ({_reason(error)})", _NOT_OURS) from error
        return dict(zip(order, values, strict=True))

    def release_memory(self) -> None:
        """Returns the memory of large batches to the system; the next large one allocates it again.

        https://onnxruntime.ai/docs/get-started/with-c.html#memory-arena-shrinkage
        """
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        side = self.spec.resize
        self._session.run([OUTPUT], {INPUT: np.zeros((1, side, side, 3), np.uint8)}, options)


def check_images(images_nhwc: Pixels, side: int) -> None:
    """Checks an array of images before it is run.

    Raises:
        UserError: The array is not uint8 (N, side, side, 3).
    """
    # Checked although it is annotated: the arrays come from requests.
    if not isinstance(images_nhwc, np.ndarray):
        raise UserError(
            f"images must be a numpy array, not {type(images_nhwc).__name__}",
            "convert with numpy.asarray",
        )
    if images_nhwc.dtype != np.uint8:
        raise UserError(f"images must be uint8, not {images_nhwc.dtype}", "give pixels from 0 to 255")
    if images_nhwc.ndim != 4 or images_nhwc.shape[1:] != (side, side, 3):
        shape = ", ".join(map(str, images_nhwc.shape))
        raise UserError(
            f"images must have the shape (N, {side}, {side}, 3), not ({shape})",
            f"resize the shorter side to {side}, cut the centre and keep RGB",
        )


def _options(threads: int | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # Lets the session report which provider runs each node.
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def _read(path: Path) -> bytes:
    """Reads a file and compares it with its manifest: onnxruntime would load a damaged one."""
    if not path.exists() or path.is_dir():
        raise UserError(f"there is no file {path}", "check the path, or write one with `alexnet-fast export`")
    try:
        content = read_given(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({system_reason(error)})", "check its permissions") from error
    verify_onnx_file(path, content)
    return content


def _open(
    path: Path, content: bytes, requested: list[str], options: Any, *, gpu: int, allow_fallback: bool
) -> Any:
    errors = onnxruntime.capi.onnxruntime_pybind11_state
    try:
        # Without enable_fallback=0 onnxruntime prints to stdout and uses the CPU.
        return onnxruntime.InferenceSession(
            content, options, providers=with_options(requested, gpu), enable_fallback=0
        )
    except (errors.InvalidProtobuf, errors.InvalidGraph, errors.InvalidArgument, errors.NoModel) as error:
        raise UserError(f"{path} is not an ONNX file ({_reason(error)})", _NOT_OURS) from error
    except (errors.Fail, errors.NoSuchFile, errors.NotImplemented, errors.RuntimeException) as error:
        raise UserError(f"onnxruntime cannot load {path} ({_reason(error)})", _NOT_OURS) from error
    except (RuntimeError, ValueError) as error:
        # A provider that cannot start at all; check_providers finds those that are merely not used.
        if len(requested) == 1:
            raise UserError(f"onnxruntime cannot load {path} ({_reason(error)})", _NOT_OURS) from error
        if not allow_fallback:
            raise _unavailable(requested[0], CPU) from error
        return _open(path, content, [CPU], options, gpu=gpu, allow_fallback=True)


def _reason(error: Exception) -> str:
    """Returns the part of a message after "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load … failed:"."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].split(" : ")[-1].split("failed:")[-1].strip().rstrip(".")


def _check_signature(session: Any, metadata: GraphMetadata, path: Path) -> None:
    """Compares the file's input and output with its metadata."""
    side, classes = metadata.spec.resize, len(metadata.classes)
    # Logits and features may follow the probabilities.
    actual = [(t.name, t.type, t.shape[1:]) for t in (*session.get_inputs(), *session.get_outputs()[:1])]
    described = [(INPUT, "tensor(uint8)", [side, side, 3]), (OUTPUT, "tensor(float)", [classes])]
    if actual != described:
        raise UserError(
            f"the inputs and outputs of {path} are not those that its metadata describe", _NOT_OURS
        )


def _output_tensors(session: Any, path: Path) -> tuple[TensorInfo, ...]:
    """Describes the outputs as a manifest does."""
    tensors = []
    for output in session.get_outputs():
        dtype = output.type.removeprefix("tensor(").removesuffix(")")
        if dtype not in TENSOR_TYPES:
            raise UserError(f"the output {output.name!r} of {path} has the type {dtype}", _NOT_OURS)
        tensors.append(TensorInfo(name=output.name, dtype=dtype, shape=(-1, *output.shape[1:])))
    return tuple(tensors)
