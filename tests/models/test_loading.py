import json
import shutil
import threading
import time

import httpx
import pytest
import torch
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors.torch import load, save_file
from transformers import LlavaForConditionalGeneration

from models import devices, hub, loading
from models.errors import ModelError
from models.files import inside, nameless, parameters

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(saved, tmp_path):
    """A model's folder that a test may damage."""
    return shutil.copytree(saved / "model", tmp_path / "model")


def config(**fields):
    def change(folder):
        file = folder / "config.json"
        data = json.loads(file.read_text()) | fields
        file.write_text(json.dumps({k: v for k, v in data.items() if v != "gone"}))

    return change


def weights(change):
    def apply(folder):
        file = folder / WEIGHTS
        tensors = change(load(file.read_bytes()))
        file.unlink()
        save_file(tensors, file)

    return apply


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


def without(*names):
    def remove(folder):
        for name in names:
            (folder / name).unlink(missing_ok=True)

    return remove


def pickled(folder):
    torch.save(load((folder / WEIGHTS).read_bytes()), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def halved(folder):
    file = folder / WEIGHTS
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def sharded(listed):
    def apply(folder):
        shutil.move(folder / WEIGHTS, folder / "model-00001-of-00002.safetensors")
        (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": listed}))

    return apply


TWO = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
HOSTILE = {
    "no config": (without("config.json"), r"no config\.json"),
    "config that is no JSON": (write("config.json", "{model_type: llava}"), "config.json is not readable JSON"),
    "config that is a list": (write("config.json", "[]"), "config.json is not a JSON object"),
    "no model_type": (config(model_type="gone"), 'field "model_type" is missing'),
    "a text-only model": (config(model_type="qwen2", architectures=["Qwen2ForCausalLM"]), "is Qwen2ForCausalLM, not"),
    "a picture-only model": (config(model_type="vit", architectures=["ViTModel"]), "it is ViTModel, not"),
    "an unknown architecture": (config(model_type="llava_omega"), 'knows no model_type "llava_omega"'),
    "code of its own": (
        config(model_type="llava_omega", auto_map={"AutoModel": "modeling.Omega"}), "run code of its own .auto_map.",
    ),
    "weights elsewhere": (config(transformers_weights="../../x.safetensors"), "transformers_weights"),
    "a kernel from the Hub": (config(text_config={"attn_implementation": "evil/kernel"}), "attention kernel fetched"),
    "settings of nonsense": (config(text_config={"model_type": "qwen2", "hidden_size": "big"}), "cannot be read"),
    "an adapter": (write("adapter_config.json", "{}"), "is an adapter, not a model"),
    "pickle only": (pickled, r"pickled weights only \(pytorch_model.bin\), which can run code"),
    "a distributed checkpoint": (write(".metadata", "x"), r"pickled \.metadata"),
    "no weights": (without(WEIGHTS), "has no weights"),
    "half a file": (halved, "model.safetensors is not a whole safetensors file"),
    "another format": (write(WEIGHTS, "hello"), "model.safetensors is not a whole safetensors file"),
    "a shard missing": (sharded(TWO), r"names model-00002-of-00002.safetensors, not in the folder: 1 of 2"),
    "a shard elsewhere": (sharded({"a": "../model/x.safetensors"}), "is not a safetensors file beside it"),
    "a pickled shard": (sharded({"a": "pytorch_model.bin"}), "'pytorch_model.bin', which is not a safetensors file"),
    "a pattern for a shard": (sharded({"a": "*.safetensors"}), "is not a safetensors file beside it"),
    "an index of nothing": (sharded({}), 'field "weight_map"'),
    "an index that is no JSON": (
        lambda f: (without(WEIGHTS)(f), write(f"{WEIGHTS}.index.json", "{")(f)), "index.json is not readable JSON",
    ),
    "weights missing": (
        weights(lambda t: {k: v for k, v in t.items() if "linear_1" not in k}), "2 weights are missing, .*linear_1",
    ),
    "weights too many": (weights(lambda t: t | {"q_former.x": torch.ones(2)}), "1 weights are unknown.*q_former"),
    "weights of another shape": (
        weights(lambda t: {k: torch.ones(3, 3) if "linear_1.w" in k else v for k, v in t.items()}),
        r"another shape than config.json says.*\(3, 3\) instead of",
    ),
    "no processor": (without("processor_config.json", "preprocessor_config.json"), "has no picture processor"),
    "no tokenizer": (without("tokenizer.json", "tokenizer_config.json"), "has no tokenizer"),
    "a processor that is no JSON": (write("processor_config.json", "<html>"), "processor_config.json is not readable"),
    "a tokenizer of nonsense": (write("tokenizer.json", '{"version": "1.0"}'), "tokenizer cannot be read"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_model_is_refused_with_its_own_message(folder, what):
    damage, told = HOSTILE[what]
    damage(folder)
    with pytest.raises(ModelError, match=f"cannot be opened: .*{told}") as error:
        loading.load(folder, "cpu")
    assert str(folder.parent) not in str(error.value)  # visitors read it


def test_the_messages_differ():
    assert len({told for _, told in HOSTILE.values()}) >= 25


@pytest.mark.parametrize(
    "source",
    [
        "/nowhere/at/all",
        "../..",
        "owner",
        "owner/name/more",
        "owner/..",
        "owner/na--me",
        "https://example.org/a",
        "a/b\n",
        "a/" * 3000,
        "a\0",
        "~nobody-of-this-name/model",
    ],
)
def test_what_is_neither_folder_nor_id(source):
    with pytest.raises(ModelError, match="cannot be opened.*neither a folder nor|is not a model|no config"):
        loading.load(source, "cpu")


def test_an_id_is_never_looked_for_on_the_disk(folder, monkeypatch):
    monkeypatch.chdir(folder.parents[1])
    typed = f"{folder.parent.name}/{folder.name}"
    assert hub.is_id(typed)
    with pytest.raises(ModelError, match=f"{typed} cannot be opened: .*was not downloaded before"):
        loading.load(typed, "cpu")
    assert loading.fetch(folder.relative_to(folder.parents[1])).samefile(folder)  # a Path is a folder


def test_a_file_is_not_a_model(folder):
    with pytest.raises(ModelError, match="it is a file: give the folder"):
        loading.load(folder / WEIGHTS, "cpu")


def test_what_opens_is_what_was_saved(folder, tmp_path):
    saved = load((folder / WEIGHTS).read_bytes())
    model, processor = loading.load(folder, "cpu")
    assert sum(p.numel() for p in model.parameters()) == parameters([folder / WEIGHTS], ModelError)
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    assert model.dtype == torch.float32 and model.device.type == "cpu"
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight  # tied, and not missing
    held = {float(p.double().sum()) for p in model.parameters()}
    assert held == {float(t.double().sum()) for t in saved.values()}
    assert processor.tokenizer and processor.image_processor
    assert loading.load(folder, "cpu", "bfloat16")[0].dtype == torch.bfloat16
    model.save_pretrained(tmp_path / "shards", max_shard_size="100KB")
    processor.save_pretrained(tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    again, _ = loading.load(tmp_path / "shards", "cpu")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_a_model_that_fits_nowhere_tells_the_numbers_before_it_is_read(folder, monkeypatch):
    monkeypatch.setattr(devices, "memory", lambda device: devices.Memory(1e5, 2e5))
    monkeypatch.setattr(loading, "_model", lambda *a: pytest.fail("it does not fit"))
    with pytest.raises(ModelError, match=r"needs about 0\.\d GB of memory; this machine has 0\.0 GB"):
        loading.load(folder, "cpu")


def test_short_memory_while_loading_is_a_message_with_numbers(folder, monkeypatch):
    def exhausted(*args, **settings):
        raise torch.OutOfMemoryError("CUDA out of memory")

    told = r"needs about \d+\.\d GB; cpu has \d+\.\d GB free"
    with monkeypatch.context() as patch:
        patch.setattr(loading.AutoModelForImageTextToText, "from_pretrained", exhausted)
        with pytest.raises(ModelError, match=told):
            loading.load(folder, "cpu")
    monkeypatch.setattr(LlavaForConditionalGeneration, "to", exhausted)  # read, but the device is full
    with pytest.raises(ModelError, match=told):
        loading.load(folder, "cpu")


def test_two_models_are_opened_one_after_the_other(folder, monkeypatch):
    """``from_pretrained`` patches what the whole process uses."""
    original, inside_now, most = loading.AutoModelForImageTextToText.from_pretrained, [], []

    def watched(*args, **settings):
        inside_now.append(1)
        most.append(len(inside_now))
        time.sleep(0.1)
        try:
            return original(*args, **settings)
        finally:
            inside_now.pop()

    monkeypatch.setattr(loading.AutoModelForImageTextToText, "from_pretrained", watched)
    threads = [threading.Thread(target=loading.load, args=(folder, "cpu")) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1, 1]


# What visitors may read, and paths that lead nowhere


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[Errno 13] Permission denied: '/root/.cache/hub/x'", "[Errno 13] Permission denied: 'x'"),
        ("Can't load /srv/models/mine/config.json: no", "Can't load config.json: no"),
        ("~/models/mine", "mine"),
        ("see https://huggingface.co/owner/name and/or owner/name", None),
        ("shape (3, 3) / 2", None),
    ],
)
def test_places_on_the_disk_are_left_out_of_messages(text, shown):
    assert nameless(text) == (shown or text)


def test_a_folder_with_spaces_is_left_out_too(tmp_path):
    folder = tmp_path / "jo doe" / "model"
    assert nameless(f"no {folder}/config.json", folder) == "no model/config.json"


def test_paths_that_lead_nowhere_are_not_inside(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    assert inside(tmp_path, tmp_path / "a" / "b")
    for path in ("loop", "loop/x", "a\0b"):
        assert not inside(tmp_path, tmp_path / path)


# The Hub, by a stand-in that holds one repository.


@pytest.fixture
def repository(folder, tmp_path, monkeypatch):
    """The Hub with the repository owner/small; the list of what was asked of it."""
    calls = []
    cache = tmp_path / "snapshots" / "abc123"

    def download(repo, allow_patterns, ignore_patterns, revision, local_dir):
        calls.append((repo, tuple(allow_patterns), revision))
        cache.mkdir(parents=True, exist_ok=True)
        for pattern in allow_patterns:
            for file in folder.glob(pattern):
                shutil.copy(file, cache)
        return str(cache)

    monkeypatch.setattr(hub, "snapshot_download", download)
    monkeypatch.setattr(hub, "files_of", lambda repo: [f.name for f in folder.iterdir()])
    return calls


def test_a_hub_model_is_checked_before_its_weights_are_downloaded(repository, folder):
    loading.load("owner/small", "cpu")
    assert [c[1] for c in repository] == [loading._SETTINGS, (WEIGHTS,)]
    assert repository[1][2] == "abc123"  # the weights of the same commit
    repository.clear()
    config(model_type="qwen2")(folder)
    with pytest.raises(ModelError, match="not a model that reads pictures"):
        loading.load("owner/small", "cpu")
    assert len(repository) == 1


def test_a_hub_model_of_pickles_is_named(repository, folder, tmp_path):
    pickled(folder)
    with pytest.raises(
        ModelError, match=r"owner/small cannot be opened: it has pickled weights only .pytorch_model.bin"
    ):
        loading.load("owner/small", "cpu")


def test_what_an_index_lists_is_checked_before_it_is_asked_for(repository, folder):
    sharded({"a": "*.safetensors"})(folder)
    with pytest.raises(ModelError, match="is not a safetensors file beside it"):
        loading.load("owner/small", "cpu")
    assert [c[1] for c in repository] == [loading._SETTINGS]


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (GatedRepoError, "is gated: accept its licence at https://huggingface.co/owner/small and set HF_TOKEN"),
        (RepositoryNotFoundError, "no owner/small on the Hub, or it is private"),
        (LocalEntryNotFoundError, "not downloaded before, and HF_HUB_OFFLINE=1 is set"),
        (OSError, "could not be downloaded: no space left at 'hub'"),
    ],
)
def test_what_the_hub_refuses_is_told_with_the_remedy(monkeypatch, failure, told):
    def refuse(*args, **settings):
        answer = httpx.Response(403, request=httpx.Request("GET", "https://huggingface.co/owner/small"))
        raise (
            failure("no space left at '/root/.cache/hub'", response=answer)
            if failure in (GatedRepoError, RepositoryNotFoundError)
            else (failure("no space left at '/root/.cache/hub'"))
        )

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    with pytest.raises(ModelError, match=f"owner/small cannot be opened: .*{told}"):
        loading.load("owner/small", "cpu")
