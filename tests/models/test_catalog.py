import gc
import json
import os
import shutil
import subprocess
import sys
import threading
import weakref

import pytest

from models import catalog, hub
from models.errors import ModelError
from models.shelf import Shelf


@pytest.fixture(autouse=True)
def _nothing_open(monkeypatch):
    monkeypatch.setattr(catalog, "_shelf", Shelf(catalog._budget, catalog._freed))
    monkeypatch.setattr(catalog, "_located", {})
    for name in ("MODEL", "CHECKPOINTS", "FOLDERS", "MEMORY", "PUBLIC", "QUANTIZE"):
        monkeypatch.delenv(f"CROSSTALK_{name}", raising=False)
    monkeypatch.delenv("SPACE_ID", raising=False)


def test_the_embedded_default_comes_first_with_its_checkpoints():
    first = catalog.entries()[0]
    assert (first.name, first.available) == (catalog.EMBEDDED, True)
    assert first.checkpoints[:2] == ("naming", "counting")
    assert 1e6 < first.parameters < 13e6


def test_presets_that_cannot_run_here_say_why():
    presets = catalog.entries()[1:]
    assert len(presets) == 10
    for entry in presets:
        assert not entry.available  # the tests run offline
        assert entry.reason
        with pytest.raises(ModelError, match="memory|Hub"):
            catalog.open_model(entry.name)


def test_what_does_not_fit_tells_the_numbers(monkeypatch):
    monkeypatch.setattr(catalog, "_memory", lambda: 8e9)
    big = next(e for e in catalog.entries() if "7b" in e.name)
    assert big.reason == "needs about 34 GB of memory; this machine has 8 GB"
    monkeypatch.setenv("CROSSTALK_QUANTIZE", "4")
    assert catalog.need(7.1) == pytest.approx(34.08e9 / 8)


def test_what_was_downloaded_before_opens_offline(monkeypatch):
    monkeypatch.setattr(catalog, "_memory", lambda: 64e9)
    monkeypatch.setattr(hub, "cached", lambda repo: "SmolVLM" in repo)
    assert [e.name for e in catalog.entries() if e.available] == [
        catalog.EMBEDDED, "HuggingFaceTB/SmolVLM-500M-Instruct",
    ]  # fmt: skip


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ModelError, match=r"no model 'gpt'.*crosstalk-mini"):
        catalog.open_model("gpt")


def test_own_model_and_checkpoints(monkeypatch, saved):
    monkeypatch.setenv("CROSSTALK_MODEL", str(saved / "model"))
    monkeypatch.setenv("CROSSTALK_CHECKPOINTS", str(saved / "set"))
    own = catalog.entries()[1]
    assert (own.name, own.available, own.checkpoints) == ("model", True, ("naming", "counting"))
    assert catalog.open_model("model").checkpoint_names == ("base", "naming", "counting")
    assert catalog.open_model("model") is catalog.open_model("model")


def test_a_set_for_each_method_shares_the_weights(monkeypatch, saved, copied):
    replay = shutil.move(copied, copied.parent / "replay")
    (replay / "checkpoints.json").write_text((replay / "checkpoints.json").read_text().replace("sequential", "replay"))
    monkeypatch.setenv("CROSSTALK_MODEL", str(saved / "model"))
    monkeypatch.setenv("CROSSTALK_CHECKPOINTS", os.pathsep.join([str(saved / "set"), str(replay), "/nowhere"]))
    first, second, third = catalog.entries()[1:4]
    assert [first.name, second.name] == ["model", "model (replay)"] and second.available
    assert not third.available and "neither a folder" in third.reason
    with catalog.using("model") as one, catalog.using("model (replay)") as two:
        assert one is not two and one.model is two.model and one.lock is two.lock
        assert two.checkpoints.manifest.method == "replay"
        assert one.answers([one.encode(None, "What?")], "naming", 4) == two.answers(
            [two.encode(None, "What?")], "naming", 4
        )


@pytest.mark.parametrize("source", ["/nowhere", "http://example.org/model", "a/b/c", "owner/../x"])
def test_what_is_neither_folder_nor_id_is_listed_with_the_reason(monkeypatch, source):
    monkeypatch.setenv("CROSSTALK_MODEL", source)
    own = catalog.entries()[1]
    assert not own.available
    assert "neither a folder nor a Hub id" in own.reason


def test_own_checkpoints_that_are_damaged_are_listed_with_the_reason(monkeypatch, saved, copied):
    monkeypatch.setenv("CROSSTALK_MODEL", str(saved / "model"))
    (copied / "checkpoints.json").write_text("{}")
    monkeypatch.setenv("CROSSTALK_CHECKPOINTS", str(copied))
    assert '"order" is missing' in catalog.entries()[1].reason


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


@pytest.mark.parametrize("spec", ["", " ", "runs/none", "a\0b", "a/b/c"])
def test_what_is_nothing_is_refused(host, spec):
    with pytest.raises(ModelError):
        catalog.open_model(spec or " ")


def test_links_out_of_the_hosts_folder_are_refused(host, tmp_path):
    shutil.copytree(host / "runs" / "mine", tmp_path / "secret")
    (host / "linked").symlink_to(tmp_path / "secret")
    (host / "runs" / "mine" / "config.json").unlink()
    (host / "runs" / "mine" / "config.json").symlink_to(tmp_path / "secret" / "config.json")
    for spec in ("linked", "runs/mine"):
        with pytest.raises(ModelError, match="link out of the host's folder"):
            catalog.parse(spec)


@pytest.mark.parametrize(
    ("settings", "public"),
    [
        ({"CROSSTALK_PUBLIC": "1"}, True), ({"SPACE_ID": "owner/space"}, True), ({}, False),
        ({"SPACE_ID": "owner/space", "CROSSTALK_PUBLIC": "0"}, False),
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


def test_a_model_of_the_catalogue_goes_when_another_needs_its_room(monkeypatch, saved, host):
    monkeypatch.setenv("CROSSTALK_MODEL", str(saved / "model"))
    one = catalog.need(catalog.entries()[1].parameters / 1e9)
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


def test_looking_at_the_catalogue_does_not_import_torch():
    script = "import sys, json; import models.catalog; print(json.dumps([m for m in sys.modules if m == 'torch']))"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout) == []
