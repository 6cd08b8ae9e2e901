# syntax=docker/dockerfile:1
# Both bases hold the same interpreter at the same path, so what the virtual environment points at is there at run time.
# Any pair with CPython 3.11 to 3.13, the venv module and a CA bundle will do; BASE may be without a shell. With a C
# compiler in BUILD_BASE the modules of the hot path are compiled; without one they are interpreted, at twice the cost
# and more.
ARG BUILD_BASE=python:3.13
ARG BASE=python:3.13-slim

FROM ${BUILD_BASE} AS build
ARG SOURCE_DATE_EPOCH=0
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONHASHSEED=0
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
# Wheels only, each with the hash the lock file gives it: nothing else can come in.
RUN python3 -m venv /tmp/tools \
 && /tmp/tools/bin/pip install --quiet --require-hashes --only-binary :all: -r requirements-build.lock \
 && python3 -m venv --without-pip /opt/sidecar \
 && /tmp/tools/bin/pip --python /opt/sidecar/bin/python install --quiet --require-hashes --only-binary :all: \
    --no-compile -r requirements.lock
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY sidecar ./sidecar
# Bytecode that is never checked against its source loads fastest and is the same in every build; so are the times.
RUN if command -v gcc > /dev/null; then export SIDECAR_COMPILE=1; else export SIDECAR_COMPILE=0; fi \
 && PATH=/tmp/tools/bin:$PATH /tmp/tools/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
 && /tmp/tools/bin/pip --python /opt/sidecar/bin/python install --quiet --no-deps --no-index --no-compile \
    /tmp/wheel/*.whl \
 && find /opt/sidecar -regex '.*\.\(pyi\|pyx\|pxd\|pxi\|c\|h\)' -delete \
 && rm -f /opt/sidecar/lib/python3*/site-packages/*.dist-info/direct_url.json \
 && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/sidecar/lib \
 && find /opt/sidecar -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +

FROM ${BASE}
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="bound-token-sidecar" \
      org.opencontainers.image.description="Reverse proxy that enforces certificate-bound OAuth access tokens (RFC 8705)" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/sidecar /opt/sidecar
ENV PATH="/opt/sidecar/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /etc/sidecar
EXPOSE 8443 9902
# Fixed, so that a Pod's securityContext and a volume's owner can name it; no entry in /etc/passwd is needed.
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/sidecar/bin/sidecar"]
CMD ["run", "--config", "/etc/sidecar/sidecar.yaml"]
