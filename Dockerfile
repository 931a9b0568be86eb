# MUXI Server: the static binary, Python for the formations that need one, and nothing else of ours.
#
#   docker build .                               the binary is built, too: half an hour
#   docker build --build-arg BINARY=given .      it is dist/muxi-server-linux-amd64 (or -arm64), which is there
#
# BuildKit only, as Docker since 23, Podman and Buildah have it: stages that are not needed are left out, and
# it says which platform is built for. No `syntax` line, so that nothing but Debian is fetched.
ARG BINARY=built

FROM debian:12 AS built
ARG DEBIAN_FRONTEND=noninteractive
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# apt's lists stay: `make binary` asks them where Debian is.
# hadolint ignore=DL3008,DL3009
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates ccache gcc git libbz2-dev libffi-dev liblzma-dev \
        libsqlite3-dev libssl-dev make pkg-config python3 python3-venv xz-utils zlib1g-dev
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/source/.cache,sharing=locked \
    make binary && install -D dist/muxi-server /muxi-server && /muxi-server version

FROM scratch AS given
ARG TARGETARCH
COPY dist/muxi-server-linux-${TARGETARCH} /muxi-server

# hadolint ignore=DL3006
FROM ${BINARY} AS binary

FROM debian:12-slim
ARG DEBIAN_FRONTEND=noninteractive
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log /var/cache/debconf/*-old \
    && groupadd --gid 10001 muxi \
    && useradd --uid 10001 --gid muxi --home-dir /data --no-create-home --shell /usr/sbin/nologin muxi \
    && install -d -o muxi -g muxi -m 750 /data /etc/muxi /var/lib/muxi /root/.muxi /root/.muxi/server \
    && chmod 711 /root
COPY --from=binary --chmod=755 /muxi-server /usr/local/lib/muxi/muxi-server
COPY --chmod=755 install/docker/muxi-server /usr/local/bin/muxi-server

LABEL org.opencontainers.image.title="MUXI Server" \
      org.opencontainers.image.source="https://github.com/muxi-ai/server" \
      org.opencontainers.image.licenses="Elastic-2.0"
ENV MUXI_HOST=0.0.0.0
VOLUME /data
WORKDIR /data
# By number, so that a cluster sees that it is not root.
USER 10001:10001
EXPOSE 7890
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 CMD ["muxi-server", "status", "--brief"]
# No init is needed: as the first process it ends in good order on SIGTERM, and reaps what formations leave.
ENTRYPOINT ["muxi-server"]
CMD ["start"]
