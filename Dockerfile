# Every package comes from a lock with hashes, the build backend included.
FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements.txt requirements-dev.txt ./
RUN python -m venv /tools \
 && /tools/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.txt \
 && python -m venv /opt/updater \
 && /opt/updater/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY updater updater
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/updater/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-index /wheels/*.whl \
 && /opt/updater/bin/python -m compileall -q /opt/updater/lib

FROM python:3.13-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates git gpg gpg-agent openssh-client tini \
 && rm -rf /var/lib/apt/lists/* \
 # ssh refuses to run for a user without a name
 && useradd --uid 65532 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin updater \
 && install -d -o 65532 -g 65532 -m 0700 /data \
 # tini as the first process reaps what a killed git leaves behind
 && printf '#!/bin/sh\nexec tini -s -- /opt/updater/bin/updater "$@"\n' > /usr/local/bin/updater \
 && chmod 0755 /usr/local/bin/updater
COPY --from=build /opt/updater /opt/updater
ENV UPDATER_CONFIG=/etc/updater/updater.yaml UPDATER_DATA=/data UPDATER_LISTEN=0.0.0.0:8080 HOME=/data \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
EXPOSE 8080
USER 65532:65532
WORKDIR /data
VOLUME /data
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s CMD ["updater", "health"]
ENTRYPOINT ["updater"]
CMD ["run"]
