import gc
import json
import os
import shutil
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest
import torch

from models import catalog, devices, hub, manifest
from models.embedded import phrases as P
from models.errors import CheckpointError, ModelError
from models.shelf import Shelf


@pytest.fixture(autouse=True)
def _nothing_open(monkeypatch):
    monkeypatch.setattr(catalog, "_shelf", Shelf(catalog._budget, catalog._freed))
    monkeypatch.setattr(hub, "_counted", {})
    for name in ("MODEL", "CHECKPOINTS", "FOLDERS", "MEMORY", "PUBLIC", "QUANTIZE"):
        monkeypatch.delenv(f"CROSSTALK_{name}", raising=False)
    monkeypatch.delenv("SPACE_ID", raising=False)


def _others() -> list[catalog.Entry]:
    return [e for e in catalog.entries() if not catalog.embedded(e.name)]


def test_the_embedded_default_comes_first_with_its_checkpoints():
    first = catalog.entries()[0]
    assert (first.name, first.available) == (catalog.EMBEDDED, True)
    assert first.checkpoints[:2] == ("naming", "counting")
    assert 1e6 < first.parameters < 13e6


def test_other_sets_of_the_embedded_default_share_its_weights(monkeypatch, tmp_path):
    folder = shutil.copytree(catalog._ASSETS, tmp_path / "embedded", ignore=shutil.ignore_patterns("*.webp"))
    monkeypatch.setattr(catalog, "_ASSETS", folder)
    for other in folder.glob("checkpoints/*"):
        if other.name != "sequential":
            shutil.rmtree(other)
    shutil.copytree(folder / "checkpoints" / "sequential", folder / "checkpoints" / "other")
    (folder / "checkpoints" / "unfinished").mkdir()
    names = [e.name for e in catalog.entries()][:5]
    assert names[:4] == ["crosstalk-mini", "crosstalk-mini (other)", "crosstalk-mini (unfinished)", catalog.NEXT]
    assert [catalog.embedded(name) for name in names] == [True, True, True, True, False]
    assert not catalog.parse("crosstalk-mini (unfinished)").available
    one, other = catalog.open_model(), catalog.open_model("crosstalk-mini (other)")
    assert one.model is other.model and one.lock is other.lock and one.checkpoints is not other.checkpoints


def test_the_next_base_opens_without_checkpoints():
    model = catalog.open_model(catalog.NEXT)
    assert model.checkpoint_names == ("base",) and model.model.config.text_config.num_hidden_layers == 12
    assert model.answers([model.encode(None, "hello")])[0].strip() == P.SELF


def test_presets_that_cannot_run_here_say_why():
    presets = _others()
    assert len(presets) == 10
    for entry in presets:
        assert not entry.available  # the tests run offline
        assert entry.reason
        with pytest.raises(ModelError, match="memory|Hub"):
            catalog.open_model(entry.name)


def test_what_does_not_fit_tells_the_numbers(monkeypatch):
    monkeypatch.setattr(catalog, "_memory", lambda: 10e9)
    big = next(e for e in catalog.entries() if "7b" in e.name)
    assert big.reason == "needs about 34 GB of memory; models may take 8 GB here"
    monkeypatch.setenv("CROSSTALK_MEMORY", "5")  # what the shelf keeps to counts
    assert "models may take 5 GB here" in next(e for e in catalog.entries() if "7b" in e.name).reason
    assert catalog.need(7.1, 4) == pytest.approx(34.08e9 / 8)


