# The service, on Debian's Python and nothing more. See docs/deploy.md.
#
#   docker build -t product-search .                              NVIDIA GPUs; runs on a CPU as well, and is large
#   docker build -t product-search --build-arg TORCH_INDEX=… .    CPU alone: the address of PyTorch's CPU wheels
#   docker build -t product-search:train --build-arg EXTRAS=train .
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
# Debian's stable release keeps one version of a package, the one with all security fixes: a pin would break the build.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv ca-certificates \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/app
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# Dependencies first: they change seldom, and are all but a hundredth of the image.
COPY pyproject.toml constraints.txt ./
ARG EXTRAS=
RUN python3 -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
extras = [project['optional-dependencies'][name] for name in '$EXTRAS'.split()]; \
print(*project['dependencies'], *sum(extras, []), sep='\n')" > requirements.txt
ARG TORCH_INDEX=
# A wheel that is marked `+cpu` counts as newer than the same version without the mark, so it is the one that is taken.
RUN /opt/app/bin/pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -c constraints.txt -r requirements.txt
COPY . .
# The shipped model's graphs for ONNX Runtime: a CPU runs them several times faster than torch, which is then not even
# imported. Both precisions: where the image is built is not where it runs. What installs packages is not needed to run
# them.
RUN /opt/app/bin/pip install --no-deps . \
    && XDG_CACHE_HOME=/opt/app/cache /opt/app/bin/python -m retriever.export --precision int8 fp32 \
    && /opt/app/bin/pip uninstall --yes setuptools pip \
    && rm -f /opt/app/bin/[Aa]ctivate*

FROM ${BASE}
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin search \
    && install --directory --owner search --group search /data
COPY --from=build /opt/app /opt/app
# Everything that is written goes to /data; the rest may be read-only, but for a temporary file system on /tmp.
ENV PATH=/opt/app/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/opt/app/cache \
    HF_HOME=/data/huggingface \
    SEARCH_HOST=0.0.0.0 \
    SEARCH_PORT=8000 \
    SEARCH_DATA_DIR=/data
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
# Ready, not live: what waits for this container wants answers from it.
HEALTHCHECK --interval=15s --timeout=15s --start-period=120s --start-interval=2s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as http; http.urlopen(f\"http://127.0.0.1:{os.environ['SEARCH_PORT']}/health/ready\", timeout=12)"]
ENTRYPOINT ["python", "-m"]
CMD ["service"]
