"""Results as JSON and CSV."""

import json
from dataclasses import dataclass

import numpy as np

from analysis.result import Provenance, Result, plain, together
from analysis.table import Table

SOURCE = Provenance("tiny", "base", "float32", "cpu", 3, {"torch": "2"}, 0.5)


@dataclass(frozen=True, kw_only=True)
class Two(Result):
    values: np.ndarray
    names: tuple[str, ...]

    def table(self):
        return Table(["name", "value"], list(zip(self.names, self.values, strict=True)))


def test_json_is_plain_and_keeps_provenance():
    found = Two(provenance=SOURCE, values=np.array([0.5, np.nan]), names=("a", "b")).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["values"] == [0.5, None]
    assert found["provenance"] == {
        "model": "tiny", "checkpoint": "base", "dtype": "float32", "device": "cpu", "seed": 3,
        "versions": {"torch": "2"}, "seconds": 0.5, "bits": None, "note": "",
    }  # fmt: skip


def test_csv_quotes_and_leaves_unknown_empty():
    found = Two(provenance=SOURCE, values=np.array([1.0, np.nan]), names=("a, b", "c"))
    assert found.to_csv() == 'name,value\n"a, b",1.0\nc,\n'


def test_plain_handles_numpy_scalars_and_infinities():
    assert plain({"n": np.int64(2), "x": float("inf"), "t": (np.float32(0.5), None, True)}) == {
        "n": 2,
        "x": None,
        "t": [0.5, None, True],
    }


def test_what_several_made_is_told_of_all_of_them():
    here = {"dtype": "float32", "device": "cpu", "seconds": 1.5, "versions": {"torch": "2"}}
    one = {"model": "a", "checkpoint": "base", **here}
    two = {
        **one,
        "model": "b",
        "device": "cuda",
        "seconds": 2.25,
        "versions": {"torch": "3", "peft": "1"},
        "bits": None,
    }
    assert together([one, one]) == {
        **one, "seed": None, "seconds": 3.0, "bits": None, "note": "",
    }  # fmt: skip
    found = together([one, two, one], checkpoint="all", seed=3)
    assert (found["model"], found["checkpoint"], found["device"], found["seed"]) == ("a, b", "all", "cpu, cuda", 3)
    assert found["versions"] == {"peft": "unknown, 1", "torch": "2, 3"} and found["seconds"] == 5.25
    four = {**two, "bits": 4, "note": "not kept"}
    assert together([four, four])["bits"] == 4 and together([four, one])["bits"] is None
    assert together([one, four])["note"] == "4 bits a weight in some, not kept"
    assert Provenance(**together([one, four], "m")).model == "m"
