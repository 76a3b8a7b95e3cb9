"""What each crop of an image says by itself, for people who look: the average is inside the model's graph.

The graph's last node averages over the crops; a second session of the same file, loaded when somebody asks
for the first time, hands out what goes into that node.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import onnxruntime
from PIL import Image

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.ten_crop import crop_offsets
from alexnet_fast.runtime.metadata import INPUT, OUTPUT

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from alexnet_fast.pipelines.cpu.pillow import Pixels
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.pipelines.ten_crop import Crops
    from alexnet_fast.runtime.onnx_runtime import Images, Probabilities

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

    def run(self, image: Images) -> Probabilities:
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
