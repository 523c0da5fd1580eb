# Models in R: the SDK with what it needs. Your own image begins with it:
#   docker build -f compose/images/r-model.Dockerfile --target runtime -t rendezvous/r-model .
# The last stage adds the R model of the credit example.
ARG BASE=debian:bookworm-slim
# Who compiles the SDK: `build`, or `host` (what `make languages` has left in .tools; the host is of the same Debian).
ARG LIBRARY=build

FROM ${BASE} AS r
RUN apt-get update \
 && apt-get install -y --no-install-recommends r-base-core r-cran-bit64 r-cran-r6 r-cran-rcpp \
 && rm -rf /var/lib/apt/lists/*

FROM r AS library-build
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ make pkg-config libnats-dev libgrpc++-dev libprotobuf-dev \
      protobuf-compiler protobuf-compiler-grpc \
 && rm -rf /var/lib/apt/lists/*
COPY sdk-r /src/sdk-r
RUN /src/sdk-r/install.sh /opt/rendezvous/library

FROM ${BASE} AS library-host
COPY .tools/r-library/rendezvous /opt/rendezvous/library/rendezvous

FROM library-${LIBRARY} AS library

FROM r AS runtime
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgrpc++1.51 libnats3.4 libprotobuf32 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=library /opt/rendezvous/library /opt/rendezvous/library
RUN install -d -o 10001 -g 10001 /app
# One thread each: models run side by side, and would fight for the cores.
ENV LANG=C.UTF-8 R_LIBS=/opt/rendezvous/library OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
    RENDEZVOUS_GRPC_HOST=0.0.0.0 RENDEZVOUS_GRPC_PORT=8001 RENDEZVOUS_LOG_FORMAT=json
WORKDIR /app
USER 10001:10001
EXPOSE 8001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s --retries=3 CMD ["Rscript", "-e", "rendezvous::rdv_health()"]
CMD ["Rscript", "-e", "packageVersion('rendezvous')"]

FROM runtime AS credit
USER root
RUN install -d -o 10001 -g 10001 /app/examples/credit/artefacts
COPY examples/credit/logit.R /app/examples/credit/
USER 10001:10001
CMD ["Rscript", "/app/examples/credit/logit.R", "serve"]
