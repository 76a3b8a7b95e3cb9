# alexnet-fast serve on the CPU.
#
#     docker build --file serve/deploy/docker/cpu.Dockerfile --tag alexnet-fast:cpu .
#     docker run --publish 127.0.0.1:8000:8000 --volume "$PWD/runs/first:/models:ro" alexnet-fast:cpu
FROM python:3.12-slim-bookworm

WORKDIR /build
COPY . .
# Serving needs neither torch nor DALI, so the package is installed without its dependencies, and those of serving
# are listed here.
RUN pip install --no-cache-dir --constraint constraints.txt \
        click grpcio h11 msgspec numpy onnxruntime==1.31.1 pillow prometheus-client protobuf starlette uvicorn \
    && pip install --no-cache-dir --no-deps . \
    && useradd --system --uid 10001 server

USER 10001
WORKDIR /models
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=2)"]
ENTRYPOINT ["alexnet-fast", "serve", "--host", "0.0.0.0"]
CMD ["/models/model.onnx"]
