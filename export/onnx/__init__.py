"""ONNX graphs: layers, crops and the shared stem as nodes."""
