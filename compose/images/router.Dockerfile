# The router; by another command the archive, the bridge, and the command line `rendezvous`.
#   docker build -f compose/images/router.Dockerfile -t rendezvous/router .
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
COPY compose/images/build.lock compose/images/router.lock /locks/

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
 && /opt/rendezvous/bin/pip install --quiet --require-hashes --requirement /locks/router.lock \
 && cd /opt/rendezvous/lib/python3*/site-packages \
 && find pandas pyarrow -type d -name tests -prune -exec rm -rf {} +
COPY proto /src/proto
COPY rendezvous /src/rendezvous
COPY sdk-python /src/sdk-python
COPY router /src/router
RUN for package in proto rendezvous sdk-python router; do \
      (cd "/src/$package" && /opt/build/bin/hatchling build --target wheel --directory /own) || exit 1; \
    done \
 && /opt/rendezvous/bin/pip install --quiet --no-deps /own/*.whl \
 && /opt/rendezvous/bin/pip uninstall --quiet --yes setuptools pip

FROM python
COPY --from=install /opt/rendezvous /opt/rendezvous
# A new volume takes its owner from here.
RUN install -d -o 10001 -g 10001 /app /archive /journal
ENV PATH=/opt/rendezvous/bin:$PATH LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    RENDEZVOUS_HOST=0.0.0.0 RENDEZVOUS_METRICS_HOST=0.0.0.0 RENDEZVOUS_GRPC_HOST=0.0.0.0 RENDEZVOUS_GRPC_PORT=8001 RENDEZVOUS_BRIDGE_PORT=8001 RENDEZVOUS_LOG_FORMAT=json
WORKDIR /app
USER 10001:10001
EXPOSE 8001 8002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["rendezvous-health"]
CMD ["rendezvous-router"]
