"""`POST /predict`: image files in, names of classes out."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
import weakref
from typing import TYPE_CHECKING, Any

import onnxruntime
from PIL import Image
from starlette.responses import JSONResponse, Response

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.cpu.pillow import BadImageError
from alexnet_fast.pipelines.ten_crop import crop_offsets
from alexnet_fast.runtime.metadata import INPUT, OUTPUT
from alexnet_fast.runtime.prediction import top_k
from alexnet_fast.serve.errors import RequestError, malformed
from alexnet_fast.serve.http.body import uploaded_files
from alexnet_fast.serve.image import square_of
from alexnet_fast.utils.arrays import Probabilities

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.requests import Request

    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.pipelines.ten_crop import Crops
    from alexnet_fast.serve.http.body import BodyReader
    from alexnet_fast.serve.models import ModelRegistry, ModelVersion
    from alexnet_fast.utils.arrays import Pixels

_PARAMETERS = ("model", "top", "crops")
_DEFAULT_TOP = 5
# People look at single crops, programs do not: requests for crops that may wait.
_MAX_WAITING = 4
# Order of the ten crops in a graph that runs its first layers on the image and on its mirror image: each
# position in the image is followed by the same one in the mirror image, the crop on the other side
# (`export.onnx.stem`).
_SHARED_ORDER = [0, 2, 4, 6, 8, 3, 1, 7, 5, 9]


class CropView:
    """Runs an exported ONNX file up to its crops, before their average.

    Args:
        path: The file.
        threads: CPU threads per call; None for one per core.

    Raises:
        UserError: The file's graph does not end in an average over crops.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        self._output, self._shared, graph = _with_crops(path)
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def run(self, image: Pixels) -> Probabilities:
        """Returns the probabilities of each crop of one image.

        Args:
            image: uint8 (side, side, 3).

        Returns:
            float32 (crops, classes), in the order of `crop_boxes`.
        """
        answer: Probabilities = self._session.run([self._output], {INPUT: image[None]})[0][:, 0]
        return answer[_SHARED_ORDER] if self._shared and len(answer) == len(_SHARED_ORDER) else answer


def crop_boxes(spec: AugmentSpec, crops: Crops) -> list[dict[str, Any]]:
    """Returns the positions of the crops in the square, in pixels: five, and for ten the same mirrored."""
    return [
        {"left": left, "top": top, "side": spec.crop, "mirrored": mirrored}
        for mirrored in ((False, True) if crops == "ten" else (False,))
        for top, left in crop_offsets(spec, crops)
    ]


def square_text(square: Pixels) -> str:
    """Returns a square as a `data:` URL of a PNG, so that the page shows the pixels that the model gets."""
    file = io.BytesIO()
    Image.fromarray(square).save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _with_crops(path: Path) -> tuple[str, bool, bytes]:
    """Returns a graph with the crops as an output.

    Returns:
        The name of that output, float32 (crops, N, classes); whether the crops share their first layers and
        are in `_SHARED_ORDER`; and the graph.
    """
    import onnx

    model = onnx.load(path)
    last = [node for node in model.graph.node if OUTPUT in node.output]
    if len(last) != 1 or last[0].op_type != "ReduceMean":
        raise UserError(f"{path} does not end in an average over crops", "export it with --ten-crop")
    name = last[0].input[0]
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    shared = any(node.name == "crops/both" for node in model.graph.node)
    return name, shared, model.SerializeToString()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Query:
    """The query parameters."""

    model: str | None
    top: int
    crops: bool


