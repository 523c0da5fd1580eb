# Models on the JVM: Java and the SDK's jars. Your own image begins with it:
#   docker build -f compose/images/java-model.Dockerfile --target runtime -t rendezvous/java-model .
# The last stage adds the Java model of the credit example, with the libraries it takes along.
ARG BASE=debian:bookworm-slim
# Who compiles: `maven` (in the build, from Maven Central), or `host` (what `make languages` has left in target folders).
ARG JARS=maven

FROM ${BASE} AS jars-maven
RUN apt-get update \
 && apt-get install -y --no-install-recommends maven openjdk-17-jdk-headless \
 && rm -rf /var/lib/apt/lists/*
COPY proto/rendezvous /src/proto/rendezvous
COPY sdk-java /src/sdk-java
COPY examples/credit/java /src/examples/credit/java
RUN --mount=type=cache,target=/root/.m2 \
    mvn -q -B -ntp -f /src/sdk-java/pom.xml -DskipTests install \
 && mvn -q -B -ntp -f /src/examples/credit/java/pom.xml -DskipTests package \
 && mv /src/examples/credit/java/target/credit-forest.jar /src/examples/credit/java/target/lib /opt

FROM ${BASE} AS jars-host
COPY examples/credit/java/target/credit-forest.jar /opt/
COPY examples/credit/java/target/lib /opt/lib

FROM jars-${JARS} AS jars

FROM ${BASE} AS runtime
RUN apt-get update \
 && apt-get install -y --no-install-recommends openjdk-17-jre-headless \
 && rm -rf /var/lib/apt/lists/*
COPY --from=jars /opt/lib /opt/rendezvous/lib
RUN install -d -o 10001 -g 10001 /app
# The class path has what is in /app before what the SDK brings.
ENV LANG=C.UTF-8 CLASSPATH=/app:/app/*:/opt/rendezvous/lib/* JAVA_TOOL_OPTIONS="-XX:+UseSerialGC -XX:MaxRAMPercentage=70" \
    RENDEZVOUS_GRPC_HOST=0.0.0.0 RENDEZVOUS_GRPC_PORT=8001 RENDEZVOUS_LOG_FORMAT=json
WORKDIR /app
USER 10001:10001
EXPOSE 8001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s --retries=3 CMD ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "io.rendezvous.Health"]
CMD ["java", "-version"]

FROM runtime AS credit
USER root
RUN install -d -o 10001 -g 10001 /app/examples/credit/artefacts
COPY --from=jars /opt/credit-forest.jar /app/
USER 10001:10001
CMD ["java", "credit.Forest", "serve", "/app/examples/credit/artefacts/forest.pb"]
