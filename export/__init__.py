"""ONNX and TensorRT export with the ten-crop graph inside."""
