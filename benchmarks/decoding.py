"""INTER against greedy decoding, and against four forwards a step instead of one batch of four contexts.

Random weights of a real shape: a LLaVA whose decoder is Qwen2-0.5B's. Tokens a second of whole answers, prompt
included, medians of runs by turns in one process.
"""

import statistics
import time
from collections.abc import Callable

import torch
from transformers import AutoModelForImageTextToText, CLIPVisionConfig, LlavaConfig, Qwen2Config

from analysis.decoding.strategies import Inter, four_contexts, modified
from models.catalog import open_model
from models.embedded.evalsets import PIXELS, examples
from models.embedded.text import IMAGE, IMAGE_SIZE, PATCH_SIZE, build_processor, build_tokenizer
from models.encoding import Encoded
from models.flow import Flow
from models.mllm import MLLM

TOKENS, RUNS = 24, 3


def half_a_billion() -> MLLM:
    """A LLaVA of 0.5 billion random weights; on a GPU in bfloat16, on a CPU in float32."""
    processor = build_processor(build_tokenizer())
    vision = CLIPVisionConfig(
        hidden_size=256, intermediate_size=1024, num_hidden_layers=6, num_attention_heads=4, image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
    )  # fmt: skip
    text = Qwen2Config(
        hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
        vocab_size=151_936, tie_word_embeddings=True, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    token = processor.tokenizer.convert_tokens_to_ids(IMAGE)
    config = LlavaConfig(
        vision_config=vision.to_dict(), text_config=text, image_token_index=token, tie_word_embeddings=True
    )
    where, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    torch.manual_seed(0)
    with torch.device(where):
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
    return MLLM("0.5 billion random weights", model, processor)


def separately(mllm: MLLM, encoded: Encoded, strategy: Inter) -> list[int]:
    """INTER with four forwards a step, each context alone with a cache of its own."""
    flows, found = [Flow(mllm.model, [c]) for c in four_contexts(encoded, strategy.image_seed)], []
    with mllm.lock:
        logits = torch.cat([flow.begin() for flow in flows])
        while True:
            found.append(int(modified(logits, strategy.threshold, strategy.beta).scores.argmax()))
            if len(found) == TOKENS:
                return found
            logits = torch.cat([flow.more(torch.tensor([found[-1:]]))[:, -1] for flow in flows])


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(mllm: MLLM, runs: int, four: bool) -> None:
    """Print tokens a second of greedy and INTER and, where it runs on to the same length, of ``four`` forwards."""
    scene, turn = next(examples("captioning", ["bee", "dog", "cat"], ("fluent",), 1, 0, "bench"))
    encoded = mllm.encode(scene.render(PIXELS), turn.question)
    strategy = Inter(threshold=0.0)  # it fires at each step

    def write(strategy):
        return [s.token_id for s in mllm.generate(encoded, max_new_tokens=TOKENS, strategy=strategy)]

    ways = {"greedy": lambda: write(None), "INTER": lambda: write(strategy)}
    if four:
        ways["four forwards a step"] = lambda: separately(mllm, encoded, strategy)
    counts = {name: len(work()) for name, work in ways.items()}
    taken = [{name: seconds(work) / counts[name] for name, work in ways.items()} for _ in range(runs)]
    speed = {name: 1 / statistics.median(run[name] for run in taken) for name in ways}
    print(f"\n{mllm.name}, {mllm.model.dtype}, {mllm.device}, {torch.get_num_threads()} threads", end="; ")
    print(f"a prompt of {encoded.length} tokens, answers of {counts['greedy']} and {counts['INTER']}")
    for name, value in speed.items():
        print(f"{name}: {value:.1f} tokens/s")
    print(f"INTER / greedy: {speed['INTER'] / speed['greedy']:.2f} (goal: 0.3 or more on a CPU, 0.5 on a GPU)")
    if four:
        print(f"INTER / four forwards a step: {speed['INTER'] / speed['four forwards a step']:.2f}")


def main() -> None:
    compare(open_model(), 15, False)
    compare(half_a_billion(), RUNS, True)


if __name__ == "__main__":
    main()
