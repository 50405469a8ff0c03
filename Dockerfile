# One image for every process: `pytake api`, `pytake worker`, `pytake migrate`.
FROM python:3.12.8-slim-bookworm AS build
WORKDIR /build
RUN python -m venv /opt/pytake
COPY requirements.lock ./
RUN /opt/pytake/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md worker.py ./
COPY activities activities
COPY api api
COPY pytake pytake
COPY workflows workflows
RUN /opt/pytake/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.12.8-slim-bookworm
RUN useradd --uid 10001 --create-home pytake
COPY --from=build /opt/pytake /opt/pytake
ENV PATH=/opt/pytake/bin:$PATH PYTHONUNBUFFERED=1 PYTAKE_LOG_FORMAT=json
USER pytake
WORKDIR /home/pytake
ENTRYPOINT ["pytake"]
CMD ["api"]