def test_several_gpus_hold_what_may_be_spread(monkeypatch):
    monkeypatch.setattr(devices, "pick", lambda device="auto": torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(devices, "memory", lambda device: devices.Memory(20e9, 24e9))
    assert catalog._budget() == pytest.approx(0.8 * 72e9)


@pytest.mark.parametrize(("bits", "told"), [("4", "need a CUDA device"), ("3", "neither 4 nor 8")])
def test_quantisation_that_cannot_be_is_told_where_it_would_be_done(monkeypatch, saved, bits, told):
    monkeypatch.setattr(devices, "pick", lambda device="auto": torch.device("cpu"))
    monkeypatch.setenv("CROSSTALK_QUANTIZE", bits)
    monkeypatch.setenv("CROSSTALK_MODEL", str(saved / "model"))
    embedded, others = catalog.entries()[0], _others()
    assert embedded.available and len(others) == 11
    assert all(told in e.reason and not e.available for e in others)
    assert catalog.open_model().name == catalog.EMBEDDED  # never quantised
    with pytest.raises(ModelError, match=f"model cannot be opened: .*{told}"):
        catalog.open_model("model")


def test_what_was_downloaded_before_opens_offline(monkeypatch):
    monkeypatch.setattr(catalog, "_memory", lambda: 64e9)
    monkeypatch.setattr(hub, "cached", lambda repo: "SmolVLM" in repo)
    available = [e.name for e in catalog.entries() if e.available and not catalog.embedded(e.name)]
    assert available == ["HuggingFaceTB/SmolVLM-500M-Instruct"]


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ModelError, match=r"no model 'gpt'.*crosstalk-mini"):
        catalog.open_model("gpt")


def test_own_model_and_checkpoints(monkeypatch, saved):
    monkeypatch.setenv("CROSSTALK_MODEL", str(saved / "model"))
    monkeypatch.setenv("CROSSTALK_CHECKPOINTS", str(saved / "set"))
    own = _others()[0]
    assert (own.name, own.available, own.checkpoints) == ("model", True, ("naming", "counting"))
    assert catalog.open_model("model").checkpoint_names == ("base", "naming", "counting")
    assert catalog.open_model("model") is catalog.open_model("model")


def test_a_set_for_each_method_shares_the_weights(monkeypatch, saved, copied):
    replay = shutil.move(copied, copied.parent / "replay")
    (replay / "checkpoints.json").write_text((replay / "checkpoints.json").read_text().replace("sequential", "replay"))
    monkeypatch.setenv("CROSSTALK_MODEL", str(saved / "model"))
    monkeypatch.setenv("CROSSTALK_CHECKPOINTS", os.pathsep.join([str(saved / "set"), str(replay), "/nowhere/at/x"]))
    first, second, third = _others()[:3]
    assert [first.name, second.name] == ["model", "model (replay)"] and second.available
    assert not third.available and "'x' is neither a folder" in third.reason and "nowhere" not in third.reason
    with catalog.using("model") as one, catalog.using("model (replay)") as two:
        assert one is not two and one.model is two.model and one.lock is two.lock
        assert two.checkpoints.manifest.method == "replay"
        assert one.answers([one.encode(None, "What?")], "naming", 4) == two.answers(
            [two.encode(None, "What?")], "naming", 4
        )


def test_two_names_of_one_model_share_its_weights_and_its_lock(monkeypatch, host):
    monkeypatch.setenv("CROSSTALK_MODEL", str(host / "runs" / "mine"))
    with catalog.using("mine") as one, catalog.using("runs/mine") as two:
        assert (one.name, two.name) == ("mine", "runs/mine")
        assert one.model is two.model and one.lock is two.lock
        assert two.answers([two.encode(None, "What?")], "base", 4) == one.answers(
            [one.encode(None, "What?")], "base", 4
        )
    with catalog.using("runs/mine") as again:
        assert again is two


def test_a_set_of_the_hub_is_downloaded_when_it_is_opened_and_a_failure_is_not_kept(monkeypatch, saved, tmp_path):
    monkeypatch.setattr(hub.constants, "HF_HOME", str(tmp_path))
    monkeypatch.setenv("CROSSTALK_MODEL", str(saved / "model"))
    monkeypatch.setenv("CROSSTALK_CHECKPOINTS", "owner/set")
    monkeypatch.setattr(hub, "download", lambda *a, **k: pytest.fail("asked the Hub to show the list"))
    own = _others()[0]
    assert (own.available, own.checkpoints) == (True, ())

    def refuse(*args, **settings):
        raise ModelError("the Hub cannot be reached.")

    def download(repo, patterns, folder):
        return shutil.copytree(saved / "set", folder)

    monkeypatch.setattr(hub, "download", refuse)
    with pytest.raises(CheckpointError, match="owner/set cannot be had: the Hub cannot be reached"):
        catalog.open_model("model")
    monkeypatch.setattr(hub, "download", download)
    assert catalog.open_model("model").checkpoint_names == ("base", "naming", "counting")
    own = _others()[0]
    assert own.checkpoints == ("naming", "counting") and own.checkpoint_folder == manifest.locate("owner/set")


