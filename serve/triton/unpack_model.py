"""Model for Triton's Python backend: turns encoded images from strings into rows of bytes for DALI's backend.

DALI's backend takes no strings, and within a request only rows of equal length; so shorter files are padded
with zeros, which decoders do not read. The headers of files are checked here, against the limits of
`alexnet-fast serve`. A repository holds a copy of this file as `1/model.py`; it needs alexnet-fast, numpy
and Pillow.
"""

from __future__ import annotations

import json
from typing import Any

# Exists only inside Triton.
import triton_python_backend_utils as triton  # type: ignore[import-not-found]
from PIL import Image

from alexnet_fast.pipelines.color import parse_color
from alexnet_fast.pipelines.cpu.pillow import BadImageError, to_square
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.transcode import ppm_bytes, trusted_size
from alexnet_fast.runtime.metadata import INPUT
from alexnet_fast.serve.image import SERVED, check_encoded
from alexnet_fast.serve.triton.model_config import ENCODED
from alexnet_fast.serve.triton.rows import padded_rows


class TritonPythonModel:
    """The class that Triton calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Reads the side of the squares, which limits the growth of long images, and the background."""
        parameters = json.loads(args["model_config"])["parameters"]
        side = int(parameters["side"]["string_value"])
        background = parse_color(parameters["background"]["string_value"])
        self._spec = AugmentSpec(resize=side, crop=side, background=background)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers each request by itself; a bad image fails only its own request."""
        return [
            self._unpack(list(triton.get_input_tensor_by_name(request, INPUT).as_numpy().reshape(-1)))
            for request in requests
        ]

    def _unpack(self, images: list[bytes]) -> Any:
        """Returns the response for the images of one request."""
        files = []
        for place, image in enumerate(images):
            try:
                files.append(self._for_dali(image))
            except BadImageError as error:  # noqa: PERF203 - the message has the position of the image
                text = f"image {place} cannot be classified: {error}"
                return triton.InferenceResponse(
                    error=triton.TritonError(text, triton.TritonError.INVALID_ARG)
                )
        return triton.InferenceResponse([triton.Tensor(ENCODED, padded_rows(files))])

    def _for_dali(self, image: bytes) -> bytes:
        """Returns a file that DALI decodes; if DALI is not trusted with it, Pillow's square."""
        check_encoded(image, self._spec, SERVED)
        if trusted_size(image) is not None:
            return image
        return ppm_bytes(Image.fromarray(to_square(image, self._spec)))
