# Triton with the Python packages that the repositories of `alexnet-fast export RUN --triton DIR` need.
#
#     docker build --file serve/deploy/docker/triton.Dockerfile --build-arg TRITON=26.09-py3 --tag alexnet-fast:triton .
#     docker run --publish 127.0.0.1:8000:8000 --volume "$PWD/models:/models:ro" alexnet-fast:triton
#
# The GPU variant needs a Triton whose DALI is not older than the one that wrote the repository.
ARG TRITON=26.09-py3
FROM nvcr.io/nvidia/tritonserver:${TRITON}

WORKDIR /build
COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt msgspec numpy onnxruntime==1.31.1 pillow \
    && pip install --no-cache-dir --no-deps .

USER 1000
EXPOSE 8000 8001 8002
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["curl", "--fail", "--silent", "http://127.0.0.1:8000/v2/health/ready"]
CMD ["tritonserver", "--model-repository=/models", "--exit-timeout-secs=30"]
