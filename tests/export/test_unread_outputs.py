"""An engine gets memory for each of its outputs, large enough for its largest batch."""

from __future__ import annotations

from alexnet_fast.export.manifest import TensorInfo
from alexnet_fast.serve.unread_outputs import bind_unread_outputs


class Gpu:
    """Counts what is allocated."""

    def __init__(self):
        self.sizes = {}

    def allocate(self, size):
        address = 1000 + len(self.sizes)
        self.sizes[address] = size
        return address


class Context:
    """Remembers what it was told."""

    def __init__(self):
        self.addresses = {}

    def set_tensor_address(self, name, address):
        self.addresses[name] = address


def test_all_but_the_probabilities_get_a_place():
    outputs = [
        TensorInfo(name="probabilities", dtype="float", shape=(-1, 5)),
        TensorInfo(name="features", dtype="float", shape=(-1, 4096)),
        TensorInfo(name="top_classes", dtype="int64", shape=(-1, 3)),
    ]
    gpu, context = Gpu(), Context()
    addresses = bind_unread_outputs(context, gpu, outputs, 64)
    assert set(context.addresses) == {"features", "top_classes"}
    assert sorted(context.addresses.values()) == addresses
    assert gpu.sizes[context.addresses["features"]] >= 64 * 4096 * 4
    assert gpu.sizes[context.addresses["top_classes"]] == 64 * 3 * 8
