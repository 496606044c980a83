# On a CPU:          docker build -t crosstalk .
# On an NVIDIA GPU:  docker build -t crosstalk --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
# Either:            docker run -p 7860:7860 -v crosstalk:/cache -e CROSSTALK_PUBLIC=1 crosstalk   (a GPU: --gpus all)
FROM python:3.12-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /app

# What is installed changes seldom, so it comes before the code; torch first, from its own index.
COPY requirements.txt constraints.txt ./
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)" \
    && pip install --no-cache-dir -r requirements.txt -c constraints.txt

# Nobody needs to be root; a new volume takes over the owner of the folder.
RUN useradd --create-home --uid 1000 crosstalk \
    && install -d -o crosstalk -g crosstalk /cache /cache/measured /cache/huggingface
COPY --chown=crosstalk:crosstalk . .
USER 1000

ENV PYTHONUNBUFFERED=1 \
    GRADIO_SERVER_NAME=0.0.0.0 \
    GRADIO_SERVER_PORT=7860 \
    CROSSTALK_CACHE=/cache/measured \
    HF_HOME=/cache/huggingface
VOLUME /cache
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:7860/health', timeout=5)"]
CMD ["python", "app.py"]
