"""Measurements on disk: found again by what they were made of, never half, never another's."""

import gzip
import multiprocessing
import os
import resource
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from analysis import kept


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "SHIPPED", tmp_path / "shipped")


def _files():
    return list(kept.folder().rglob("*.gz"))


def test_found_again_by_what_it_was_made_of():
    assert kept.load("room", {"model": "a"}) is None
    assert kept.save("room", {"model": "a", "seed": np.int64(3)}, {"scores": np.array([1.0, 0.5])})
    assert kept.load("room", {"seed": 3, "model": "a"}) == {"scores": [1.0, 0.5]}
    assert kept.load("room", {"seed": 4, "model": "a"}) is None
    assert kept.load("other", {"seed": 3, "model": "a"}) is None


@pytest.mark.parametrize("spoil", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: gzip.compress(b"[1]")])
def test_half_a_file_is_none(spoil):
    kept.save("room", {"n": 1}, {"x": list(range(1000))})
    (file,) = _files()
    file.write_bytes(spoil(file.read_bytes()))
    assert kept.load("room", {"n": 1}) is None
    assert kept.save("room", {"n": 1}, {"x": 1}) and kept.load("room", {"n": 1}) == {"x": 1}


def test_a_file_under_anothers_name_is_not_taken():
    kept.save("room", {"n": 1}, {"x": 1})
    (file,) = _files()
    kept.save("room", {"n": 2}, {"x": 2})
    for other in _files():
        if other != file:
            other.write_bytes(file.read_bytes())
    assert kept.load("room", {"n": 2}) is None


def test_the_shipped_comes_first_and_is_written_only_while_shipping():
    kept.save("room", {"n": 1}, {"from": "here"})
    with kept.shipping():
        assert kept.load("room", {"n": 1}) is None
        kept.save("room", {"n": 1}, {"from": "shipped"})
    assert kept.load("room", {"n": 1}) == {"from": "shipped"}


def test_what_a_new_shipment_did_not_use_is_deleted():
    with kept.shipping():
        kept.save("room", {"weights": "old"}, {})
        kept.save("room", {"weights": "same"}, {})
    with kept.shipping():
        assert kept.load("room", {"weights": "same"}) == {}
        kept.save("room", {"weights": "new"}, {})
    assert [kept.load("room", {"weights": w}) for w in ("old", "same", "new")] == [None, {}, {}]
    with pytest.raises(KeyError), kept.shipping():
        raise KeyError
    assert kept.load("room", {"weights": "same"}) == {}


def test_a_folder_that_cannot_be_written_to(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "file"))
    value = {"x": 1, "provenance": {}}
    assert not kept.save("room", {"n": 1}, value)
    assert value["provenance"]["note"] == "not kept, as CROSSTALK_CACHE cannot be written (Not a directory)"
    assert kept.load("room", {"n": 1}) == value  # as long as the process lives
    assert kept.load("room", {"n": 2}) is None


def test_what_ships_is_written_or_told(monkeypatch, tmp_path):
    with kept.shipping():
        kept.save("room", {"n": 1}, {"x": 1})
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"), kept.shipping():
        kept.save("room", {"n": 2}, {"x": 1})
    assert kept.load("room", {"n": 1}) == {"x": 1} and kept.load("room", {"n": 2}) is None


def test_what_cannot_be_written_does_not_fill_the_memory(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "file"))
    noise = np.random.default_rng(0).random(2000)
    monkeypatch.setattr(kept, "_unwritten", kept._Memory(2.5 * len(kept._packed({}, {"x": noise}))))
    for n in range(4):
        assert not kept.save("room", {"n": n}, {"x": noise + n})
        assert kept.load("room", {"n": 0}) is not None  # what is used stays
    assert [kept.load("room", {"n": n}) is not None for n in range(4)] == [True, False, False, True]
    monkeypatch.setattr(kept._unwritten, "_most", 10)
    assert not kept.save("room", {"n": 5}, {"x": noise})
    assert kept.load("room", {"n": 5}) is not None and kept.load("room", {"n": 0}) is None


def _write_much(folder):
    os.environ["CROSSTALK_CACHE"] = folder
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # as a full disk: the write ends half way
    noise = np.random.default_rng(0).random(5000).tolist()
    os._exit(7 if not kept.save("room", {"n": 1}, {"x": noise}) else 0)


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=_write_much, args=(str(tmp_path / "full"),))
    process.start()
    process.join(30)
    assert process.exitcode == 7
    assert not [f for f in (tmp_path / "full").rglob("*") if f.is_file()]


class Weights:
    """A model of ``bits`` a weight, whose items are measured by ``ask``."""

    def __init__(self, bits=None):
        config = SimpleNamespace(quantization_config={"quant_method": "gptq", "bits": bits} if bits else None)
        self.model = SimpleNamespace(name_or_path="some/model", dtype="torch.float32", config=config)
        self.name, self.checkpoints, self.asked = "model", None, []

    def provenance(self, checkpoint, seed=None, seconds=0.0):
        return {"model": "model", "checkpoint": checkpoint, "seed": seed, "seconds": seconds}

    def ask(self, cell, places):
        for place in reversed(places):
            self.asked.append(place)
            yield place, {"answer": f"{cell.title} {place}", "at": {"x": np.float32(place)}}


