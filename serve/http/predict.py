"""`POST /predict`: an image file in, names of classes out."""

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
    from pathlib import Path
    from typing import Any

    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.pipelines.ten_crop import Crops
    from alexnet_fast.utils.arrays import Pixels, Probabilities

# Where ten crops come in a graph that runs its first layers on the image and on its mirror image: a place
# in the one is followed by the same place in the other, where the crop on the other side lies
# (`export.stem_nodes`).
_SHARED_ORDER = [0, 2, 4, 6, 8, 3, 1, 7, 5, 9]


class CropView:
    """The crops of one exported ONNX file.

    Args:
        path: The file.
        threads: CPU threads for one call; None for one a core.

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
        """Returns what each crop of one image says.

        Args:
            image: uint8 (side, side, 3).

        Returns:
            float32 (crops, classes), in the order of `crop_boxes`.
        """
        answer: Probabilities = self._session.run([self._output], {INPUT: image[None]})[0][:, 0]
        return answer[_SHARED_ORDER] if self._shared and len(answer) == len(_SHARED_ORDER) else answer


def crop_boxes(spec: AugmentSpec, crops: Crops) -> list[dict[str, Any]]:
    """Returns where the crops lie in the square, in pixels: five, and of ten then the same mirrored."""
    return [
        {"left": left, "top": top, "side": spec.crop, "mirrored": mirrored}
        for mirrored in ((False, True) if crops == "ten" else (False,))
        for top, left in crop_offsets(spec, crops)
    ]


def square_text(square: Pixels) -> str:
    """Returns a square as a `data:` URL of a PNG, so that a page shows what the model gets."""
    file = io.BytesIO()
    Image.fromarray(square).save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _with_crops(path: Path) -> tuple[str, bool, bytes]:
    """Returns the name of what is averaged, float32 (crops, N, classes), and the graph that hands it out.

    Between them: whether the crops share their first layers, and come in `_SHARED_ORDER`.
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


if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

    from alexnet_fast.serve.http.body import BodyReader
    from alexnet_fast.serve.models import ModelRegistry
    from alexnet_fast.serve.served_model import ModelVersion

_KNOWN = ("model", "top", "crops")
_DEFAULT_TOP = 5
# Looking at single crops is for people: so many of them may wait.
_MAX_LOOKERS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Query:
    """What stands behind the question mark."""

    model: str | None
    top: int
    crops: bool


class PredictRoute:
    """The endpoint.

    Args:
        hub: The models.
        bodies: Reads requests.
    """

    def __init__(self, hub: ModelRegistry, bodies: BodyReader) -> None:
        self._hub = hub
        self._bodies = bodies
        self._views: weakref.WeakKeyDictionary[ModelVersion, CropView] = weakref.WeakKeyDictionary()
        self._looking = asyncio.Lock()
        self._lookers = 0

    async def answer(self, request: Request) -> Response:
        """Classifies the body, or each file of a form.

        Query parameters: `model` (the first one by default), `top` (classes to name), `crops=1` (what each
        of the ten crops says, and the square that they are cut from, as a PNG; for one image).
        """
        query = _parse_query(request)
        model = self._hub.model(query.model)
        model.queue.check()
        async with self._bodies.body(request) as body:
            files = uploaded_files(body, request.headers.get("content-type", ""))
            del body
            most = 1 if query.crops else self._hub.config.batching.max_batch_size
            if len(files) > most:
                raise malformed(f"the request holds {len(files)} images, at most {most} are taken")
            with model.version(None).in_use() as version:
                images = [file.content for file in files]
                names = [file.name for file in files]
                found = await self._hub.classify(version, model, images, names=names)
                predictions: list[dict[str, Any]] = [
                    {
                        "file": name,
                        "classes": _plain(top_k(row, version.backend.classes, query.top)),
                        "error": None,
                    }
                    for name, row in zip(names, found[OUTPUT], strict=True)
                ]
                if query.crops:
                    predictions[0] |= await self._looked(version, images[0], query.top)
        return JSONResponse(
            {
                "model": version.model,
                "version": version.version,
                "backend": version.backend.backend,
                "predictions": predictions,
            }
        )

    async def _looked(self, version: ModelVersion, image: bytes, top: int) -> dict[str, Any]:
        """Returns "crops", what each crop says (none where the model looks at one alone), and "square"."""
        if self._lookers >= _MAX_LOOKERS:
            raise RequestError(503, "too many people look at crops", retry_after=2)
        self._lookers += 1
        try:
            async with self._looking:
                return await asyncio.to_thread(self._look, version, image, top)
        finally:
            self._lookers -= 1

    def _look(self, version: ModelVersion, image: bytes, top: int) -> dict[str, Any]:
        """Runs the crops of one image; in a thread."""
        spec = version.backend.spec
        try:
            square = square_of(image, spec, self._hub.config.limits.images)
            shown = {"square": square_text(square), "crops": []}
            if version.backend.crops == "single":
                return shown
            rows: Iterator[Probabilities] = iter(self._view(version).run(square))
        except (UserError, BadImageError) as error:
            raise malformed(str(error)) from error
        classes = version.backend.classes
        crops = [
            {**box, "classes": _plain(top_k(row, classes, top))}
            for box, row in zip(crop_boxes(spec, version.backend.crops), rows, strict=True)
        ]
        return {**shown, "crops": crops}

    def _view(self, version: ModelVersion) -> CropView:
        """Returns the session that hands out crops, loaded when it is asked for first."""
        if version not in self._views:
            # An engine cannot be changed; the ONNX file that it was built from stands beside it.
            file = version.backend.path.with_suffix(".onnx")
            self._views[version] = CropView(file, self._hub.config.threads)
        return self._views[version]


def _plain(guesses: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(guess) for guess in guesses]


def _parse_query(request: Request) -> _Query:
    """Reads the query parameters.

    Raises:
        RequestError: One is unknown, there twice, or wrong.
    """
    given = dict(request.query_params)
    if len(given) < len(request.query_params.multi_items()):
        raise malformed("a query parameter is there twice")
    for name in given:
        if name not in _KNOWN:
            raise malformed(f"there is no query parameter {name[:40]!r}, there is {', '.join(_KNOWN)}")
    top, crops = given.get("top", str(_DEFAULT_TOP)), given.get("crops", "0")
    if not (top.isascii() and top.isdecimal() and 1 <= len(top) <= 6 and int(top) >= 1):
        raise malformed(f"'top' must be a number of classes, not {top[:40]!r}")
    if crops not in ("0", "1"):
        raise malformed(f"'crops' must be 0 or 1, not {crops[:40]!r}")
    return _Query(model=given.get("model"), top=int(top), crops=crops == "1")
