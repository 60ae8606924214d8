# docker build -t diffatlas .
# docker run -p 7860:7860 -v diffatlas:/data diffatlas
# docs/deploy.md says how to build it for a GPU, and what of this has been run.
FROM python:3.11-slim-bookworm

# PyTorch without CUDA. For a GPU: --build-arg TORCH_INDEX=https://pypi.org/simple
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

RUN useradd --create-home --uid 1000 atlas && mkdir /data && chown atlas:atlas /data
RUN python3 -m venv /opt/venv
ENV PATH="/opt/venv/bin:$PATH"

# What it needs changes seldom: its layer is kept when only the code is another.
WORKDIR /app
COPY constraints.txt ./
RUN pip install --no-cache-dir --extra-index-url ${TORCH_INDEX} -c constraints.txt torch
COPY pyproject.toml README.md LICENSE app.py ./
COPY diffatlas diffatlas
COPY models models
RUN pip install --no-cache-dir --extra-index-url ${TORCH_INDEX} -c constraints.txt -e . && python3 -m compileall -q diffatlas

USER atlas
# The library, what visitors are shown, and models of the Hub are kept in the volume.
ENV DIFFATLAS_LIBRARY=/data/runs \
    DIFFATLAS_USER_MODELS=/data/models.md \
    DIFFATLAS_HOSTED_LEDGER=/data/hosted.sqlite \
    GRADIO_TEMP_DIR=/data/shown \
    HF_HOME=/data/hub
VOLUME /data
EXPOSE 7860
# What Ctrl-C sends: the first process of a container is not ended by the usual signal.
STOPSIGNAL SIGINT
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/', timeout=9)"]
ENTRYPOINT ["diffatlas"]
CMD ["app", "--host", "0.0.0.0", "--port", "7860", "--no-browser"]
