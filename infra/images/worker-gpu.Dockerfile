# A worker with one NVIDIA GPU, with the CUDA kernels of the selective scan:
#   docker build -f infra/images/worker-gpu.Dockerfile -t mambatalk/worker-gpu:0.1.0 .
# The image holds the environment; code and data are in the checkout on the volume /srv/mambatalk.
FROM nvidia/cuda:13.0.0-devel-ubuntu24.04@sha256:1e8ac7a54c184a1af8ef2167f28fa98281892a835c981ebcddb1fad04bdd452d AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir uv==0.13.9 \
    && python3 -m venv /opt/venv
WORKDIR /build
COPY constraints.txt ./
RUN /opt/uv/bin/uv pip install --no-cache --python /opt/venv/bin/python --torch-backend cu130 \
        -c constraints.txt torch==2.13.0 ninja packaging setuptools wheel
# Both packages are published as source only, compile for nine generations of GPUs, and would
# otherwise look for a wheel on the internet. An nvcc takes about 2 GB and starts four threads: use
# no more than a quarter of the processors as JOBS.
ARG JOBS=4
RUN MAX_JOBS=$JOBS \
    MAMBA_FORCE_BUILD=TRUE MAMBA_KEEP_CUDA_BUILD=TRUE CAUSAL_CONV1D_FORCE_BUILD=TRUE \
    /opt/uv/bin/uv pip install --no-cache --python /opt/venv/bin/python \
        --no-deps --no-build-isolation mamba-ssm==2.3.2.post1 causal-conv1d==1.7.0
COPY pyproject.toml README.md LICENSE ./
COPY mambatalk mambatalk
RUN /opt/uv/bin/uv pip install --no-cache --python /opt/venv/bin/python --torch-backend cu130 \
        -c constraints.txt torch==2.13.0 einops transformers '.[operations,sample]'

FROM nvidia/cuda:13.0.0-runtime-ubuntu24.04@sha256:95318efecfd68ab3d109da5277863257b06137c84f34a87f38de970d5cd035d3
# g++ and python3-dev: torch.compile and Triton compile at run time.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ git libegl1 libgl1 python3-dev tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home mambatalk \
    && install -d -o mambatalk -g mambatalk /srv/mambatalk /srv/state
COPY --from=build /opt/venv /opt/venv
COPY infra/images/worker.sh /usr/local/bin/worker
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/srv/mambatalk \
    MAMBATALK_CHECKOUT=/srv/mambatalk \
    PYTHONUNBUFFERED=1 \
    MAMBATALK_HOME=/srv/state \
    MAMBATALK_RUNS=/srv/state/runs \
    MAMBATALK_DEVICE=cuda
USER 10001
WORKDIR /srv/mambatalk
ENTRYPOINT ["tini", "-g", "--", "worker"]
