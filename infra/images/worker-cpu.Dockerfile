# A worker without a GPU, which also makes backups:
#   docker build -f infra/images/worker-cpu.Dockerfile -t mambatalk/worker-cpu:0.1.0 .
# The image holds the environment; code and data are in the checkout on the volume /srv/mambatalk.
# The digest is that of python:3.12.14-slim-bookworm in September 2026.
FROM python:3.12.14-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254 AS build
WORKDIR /build
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY mambatalk mambatalk
# PYTHONPATH puts the checkout's own copy of the package before this one, which brings dependencies
# and the metadata that a registered version records.
RUN pip install --no-cache-dir uv==0.13.9 \
    && python -m venv /opt/venv \
    && uv pip install --no-cache --python /opt/venv/bin/python --torch-backend cpu -c constraints.txt \
        torch==2.13.0 '.[operations,sample]'

FROM python:3.12.14-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254
# The libraries render videos without a display. Debian keeps no old versions of packages, so these
# are not pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git libegl1 libgl1 postgresql-client tini \
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
    MAMBATALK_RUNS=/srv/state/runs
USER 10001
WORKDIR /srv/mambatalk
# tini collects processes that a killed run has left, and passes signals on.
ENTRYPOINT ["tini", "-g", "--", "worker"]
