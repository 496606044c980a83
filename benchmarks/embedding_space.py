"""The Embedding space room: the first frame of the embedded default, warm and in a fresh process, and 5,000 own pairs.

The first frame is what the server does before the cloud is seen: the kept space is read, projected raw and turned back,
and both figures are written as the page gets them. A browser then draws them. Of 5,000 pairs the reading of the
archive, the pictures' embedding, and the measuring of angles and retrieval are told apart from projecting and drawing.
"""

import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from analysis.embedding_space import figure, mapped, runs, spaces
from analysis.embedding_space.maps import pca
from analysis.embedding_space.measure import space_of
from analysis.embedding_space.pairs import Pairs, drawings, opened
from analysis.embedding_space.result import Space, sentence
from analysis.embedding_space.spaces import Key
from analysis.result import Provenance
from models.checkpoints import BASE

PAIRS, WIDTH, RUNS = 5000, 512, 5  # WIDTH: of the embeddings of a usual CLIP
EMBEDDED = 256  # pictures that are really embedded; the others would take as long each
FIRST = "from benchmarks.embedding_space import first_frame; print(first_frame())"
BARE = "import numpy, plotly.graph_objects, scipy.linalg, sklearn.decomposition, torch, transformers"


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_a_process(script: str) -> float:
    return seconds(
        lambda: subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, capture_output=True)
    )


def drawn(space: Space) -> float:
    """Both views of a space and the sentence under them; how large they are, MB."""
    clouds = pca(space.images, space.words)
    span = figure.spans(*clouds)
    lines = "trails" if len(space.shown) <= mapped.MANY else "none"
    figures = [figure.draw(space, seen, span, "a title", len(space.phases) - 1, lines) for seen in clouds]
    sentence(space)
    return sum(len(figure.to_json()) for figure in figures) / 1e6


def first_frame() -> float:
    """The plain method's space as it is read from the disk, and drawn; MB."""
    spaces._memory.clear()
    return drawn(spaces.whole(Key("plain")).space)


def own_space(phases: int) -> Callable[[], Space]:
    """The measuring of ``PAIRS`` pairs, as of a trained model: each phase turns and disturbs the one before."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)) * 0.02 + np.eye(WIDTH))[0]
    images = [rng.normal(size=(PAIRS, WIDTH))]
    for _ in range(phases - 1):
        images.append(images[-1] @ turn + 0.3 * rng.normal(size=(PAIRS, WIDTH)))
    words = [v + rng.normal(size=v.shape) for v in images]
    texts, domains = tuple(f"thing {i}" for i in range(PAIRS)), tuple(f"domain {i % 6}" for i in range(PAIRS))
    pairs = Pairs("own", texts, domains, drawings().picture, "own")
    steps = runs.recipe("plain").phases[:phases]
    by = Provenance("random", "all", "float64", "cpu")
    return lambda: space_of(np.array(images), np.array(words), pairs, steps, by, "plain")


def archive(file: Path) -> None:
    """``PAIRS`` drawings with their names, and a number, as a visitor would pack them."""
    pairs = drawings()
    with zipfile.ZipFile(file, "w") as packed:
        for i in range(PAIRS):
            with packed.open(f"{i}.png", "w") as out:
                pairs.picture(i % len(pairs)).save(out, "PNG")
            packed.writestr(f"{i}.txt", f"{pairs.texts[i % len(pairs)]} {i}")


def main() -> None:
    recipe, pairs = runs.recipe("plain"), drawings()
    count = len(recipe.phases)
    size = first_frame()
    warm = statistics.median(seconds(first_frame) for _ in range(RUNS))
    fresh = [(in_a_process(FIRST), in_a_process(BARE)) for _ in range(3)]
    ours, bare = (statistics.median(column) for column in zip(*fresh, strict=True))
    with runs.opened(recipe) as encoder:
        some = pairs[:EMBEDDED]
        encoder.images(some[:8], [BASE])
        each = seconds(lambda: encoder.images(some, [phase.checkpoint for phase in recipe.phases])) / EMBEDDED
    print(f"\n{torch.get_num_threads()} threads; crosstalk-clip, {count} phases, {len(pairs)} pairs")
    print(f"first frame, warm process: {warm:.2f} s, {size:.2f} MB (goal: 2 s)")
    print(f"first frame, warm process / embedding the pictures anew: {warm / (each * len(pairs)):.4f}")
    print(f"first frame in a fresh process / importing its libraries: {ours / bare:.2f} ({ours:.1f} s, {bare:.1f} s)")

    with tempfile.TemporaryDirectory() as folder:
        file, read = Path(folder) / "own.zip", []
        archive(file)
        opening = seconds(lambda: read.append(opened(file)))
        read.clear()
    made = []
    measure = own_space(count)
    measuring = seconds(lambda: made.append(measure()))
    large = drawn(made[0])
    view = statistics.median(seconds(lambda: drawn(made[0])) for _ in range(RUNS))
    embedding = each * PAIRS
    print(f"\n{PAIRS} own pairs, {count} phases, embeddings of {WIDTH} numbers; two views of {large:.1f} MB")
    print("| what | seconds | / embedding the pictures |\n|---|---|---|")
    for what, took in (
        (f"the pictures embedded by crosstalk-clip (from {EMBEDDED})", embedding),
        ("the archive unpacked and checked", opening),
        ("angles and retrieval of every phase", measuring),
        ("PCA view: projected, turned back, drawn (goal: 5 s)", view),
    ):
        print(f"| {what} | {took:.1f} | {took / embedding:.2f} |")


if __name__ == "__main__":
    main()