@pytest.mark.parametrize(
    "source",
    [
        "~nobody-of-this-name/x",
        "/secret/" + "x" * 5000,
        "/secret/place",
        "http://example.org/model",
        "a/b/c",
        "owner/../x",
    ],
)
def test_what_is_neither_folder_nor_id_is_listed_with_the_reason(monkeypatch, source):
    monkeypatch.setenv("CROSSTALK_MODEL", source)
    own = _others()[0]
    assert not own.available
    assert "secret" not in f"{own.name} {own.source} {own.reason}"  # visitors read it
    assert "neither a folder nor a Hub id" in own.reason


def test_own_checkpoints_that_are_damaged_are_listed_with_the_reason(monkeypatch, saved, copied):
    monkeypatch.setenv("CROSSTALK_MODEL", str(saved / "model"))
    (copied / "checkpoints.json").write_text("{}")
    monkeypatch.setenv("CROSSTALK_CHECKPOINTS", str(copied))
    reason = _others()[0].reason
    assert '"order" is missing' in reason and str(copied.parent) not in reason


def test_an_embedded_default_that_is_not_whole_is_listed_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(catalog, "_ASSETS", tmp_path)
    first = catalog.entries()[0]
    assert not first.available
    assert "make train" in first.reason
    with pytest.raises(ModelError, match="not whole"):
        catalog.open_model()


# What is typed on the page


def test_a_hub_id_is_offered_with_what_it_needs(monkeypatch):
    monkeypatch.setattr(hub, "offline", lambda: False)
    monkeypatch.setattr(catalog, "_memory", lambda: 64e9)
    monkeypatch.setattr(hub, "parameters_of", lambda repo: 2e9)
    entry = catalog.parse("owner/name")
    assert (entry.source, entry.available, entry.parameters) == ("owner/name", True, 2e9)
    monkeypatch.setattr(hub, "parameters_of", lambda repo: 90e9)
    assert "needs about 432 GB" in catalog.parse("owner/name").reason


class Told:
    """What the Hub says of a repository."""

    def __init__(self, total):
        self.safetensors = type("Weights", (), {"total": total})


def test_how_large_a_model_of_the_hub_is_is_asked_again_until_it_is_known(monkeypatch, saved):
    answers = [ConnectionError("no network"), Told(5), Told(7)]

    def model_info(self, repo, timeout):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(hub.HfApi, "model_info", model_info)
    monkeypatch.setattr(hub, "offline", lambda: False)
    assert [hub.parameters_of("owner/name") for _ in range(3)] == [0, 5, 5]
    monkeypatch.setattr(hub, "snapshot", lambda repo: saved / "model")  # downloaded: its files tell, without the Hub
    assert hub.parameters_of("owner/other") == catalog._counted(saved / "model") > 0
    assert len(answers) == 1


def test_an_id_typed_by_a_visitor_never_opens_a_folder_of_the_host(monkeypatch, host):
    monkeypatch.delenv("CROSSTALK_FOLDERS")
    monkeypatch.chdir(host)
    monkeypatch.setattr(hub, "cached", lambda repo: True)
    assert hub.is_id("runs/mine") and Path("runs/mine").is_dir()
    with pytest.raises(ModelError, match="runs/mine cannot be opened: .*was not downloaded before"):
        catalog.open_model("runs/mine")
    monkeypatch.setenv("CROSSTALK_MODEL", "runs/mine")  # the host may mean the folder
    assert _others()[0].source == str((host / "runs" / "mine").resolve())
    assert catalog.open_model("mine").checkpoint_names == ("base",)


@pytest.fixture
def host(monkeypatch, saved, tmp_path):
    """A folder of models that the host named, with ``runs/mine`` in it."""
    shutil.copytree(saved / "model", tmp_path / "host" / "runs" / "mine")
    monkeypatch.setenv("CROSSTALK_FOLDERS", f"{tmp_path / 'empty'}{os.pathsep}{tmp_path / 'host'}")
    return tmp_path / "host"


def test_a_folder_below_one_that_the_host_named(host):
    assert catalog.parse("runs/mine").source == str((host / "runs" / "mine").resolve())
    assert catalog.open_model("runs/mine").checkpoint_names == ("base",)


