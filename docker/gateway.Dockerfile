# syntax=docker/dockerfile:1
# The gateway alone: no torch, no diffusers, no weights beyond the model's card.
FROM python:3.11-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 PYTHONPATH=/app
WORKDIR /app

COPY constraints.txt ./
RUN pip install --constraint constraints.txt \
    fastapi uvicorn uvloop httptools pydantic pydantic-settings redis hiredis rq obstore prometheus-client python-multipart standardwebhooks structlog typer rich httpx

COPY service/ service/
# Limits and defaults of the model are read from its card; the weights stay with the workers.
COPY model/__init__.py model/__init__.py
COPY model/weights/lumiere-mini/lumiere.json model/weights/lumiere-mini/lumiere.json

RUN useradd --create-home --uid 10001 lumiere && mkdir /data && chown lumiere /data
USER 10001
ENV LUMIERE_HOST=0.0.0.0 LUMIERE_PORT=8000 LUMIERE_DATA_DIR=/data
EXPOSE 8000
VOLUME /data
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=2)"]
CMD ["uvicorn", "--factory", "service.api.app:from_environment", "--host", "0.0.0.0", "--port", "8000", \
     "--timeout-graceful-shutdown", "10", "--no-access-log", "--no-server-header"]
