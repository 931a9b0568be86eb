# syntax=docker/dockerfile:1
# MUXI Server: the static binary, Python for formations that need one, and nothing else of ours.
# Both stages are Debian 12, the oldest system whose glibc the binary promises (build/nuitka.cfg).

FROM debian:12 AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates gcc git libbz2-dev libffi-dev liblzma-dev \
        libsqlite3-dev libssl-dev make pkg-config python3 python3-venv xz-utils zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/source/.cache make binary && dist/muxi-server version

FROM debian:12-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 muxi \
    && useradd --uid 10001 --gid muxi --home-dir /data --no-create-home --shell /usr/sbin/nologin muxi \
    && install -d -o muxi -g muxi -m 750 /data \
    && chmod 711 /root
COPY --from=build /source/dist/muxi-server /usr/local/bin/muxi-server
COPY install/docker/entrypoint /usr/local/bin/muxi-entrypoint

ENV MUXI_HOST=0.0.0.0
VOLUME /data
WORKDIR /data
# By number, so that a cluster sees that it is not root. With an engine's socket mounted, for formations in
# containers: docker run --user root …
USER 10001:10001
EXPOSE 7890
# Asked with the configuration's own key, so that a server that answers but can't work is not healthy.
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 CMD ["muxi-entrypoint", "status"]
# The server is made to be the first process: it passes signals on, and reaps whatever formations leave.
ENTRYPOINT ["muxi-entrypoint"]
CMD ["start"]