def _gathered(model, *cells, **how):
    return kept.gathered("room", 1, model, cells, model.ask, **how)


def cell(title="a", n=5, **by):
    return kept.Cell("base", by or {"data": title}, title, n)


def test_rows_are_put_in_the_order_of_items_and_kept():
    model, told = Weights(), []
    found = _gathered(model, cell("a"), cell("b", 3), progress=lambda *step: told.append(step))
    assert [value["answer"] for value in found] == [[f"{t} {i}" for i in range(n)] for t, n in (("a", 5), ("b", 3))]
    assert found[0]["at"] == {"x": [0.0, 1.0, 2.0, 3.0, 4.0]} and found[0]["provenance"]["checkpoint"] == "base"
    assert told == [(i / 8, f"{t}: {k} of {n} items") for i, (t, k, n) in enumerate(
        [*(("a", k, 5) for k in range(5)), *(("b", k, 3) for k in range(3))]
    )]  # fmt: skip
    model.asked.clear()
    assert _gathered(model, cell("a"), cell("b", 3), progress=pytest.fail) == found and not model.asked
    assert _gathered(model, cell("c"), cell("b", 3), only_kept=True) == [None, found[1]] and not model.asked


def test_a_cell_that_stands_twice_in_a_plan_is_measured_once():
    model = Weights()
    first, second = _gathered(model, cell(), cell())
    assert first == second and len(model.asked) == 5


@pytest.mark.parametrize("change", [
    lambda: (Weights(bits=4), cell(), 1), lambda: (Weights(bits=8), cell(), 1), lambda: (Weights(), cell(), 2),
    lambda: (Weights(), cell(n=4), 1), lambda: (Weights(), cell(other=1), 1),
])  # fmt: skip
def test_other_bits_version_or_data_are_another_measurement(change):
    model = Weights()
    kept.gathered("room", 1, model, [cell()], model.ask)
    assert kept.gathered("room", 1, model, [cell()], model.ask, only_kept=True) != [None]
    other, asked, version = change()
    assert kept.gathered("room", version, other, [asked], other.ask, only_kept=True) == [None]
    single = kept.Cell(["base", "base"], {}, "whole")
    assert kept.single("room", 1, model, single, lambda: {"x": 1})["x"] == 1
    assert kept.single("room", 1, Weights(bits=4), single, pytest.fail, only_kept=True) is None


def test_of_a_cell_that_was_left_what_was_done_is_not_done_again(monkeypatch):
    model = Weights()

    def stop(share, what):
        if share >= 0.6:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        _gathered(model, cell(), progress=stop)
    assert model.asked == [4, 3, 2] and _gathered(model, cell(), only_kept=True) == [None]
    with pytest.raises(ZeroDivisionError):
        kept.gathered("room", 1, model, [cell()], lambda cell, places: (1 / 0 for _ in places))
    model.asked.clear()
    shares = []
    (found,) = _gathered(model, cell(), progress=lambda share, what: shares.append(share))
    assert model.asked == [1, 0] and shares == [0.6, 0.8]
    assert found["answer"] == [f"a {i}" for i in range(5)] and found["at"]["x"] == [0, 1, 2, 3, 4]
    assert [f.suffix for f in kept.folder().rglob("*") if f.is_file()] == [".gz"]  # no part is left
    assert found["provenance"]["seconds"] > 0


def test_parts_are_no_larger_than_told(monkeypatch):
    model, sizes, write = Weights(), [], kept._write

    def counted(file, made_of, value):
        if "rows" in value:
            sizes.append(len(value["rows"]))
        write(file, made_of, value)

    monkeypatch.setattr(kept, "_write", counted)
    _gathered(model, cell(n=250))
    assert sizes == [100, 100]
    sizes.clear()
    monkeypatch.setattr(kept, "_SECONDS", 0.0)
    _gathered(model, cell("slow", 3))
    assert sizes == [1, 1, 1]


def _killed(folder):
    os.environ["CROSSTALK_CACHE"] = folder

    def ask(cell, places):
        for place in places:
            if place == 1234:
                os.kill(os.getpid(), signal.SIGKILL)
            yield place, {"answer": str(place)}

    kept.gathered("room", 1, Weights(), [cell(n=1500)], ask)


def test_a_kill_loses_no_more_than_a_hundred_items(tmp_path, monkeypatch):
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(str(tmp_path / "killed"),))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "killed"))
    part = next(kept.folder().rglob("*.gz"))
    part.write_bytes(part.read_bytes()[:-9])  # and of those of a damaged file
    model, asked = Weights(), []
    (found,) = kept.gathered(
        "room", 1, model, [cell(n=1500)],
        lambda cell, places: ((asked.append(place), (place, {"answer": str(place)}))[1] for place in places),
    )  # fmt: skip
    assert len(asked) == 1500 - 1200 + 100 and found["answer"] == [str(i) for i in range(1500)]
    assert len([f for f in kept.folder().rglob("*") if f.is_file()]) == 1


def test_what_is_measured_but_not_kept_is_shown_and_says_so(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "file"))
    model = Weights()
    (found,) = _gathered(model, cell())
    assert "not kept" in found["provenance"]["note"] and len(model.asked) == 5
    assert _gathered(model, cell(), only_kept=True) == [found] and len(model.asked) == 5
