# alexnet-fast serve on an NVIDIA GPU, with onnxruntime's CUDA provider (onnxruntime-gpu 1.31 needs CUDA 13).
#
#     docker build --file serve/deploy/docker/gpu.Dockerfile --tag alexnet-fast:gpu .
#     docker run --gpus all --publish 127.0.0.1:8000:8000 --volume "$PWD/runs/first:/models:ro" alexnet-fast:gpu
FROM nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/alexnet-fast/bin:$PATH

WORKDIR /build
COPY . .
# Serving needs neither torch nor DALI, so the package is installed without its dependencies, and those of serving
# are listed here.
RUN python3 -m venv /opt/alexnet-fast \
    && pip install --no-cache-dir --constraint constraints.txt \
        click grpcio h11 msgspec numpy onnxruntime-gpu pillow prometheus-client protobuf starlette uvicorn \
    && pip install --no-cache-dir --no-deps . \
    && useradd --system --uid 10001 server

USER 10001
WORKDIR /models
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=2)"]
# The server ends with an error if there is no GPU, instead of falling back to the CPU.
ENTRYPOINT ["alexnet-fast", "serve", "--host", "0.0.0.0", "--device", "cuda"]
CMD ["/models/model.onnx"]
