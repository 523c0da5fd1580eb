# Models in Python: the SDK with scikit-learn, skops and OpenTelemetry. Your own image begins with it:
#   docker build -f compose/images/python-model.Dockerfile --target runtime -t rendezvous/python-model .
# The last stage adds the models of the credit example, and what trains them.
ARG BASE=debian:bookworm-slim
# Where wheels come from: `index` (PyPI), or `host` (.tools/wheelhouse, see wheelhouse.sh). Hashes are checked either way.
ARG WHEELS=index

FROM ${BASE} AS python
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/*

FROM python AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && python3 -m venv /opt/build \
 && python3 -m venv /opt/rendezvous
COPY compose/images/build.lock compose/images/python-model.lock /locks/

FROM build AS wheels-index
RUN for lock in /locks/*.lock; do \
      /opt/build/bin/pip download --quiet --require-hashes --no-deps --only-binary :all: --dest /wheels --requirement "$lock" || exit 1; \
    done

FROM ${BASE} AS wheels-host
COPY .tools/wheelhouse /wheels

FROM wheels-${WHEELS} AS wheels

FROM build AS install
ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    /opt/build/bin/pip install --quiet --require-hashes --requirement /locks/build.lock \
 && /opt/rendezvous/bin/pip install --quiet --require-hashes --requirement /locks/python-model.lock \
 && cd /opt/rendezvous/lib/python3*/site-packages \
 && find pandas scipy sklearn -type d -name tests -prune -exec rm -rf {} +
COPY proto /src/proto
COPY sdk-python /src/sdk-python
RUN for package in proto sdk-python; do \
      (cd "/src/$package" && /opt/build/bin/hatchling build --target wheel --directory /own) || exit 1; \
    done \
 && /opt/rendezvous/bin/pip install --quiet --no-deps /own/*.whl \
 && /opt/rendezvous/bin/pip uninstall --quiet --yes setuptools pip

FROM python AS runtime
COPY --from=install /opt/rendezvous /opt/rendezvous
RUN install -d -o 10001 -g 10001 /app
# One thread each: models run side by side, and would fight for the cores.
ENV PATH=/opt/rendezvous/bin:$PATH LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/app \
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
    RENDEZVOUS_GRPC_HOST=0.0.0.0 RENDEZVOUS_GRPC_PORT=8001 RENDEZVOUS_LOG_FORMAT=json
WORKDIR /app
USER 10001:10001
EXPOSE 8001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["rendezvous-health"]
CMD ["rendezvous-model", "--help"]

FROM runtime AS credit
USER root
RUN install -d -o 10001 -g 10001 /app/examples/credit/artefacts
COPY toolchains /app/toolchains
COPY examples/credit/*.py /app/examples/credit/
COPY examples/credit/data /app/examples/credit/data
USER 10001:10001
CMD ["rendezvous-model", "serve", "examples.credit.scorecard:score", "--endpoint", "credit", "--name", "scorecard"]