class PredictRoute:
    """The endpoint.

    Args:
        registry: The models.
        bodies: Reads the bodies.
    """

    def __init__(self, registry: ModelRegistry, bodies: BodyReader) -> None:
        self._registry = registry
        self._bodies = bodies
        self._views: weakref.WeakKeyDictionary[ModelVersion, CropView] = weakref.WeakKeyDictionary()
        self._crop_lock = asyncio.Lock()
        self._waiting = 0

    async def answer(self, request: Request) -> Response:
        """Classifies the body, or each file of a form.

        Query parameters: `model` (by default the first one), `top` (number of classes), `crops=1` (also the
        classes of each of the ten crops, and the square that they are cut from, as a PNG; for one image).
        """
        query = _parse_query(request)
        model = self._registry.get(query.model)
        model.queue.check()
        async with self._bodies.body(request) as body:
            files = uploaded_files(body, request.headers.get("content-type", ""))
            del body
            most = 1 if query.crops else self._registry.config.batching.max_batch_size
            if len(files) > most:
                raise malformed(f"the request holds {len(files)} images, at most {most} are allowed")
            with model.version().in_use() as version:
                images = [file.content for file in files]
                names = [file.name for file in files]
                outputs = await version.classify(images, names=names)
                predictions: list[dict[str, Any]] = [
                    {
                        "file": name,
                        "classes": _plain(top_k(row, version.backend.classes, query.top)),
                        "error": None,
                    }
                    for name, row in zip(names, outputs[OUTPUT], strict=True)
                ]
                if query.crops:
                    predictions[0] |= await self._crops(version, images[0], query.top)
        return JSONResponse(
            {
                "model": version.model,
                "version": version.version,
                "backend": version.backend.backend,
                "predictions": predictions,
            }
        )

    async def _crops(self, version: ModelVersion, image: bytes, top: int) -> dict[str, Any]:
        """Returns "crops", the classes of each crop (none for a single-crop model), and "square"."""
        if self._waiting >= _MAX_WAITING:
            raise RequestError(503, "too many requests for crops at once", retry_after=2)
        self._waiting += 1
        try:
            async with self._crop_lock:
                return await asyncio.to_thread(self._run_crops, version, image, top)
        finally:
            self._waiting -= 1

    def _run_crops(self, version: ModelVersion, image: bytes, top: int) -> dict[str, Any]:
        """Runs the crops of one image; in a thread."""
        spec = version.backend.spec
        try:
            square = square_of(image, spec, self._registry.config.limits.images)
            result = {"square": square_text(square), "crops": []}
            if version.backend.crops == "single":
                return result
            rows: Iterator[Probabilities] = iter(self._view(version).run(square))
        except (UserError, BadImageError) as error:
            raise malformed(str(error)) from error
        classes = version.backend.classes
        crops = [
            {**box, "classes": _plain(top_k(row, classes, top))}
            for box, row in zip(crop_boxes(spec, version.backend.crops), rows, strict=True)
        ]
        return {**result, "crops": crops}

    def _view(self, version: ModelVersion) -> CropView:
        """Returns the session that runs single crops, loaded at the first request."""
        if version not in self._views:
            # An engine cannot be changed; the ONNX file from which it was built is beside it.
            file = version.backend.path.with_suffix(".onnx")
            self._views[version] = CropView(file, self._registry.config.threads)
        return self._views[version]


def _plain(scores: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(score) for score in scores]


def _parse_query(request: Request) -> _Query:
    """Reads the query parameters.

    Raises:
        RequestError: A parameter is unknown, repeated, or wrong.
    """
    query = dict(request.query_params)
    if len(query) < len(request.query_params.multi_items()):
        raise malformed("a query parameter is there twice")
    for name in query:
        if name not in _PARAMETERS:
            raise malformed(f"there is no query parameter {name[:40]!r}, there is {', '.join(_PARAMETERS)}")
    top, crops = query.get("top", str(_DEFAULT_TOP)), query.get("crops", "0")
    if not (top.isascii() and top.isdecimal() and 1 <= len(top) <= 6 and int(top) >= 1):
        raise malformed(f"'top' must be a number of classes, not {top[:40]!r}")
    if crops not in ("0", "1"):
        raise malformed(f"'crops' must be 0 or 1, not {crops[:40]!r}")
    return _Query(model=query.get("model"), top=int(top), crops=crops == "1")
