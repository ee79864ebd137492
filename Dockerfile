# Any image with Python 3.11 or later and pip will do; both stages use the same one, so that the venv fits.
ARG BASE_IMAGE=python:3.12.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY adapter adapter
# The venv has no pip of its own: what runs in the image installs nothing.
RUN python3 -m venv --without-pip /opt/claude-k8s \
 && python3 -m pip --python /opt/claude-k8s/bin/python --disable-pip-version-check --no-cache-dir install '.[uvloop,otel]'

FROM ${BASE_IMAGE}
COPY --from=build /opt/claude-k8s /opt/claude-k8s
# The bytecode is in the venv already, and the root filesystem may be read-only. What is written to disk: below
# /var/lib/claude-k8s the service's journals, and below /tmp a log that its reader does not take in time. Mount an
# emptyDir at each.
ENV PATH=/opt/claude-k8s/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    XDG_STATE_HOME=/var/lib
RUN install -d -o 10001 -g 10001 -m 0700 /var/lib/claude-k8s
USER 10001:10001
WORKDIR /tmp
EXPOSE 8642
ENTRYPOINT ["claude-k8s"]
