# Any image with Python 3.11 or later and pip will do; both stages use the same one, so that the venv fits.
ARG BASE_IMAGE=python:3.12.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY adapter adapter
# The venv has no pip of its own: what runs in the image installs nothing.
RUN python3 -m venv --without-pip /opt/claude-k8s \
 && python3 -m pip --python /opt/claude-k8s/bin/python --disable-pip-version-check --no-cache-dir install '.[uvloop]'

FROM ${BASE_IMAGE}
COPY --from=build /opt/claude-k8s /opt/claude-k8s
# The bytecode is in the venv already, and the root filesystem may be read-only. Only a log that its reader does not
# take in time is written to disk, below /tmp: mount an emptyDir there.
ENV PATH=/opt/claude-k8s/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["claude-k8s"]
