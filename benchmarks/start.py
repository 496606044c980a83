"""Start to first answer, each in a fresh process: this project against a bare transformers script."""

import statistics
import subprocess
import sys
import time

from models.catalog import entries

RUNS = 3
SOURCE = entries()[0].source
OURS = """
from models.catalog import open_model
from PIL import Image
mllm = open_model()
print("".join(s.token for s in mllm.generate(mllm.encode(Image.new("RGB", (448, 448), "white"), "What is this?"))))
"""
BARE = f"""
from transformers import AutoModelForImageTextToText, AutoProcessor
from PIL import Image
import torch
processor = AutoProcessor.from_pretrained({SOURCE!r})
model = AutoModelForImageTextToText.from_pretrained({SOURCE!r}, dtype=torch.float32)
content = [{{"type": "image"}}, {{"type": "text", "text": "What is this?"}}]
prompt = processor.apply_chat_template([{{"role": "user", "content": content}}], add_generation_prompt=True)
inputs = processor(text=[prompt], images=[Image.new("RGB", (448, 448), "white")], return_tensors="pt")
print(processor.batch_decode(model.generate(**inputs, max_new_tokens=64, do_sample=False))[0])
"""


def seconds(script: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, capture_output=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    seconds(OURS)  # both read the disk for the first time here
    pairs = [(seconds(OURS), seconds(BARE)) for _ in range(RUNS)]
    ours, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"start to first answer / bare script: {ours / bare:.2f} ({ours:.1f} s, {bare:.1f} s; goal: 1.30 or less)")
