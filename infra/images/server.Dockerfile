# MLflow and Prefect servers, in the versions of constraints.txt, which the tests run as well:
#   docker build -f infra/images/server.Dockerfile -t mambatalk/server:0.1.0 .
# The digest is that of python:3.12.14-slim-bookworm in September 2026.
FROM python:3.12.14-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254 AS build
COPY constraints.txt /tmp/constraints.txt
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir -c /tmp/constraints.txt \
        boto3 'mlflow[auth]' prefect psycopg2-binary

FROM python:3.12.14-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254
RUN useradd --uid 10001 --create-home mambatalk \
    && install -d -o mambatalk -g mambatalk /var/lib/prefect
COPY --from=build /opt/venv /opt/venv
COPY infra/settings /opt/settings
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PREFECT_HOME=/var/lib/prefect
USER 10001
WORKDIR /home/mambatalk
