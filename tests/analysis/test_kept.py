"""Measurements on disk: found again by what they were made of, never half, never another's."""

import gzip
import multiprocessing
import os
import resource
import signal

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
    assert not kept.save("room", {"n": 1}, {"x": 1})
    assert kept.load("room", {"n": 1}) is None


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


def test_only_what_is_at_hand():
    def work(progress):
        if kept.load("room", {"n": 1}) is None:
            progress(0.0, "measuring")
        return "done"

    assert kept.at_hand(work) is None
    kept.save("room", {"n": 1}, {})
    assert kept.at_hand(work) == "done"
