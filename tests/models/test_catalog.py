import pytest

from models import catalog
from models.errors import ModelError


@pytest.fixture(autouse=True)
def _none_open(monkeypatch):
    monkeypatch.setattr(catalog, "_open", {})


def test_the_embedded_default_comes_first_with_its_checkpoints():
    first = catalog.entries()[0]
    assert (first.name, first.available) == (catalog.EMBEDDED, True)
    assert first.checkpoints[:2] == ("naming", "counting")


def test_presets_that_cannot_run_here_say_why():
    for entry in catalog.entries()[1:]:
        assert not entry.available  # the tests run offline
        assert entry.reason
        with pytest.raises(ModelError, match="memory|Hub"):
            catalog.open_model(entry.name)


def test_what_does_not_fit_tells_the_numbers(monkeypatch):
    monkeypatch.setattr(catalog, "_memory", lambda: 8e9)
    big = next(e for e in catalog.entries() if "7b" in e.name)
    assert big.reason == "needs about 34 GB of memory; this machine has 8 GB"


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


@pytest.mark.parametrize("source", ["/nowhere", "http://example.org/model", "a/b/c", "owner/.."])
def test_what_is_neither_folder_nor_id_is_listed_with_the_reason(monkeypatch, source):
    monkeypatch.setenv("CROSSTALK_MODEL", source + "/x" if source == "owner/.." else source)
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