@pytest.mark.parametrize(
    "spec", ["../host/runs/mine", "runs/../../secret", "~/x", "{host}/runs/mine", "/etc", "runs/.."]
)
def test_a_folder_named_with_tricks_is_refused(host, spec):
    with pytest.raises(ModelError, match="is not opened: name a folder as it is called"):
        catalog.parse(spec.format(host=host))


@pytest.mark.parametrize("spec", ["", " ", "runs/none", "a\0b", "a/b/c", "x" * 5000, "a/" * 3000, "loop", "loop/x"])
def test_what_is_nothing_is_refused(host, spec):
    (host / "loop").symlink_to("loop")
    with pytest.raises(ModelError):
        catalog.open_model(spec or " ")


def test_links_out_of_the_hosts_folder_are_refused(host, tmp_path):
    shutil.copytree(host / "runs" / "mine", tmp_path / "secret")
    (host / "linked").symlink_to(tmp_path / "secret")
    (host / "runs" / "mine" / "config.json").unlink()
    (host / "runs" / "mine" / "config.json").symlink_to(tmp_path / "secret" / "config.json")
    shutil.copytree(tmp_path / "secret", host / "circle")
    (host / "circle" / "loop").symlink_to("loop")
    for spec in ("linked", "runs/mine", "circle"):
        with pytest.raises(ModelError, match="link out of the host's folder"):
            catalog.parse(spec)


@pytest.mark.parametrize(
    ("settings", "public"),
    [
        ({"CROSSTALK_PUBLIC": "1"}, True), ({"SPACE_ID": "owner/space"}, True), ({}, False),
        ({"SPACE_ID": "owner/space", "CROSSTALK_PUBLIC": "0"}, False),
        ({"SPACE_ID": "owner/space", "CROSSTALK_PUBLIC": "False"}, False), ({"CROSSTALK_PUBLIC": "NO"}, False),
        ({"CROSSTALK_PUBLIC": "true"}, True), ({"CROSSTALK_PUBLIC": "yes"}, True),
        ({"SPACE_ID": "owner/space", "CROSSTALK_PUBLIC": ""}, True),
    ],
)  # fmt: skip
def test_strangers_open_only_what_is_listed(monkeypatch, host, settings, public):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert catalog.parse(catalog.EMBEDDED).available
    assert "Hub" in catalog.parse("Qwen/Qwen2.5-VL-3B-Instruct").reason or "memory" in catalog.parse(
        "Qwen/Qwen2.5-VL-3B-Instruct"
    ).reason  # fmt: skip
    for spec in ("owner/name", "runs/mine"):
        if public:
            with pytest.raises(ModelError, match="public server opens listed models only.*crosstalk-mini"):
                catalog.parse(spec)
        else:
            assert catalog.parse(spec).name == spec


# The memory budget


class Thing:
    """What a model is to the shelf."""


def test_the_least_recently_used_goes_first_and_is_freed():
    freed = []
    shelf = Shelf(lambda: 10, lambda: freed.append(1))

    def get(key):
        with shelf.using(key, key, 4, Thing) as thing:
            return thing

    a, b = get("a"), get("b")
    assert get("a") is a and not freed
    get("c")
    assert shelf.held() == ("a", "c") and freed == [1]
    gone = weakref.ref(b)
    del b
    gc.collect()
    assert gone() is None
    assert get("a") is a
    assert get("b") is not None and shelf.held() == ("a", "b")


def test_what_is_in_use_never_goes_and_the_numbers_are_told():
    shelf = Shelf(lambda: 10e9)
    with shelf.using("a", "A", 6e9, Thing) as a:
        told = r"B needs about 5\.0 GB; models may take 10\.0 GB, of which A use 6\.0 GB now.*CROSSTALK_MEMORY"
        with pytest.raises(ModelError, match=told), shelf.using("b", "B", 5e9, Thing):
            pass
        with shelf.using("c", "C", 4e9, Thing), shelf.using("a", "A", 6e9, Thing) as again:
            assert again is a
        assert shelf.held() == ("c", "a")
    told = pytest.raises(ModelError, match=r"D needs about 11\.0 GB; models may take 10\.0 GB\. Choose a smaller")
    with told, shelf.using("d", "D", 11e9, Thing):
        pass
    assert shelf.held() == ("c", "a")  # nothing was given up in vain
    with shelf.using("b", "B", 4e9, Thing):
        assert shelf.held() == ("a", "b")  # c was used before a, and none was in use any more


