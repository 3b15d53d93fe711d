# syntax=docker/dockerfile:1
# One worker: supervisor and work-horse on one GPU.
FROM nvidia/cuda:12.8.1-base-ubuntu24.04

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 PATH=/opt/venv/bin:$PATH
# The interpreter is to have the distribution's security fixes, hence no version.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/venv
WORKDIR /app

# The large packages first: they change less often than the code.
COPY constraints.txt ./
# The wheel from PyPI brings CUDA's libraries along; the driver comes from the host.
RUN pip install --constraint constraints.txt torch

COPY pyproject.toml README.md LICENSE ./
COPY service/ service/
COPY model/ model/
COPY workers/ workers/
RUN pip install --constraint constraints.txt --editable .

RUN useradd --create-home --uid 10001 lumiere && mkdir /data && chown lumiere /data
USER 10001
ENV LUMIERE_DATA_DIR=/data PYTHONSAFEPATH=1
VOLUME /data
# SIGTERM drains: it stops taking jobs and hands back what it cannot finish.
STOPSIGNAL SIGTERM
CMD ["python3", "-m", "workers.main"]
