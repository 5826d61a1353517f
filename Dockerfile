# syntax=docker/dockerfile:1
# Two stages: the first builds a virtual environment from the locked dependencies, the second has nothing but it.
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /app && /app/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
    && python -m venv /build && /build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY config ./config
COPY providers ./providers
COPY routing ./routing
COPY policies ./policies
COPY gateway ./gateway
RUN /build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /app/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl

FROM python:3.11-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/signalbox signalbox
COPY --from=build /app /app
# Our packages have plain names: nothing from the working folder may shadow them.
ENV PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    PATH=/app/bin:$PATH \
    SIGNALBOX_HOST=0.0.0.0 \
    SIGNALBOX_PORT=8080
USER signalbox
WORKDIR /var/lib/signalbox
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"SIGNALBOX_PORT\"]}/healthz', timeout=2)"]
ENTRYPOINT ["signalbox"]
CMD ["serve"]
