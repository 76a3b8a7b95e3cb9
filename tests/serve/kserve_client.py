"""Calls a server through kserve's own REST client; run by `test_other_clients.py` in kserve's environment.

Arguments: the address, the file of an image. Prints the probabilities of two random images (seed 5) and of
the file, as JSON.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig


async def main(url: str, photo: str) -> None:
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=30))
    assert await client.is_server_live(url)
    assert await client.is_server_ready(url)
    assert await client.is_model_ready(url, "small")
    pixels = np.random.default_rng(5).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    image = base64.b64encode(Path(photo).read_bytes()).decode()
    found = {}
    for name, shape, datatype, data in (
        ("json", pixels.shape, "UINT8", pixels.tolist()),
        ("binary", pixels.shape, "UINT8", pixels),
        ("encoded", (1,), "BYTES", [image]),
    ):
        tensor = InferInput("images", list(shape), datatype, data=None if name == "binary" else data)
        if name == "binary":
            tensor.set_data_from_numpy(data, binary_data=True)
        answer = await client.infer(url, InferRequest("small", [tensor]), model_name="small")
        found[name] = answer.outputs[0].as_numpy().tolist()
    print(json.dumps(found))


asyncio.run(main(*sys.argv[1:]))
