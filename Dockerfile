# docker build -t nait-index .                              for CPUs
# docker build -t nait-index:gpu --build-arg FOR=gpu .      for CUDA
# docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" nait-index build corpus.nait corpus.jsonl --model /data/model
FROM python:3.11-slim

ARG FOR=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 HF_HOME=/data/.cache HOME=/tmp

WORKDIR /opt/nait-index
COPY requirements.lock ./
# The same versions for both, but for torch's build.
RUN pip install $([ "$FOR" = gpu ] || echo --extra-index-url https://download.pytorch.org/whl/cpu) -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY nait_index nait_index
COPY cli cli
RUN pip install --no-deps .

RUN useradd --create-home nait && mkdir -p /data && chown nait /data
USER nait
WORKDIR /data
ENTRYPOINT ["nait-index"]
CMD ["--help"]
