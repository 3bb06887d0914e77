# rtseg as a service, without build tools and without root:
#   docker build -t rtseg .
#   docker build -t rtseg:cuda --build-arg EXTRAS=serve,cuda .
# docs/deploy.md says how to run it.

FROM debian:bookworm-slim AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/rtseg
WORKDIR /src

# Libraries first: they are nearly all of the image, and change less often than rtseg.
FROM build AS libraries
ARG EXTRAS=serve
COPY pyproject.toml constraints.txt ./
COPY packaging/docker/requirements.py ./packaging/docker/
RUN python3 packaging/docker/requirements.py "$EXTRAS" > requirements.txt \
    && /opt/rtseg/bin/pip install --no-cache-dir --no-compile --constraint constraints.txt --requirement requirements.txt

FROM build AS wheel
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE ./
COPY rtseg rtseg
COPY models models
RUN /opt/rtseg/bin/pip wheel --no-cache-dir --no-deps --wheel-dir /dist .

FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --shell /usr/sbin/nologin rtseg \
    && install -d -o rtseg /cache
COPY --from=libraries /opt/rtseg /opt/rtseg
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist \
    /opt/rtseg/bin/pip install --no-cache-dir --no-compile --no-deps --no-index /dist/*.whl
ENV PATH=/opt/rtseg/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RTSEG_CACHE=/cache \
    NVIDIA_DRIVER_CAPABILITIES=compute,video,utility
USER 10001
WORKDIR /home/rtseg
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
ENTRYPOINT ["rtseg"]
CMD ["serve", "--host", "0.0.0.0"]