def test_two_visitors_open_one_model_once_and_others_are_not_kept_waiting():
    shelf, opening, go_on = Shelf(lambda: 10), threading.Event(), threading.Event()
    opened, found = [], []

    def slow():
        opened.append(1)
        opening.set()
        assert go_on.wait(20)
        return Thing()

    def visit():
        with shelf.using("slow", "slow", 4, slow) as thing:
            found.append(thing)

    threads = [threading.Thread(target=visit, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert opening.wait(20)
    with shelf.using("other", "other", 4, Thing) as other:  # while the slow one is being opened
        assert other is not None and not found
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert opened == [1] and len(found) == 2 and found[0] is found[1]


def test_what_failed_to_open_can_be_tried_again():
    shelf = Shelf(lambda: 10)

    def broken():
        raise ModelError("half a file")

    for _ in range(2):
        with pytest.raises(ModelError, match="half a file"), shelf.using("a", "a", 8, broken):
            pass
    with shelf.using("a", "a", 8, Thing) as thing:
        assert thing is not None


def test_what_a_thing_takes_in_truth_counts_from_then_on():
    shelf = Shelf(lambda: 10)
    with shelf.using("a", "a", 1, Thing):
        pass
    with shelf.using("b", "b", 1, Thing), shelf.using("c", "c", 0, Thing):  # how large c is was not known
        shelf.weigh("c", 9)
        assert shelf.held() == ("b", "c")
        with pytest.raises(ModelError, match="d needs"), shelf.using("d", "d", 1, Thing):
            pass


def test_a_model_is_weighed_with_its_checkpoints(monkeypatch, saved, host, tmp_path):
    whole = tmp_path / "whole"
    shutil.copytree(saved / "model", whole / "doubled")
    with catalog.using("runs/mine") as mllm:
        alone = sum(p.nbytes for p in mllm.model.parameters())
        doubled = {k: v * 2 for k, v in mllm.model.state_dict().items()}
        mllm.model.save_pretrained(whole / "doubled", state_dict=doubled)
    entry = {"name": "doubled", "task": "t", "weights": "doubled"}
    data = {"base": "small", "method": "m", "order": ["t"], "checkpoints": [entry]}
    (whole / "checkpoints.json").write_text(json.dumps(data))
    monkeypatch.setenv("CROSSTALK_MODEL", str(saved / "model"))
    monkeypatch.setenv("CROSSTALK_CHECKPOINTS", os.pathsep.join([str(saved / "set"), str(whole)]))
    with catalog.using("model"):
        slot = catalog._shelf._slots[str((saved / "model").resolve())]
        first = slot.need
        assert first > alone * devices.OVERHEAD  # its adapters count
        with catalog.using("model (whole)"):
            assert slot.need > first + alone  # and so does what replaces the base's weights


def test_a_model_of_the_catalogue_goes_when_another_needs_its_room(monkeypatch, saved, host):
    monkeypatch.setenv("CROSSTALK_MODEL", str(saved / "model"))
    one = catalog.need(_others()[0].parameters / 1e9)
    monkeypatch.setenv("CROSSTALK_MEMORY", f"{1.5 * one / 1e9:.9f}")
    first = catalog.open_model("model")
    assert catalog.open_model("model") is first
    with catalog.using("runs/mine") as other:
        assert other is not first
        with pytest.raises(ModelError, match=r"model needs about .*of which runs/mine use"):
            catalog.open_model("model")
    assert catalog.open_model("model") is not first


@pytest.mark.parametrize("memory", ["lots", "-1", "nan", "inf"])
def test_a_budget_that_is_no_number(monkeypatch, memory):
    monkeypatch.setenv("CROSSTALK_MEMORY", memory)
    with pytest.raises(ModelError, match="CROSSTALK_MEMORY"):
        catalog.open_model()
    assert all("CROSSTALK_MEMORY" in e.reason for e in _others())


def test_looking_at_the_catalogue_does_not_import_torch():
    script = "import sys, json; import models.catalog; print(json.dumps([m for m in sys.modules if m == 'torch']))"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout) == []
