"""TensorRT engines: the library, building, caching."""
