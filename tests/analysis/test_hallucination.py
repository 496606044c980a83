"""POPE and CHAIR by hand, their items, their formats, and strategies on a set."""

import errno
import json
import multiprocessing
import os
import shutil
import signal
import zipfile
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from analysis import kept
from analysis.decoding import card, tab
from analysis.decoding.dataset import figure
from analysis.decoding.dataset import measure as sets
from analysis.decoding.dataset.measure import (
    OWN,
    Data,
    answers,
    chair,
    counts,
    embedded,
    measure,
    pope,
    uploaded,
)
from analysis.decoding.objects import EMBEDDED, mentions
from analysis.section import Asked, headline
from analysis.statistics import Difference, Estimate, difference, interval, ratio, ratio_difference
from models.embedded import base
from models.embedded.concepts import PARTNERS, learnt_in
from models.embedded.fit import generator
from models.embedded.hallucination_sets import EXISTENCE, SEEN, SUBSETS, captions, existence, fingerprint, popular
from models.embedded.pictures import TRAINED_STYLES, UNSEEN_STYLE
from models.embedded.scenes import choose_names
from models.errors import EvalSetError, InputError
from models.margins import Margin
from tests.driving import Driven

# scores


def test_pope_by_hand():
    said = [True, True, True, False, False, False, True, False]
    truth = [True, True, False, True, False, False, True, False]  # 3 hits, 1 false alarm, 1 miss, 3 rejections
    found = pope(said, truth)
    assert found.accuracy.value == pytest.approx(6 / 8)
    assert found.precision.value == pytest.approx(3 / 4)
    assert found.recall.value == pytest.approx(3 / 4)
    assert found.f1.value == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert found.yes.value == pytest.approx(4 / 8)
    assert found.alarms.value == pytest.approx(1 / 4) and found.alarms.n == 4
    assert not found.auc.known and not found.moved.known and not found.blind.known  # of margins, which it was not given
    assert found.n == 8
    assert (found.accuracy.low, found.accuracy.high) == pytest.approx(interval(np.array([1, 1, 0, 0, 1, 1, 1, 1.0])))
    assert found.f1.low < found.f1.value < found.f1.high


def test_pope_of_a_model_that_says_no_to_everything():
    found = pope([False] * 4, [True, False, True, False])
    assert np.isnan(found.precision.value)
    assert (found.recall.value, found.f1.value, found.yes.value, found.accuracy.value) == (0, 0, 0, 0.5)


def test_chair_by_hand():
    said = [["bee", "flower", "flower"], ["cat"], [], ["dog", "dog", "ball"]]
    there = [{"bee", "key"}, {"cat"}, {"lock"}, {"dog"}]
    found = chair(counts(said, there))
    assert found.objects.value == pytest.approx(3 / 7)  # flower twice and ball, of seven mentions
    assert found.sentences.value == pytest.approx(2 / 4)
    assert found.recall.value == pytest.approx(3 / 5)  # bee, cat, dog of bee, key, cat, lock, dog
    assert found.n == 4


def test_chair_of_sentences():
    texts = ["There is a bee and two mice.", "There is no lemon."]
    found = counts([[m.name for m in mentions(t, EMBEDDED)] for t in texts], [{"bee"}, {"lemon"}])
    assert found.mentions.tolist() == [2, 0] and found.invented.tolist() == [1, 0] and found.found.tolist() == [1, 0]


def test_ratios_and_their_paired_differences():
    above, below = np.array([1.0, 0, 1, 0] * 50), np.array([1.0, 1, 2, 1] * 50)
    found = ratio(above, below)
    assert found.value == pytest.approx(2 / 5)
    assert found.low < 2 / 5 < found.high
    same = ratio_difference((above, below), (above, below))
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert not same.clear
    more = ratio_difference((above + 1, below), (above, below))
    assert more.value == pytest.approx(4 / 5) and more.low > 0
    assert np.isnan(ratio([], []).value)
    assert np.isnan(ratio_difference((above, 0 * below), (above, below)).value)


# items


@pytest.fixture(scope="module")
def asked():
    return existence(30)


def test_popes_negatives_are_absent_and_of_their_kind(asked):
    for probe in asked:
        (name,) = {m.name for m in mentions(probe.question, EMBEDDED)}
        assert (probe.answer == "yes") == (name in probe.scene.counts)
        assert set(probe.subsets) <= set(SUBSETS)
        if probe.answer == "yes":
            assert probe.subsets == SUBSETS
            continue
        if "popular" in probe.subsets:
            assert name in popular()
        if "adversarial" in probe.subsets:
            assert PARTNERS[name] in probe.scene.counts


def test_each_subset_has_as_many_yes_as_no_and_half_of_each_art(asked):
    for subset in SUBSETS:
        of = [p for p in asked if subset in p.subsets]
        assert Counter(p.answer for p in of) == {"yes": 60, "no": 60}
        assert sum(p.segment == SEEN for p in of) == 60
    styles = {p.segment: {i.style for q in asked if q.segment == p.segment for i in q.scene.items} for p in asked}
    assert styles[SEEN] <= set(TRAINED_STYLES)
    assert set().union(*(s for k, s in styles.items() if k != SEEN)) == {UNSEEN_STYLE}


def test_absent_partners_are_told_from_other_absent_things(asked):
    for probe in asked:
        (name,) = {m.name for m in mentions(probe.question, EMBEDDED)}
        assert probe.usual == (probe.answer == "no" and PARTNERS.get(name) in probe.scene.counts)
        assert probe.usual or probe.answer == "yes" or "adversarial" not in probe.subsets
    more = embedded(round(tab._SIZES["four times as many questions"] * EXISTENCE), 0)
    assert len(more.partners) >= 1000 and not more.captions


def test_no_scene_shows_a_thing_with_its_partner():
    for probe in captions(40):
        assert not any(PARTNERS[name] in probe.scene.counts for name in probe.scene.counts)
        assert {m.name for m in mentions(probe.answer, EMBEDDED)} == set(probe.scene.counts)


def test_popular_things_are_those_that_training_shows_more_often():
    pool, seen = learnt_in("base"), Counter()
    for i in range(3000):
        rng = generator(5, "popular", i)
        seen.update(choose_names(rng, pool, base.COUNTS[rng.integers(len(base.COUNTS))], base.SKEW))
    often, rest = (np.mean([seen[n] for n in names]) for names in (popular(), set(pool) - set(popular())))
    assert often > 1.1 * rest


def test_the_same_seed_makes_the_same_items(asked):
    assert fingerprint(asked) == fingerprint(existence(30))
    assert fingerprint(asked) != fingerprint(existence(30, seed=1))
    data = embedded()
    assert all(len(data.subsets[s]) >= 500 for s in SUBSETS) and len(data.captions) >= 300


# own sets


@pytest.fixture
def files(tmp_path, picture):
    picture.save(tmp_path / "a.png")

    def write(*lines, name="own.jsonl"):
        (tmp_path / name).write_text("\n".join(json.dumps(line) for line in lines))
        return [str(tmp_path / name), str(tmp_path / "a.png")]

    return write


def test_popes_public_format(files):
    lines = [
        {"question_id": 1, "image": "val2014/a.png", "text": "Is there a dog in the image?", "label": "Yes"},
        {"question_id": 2, "image": "a.png", "text": "Is there a car in the image?", "label": "no"},
    ]
    with uploaded(files(*lines, name="coco_pope_random.json")) as data:
        assert [(i.question, i.answer, i.style) for i in data.existence] == [
            ("Is there a dog in the image?", "yes", "yes/no"), ("Is there a car in the image?", "no", "yes/no"),
        ]  # fmt: skip
        assert data.subsets == {OWN: (0, 1)} and not data.captions
        assert data.existence[0].picture().size == (90, 120)


def test_the_projects_format_with_captions(files):
    lines = [
        {"image": "a.png", "question": "Is it?", "answer": "No."},
        {"image": "a.png", "question": "Describe.", "answer": "There is a frisbee and two dogs."},
        {"image": "a.png", "question": "How many?", "answer": "3"},
    ]
    with uploaded(files(*lines)) as data:
        assert [i.answer for i in data.existence] == ["no"] and len(data.captions) == 1
        assert data.left == "left out of own.jsonl: 1 of 3 items, whose form is neither yes/no nor sentence (line 3: " \
            "numeral)"
        assert set(data.forms) == {"frisbee", "dogs"}
        first = data.mark
    with uploaded(files(*lines[:2])) as data:
        assert data.mark != first and not data.left


def test_what_is_wrong_with_an_own_set_is_said(files, tmp_path):
    cases = (
        ([{"image": "b.png", "question": "Is it?", "answer": "no"}], 'line 1: field "image"'),
        ([{"image": "a.png", "text": "Is it?", "label": 1}], 'field "answer"'),
        ([{"image": "a.png", "text": "Is it?", "label": "maybe"}], 'own.jsonl, line 1: field "answer" is .maybe., nei'),
        ([{"image": "a.png", "question": "Is it?", "answer": a, "choices": ["yes", "no"]} for a in ("yes", "maybe")],
         'own.jsonl, line 2: field "answer" is .maybe., neither yes nor no: mend it'),
        ([{"image": "a.png", "question": "What?", "answer": "bee"}], "no items with the style"),
    )
    for lines, told in cases:
        with pytest.raises(EvalSetError, match=told) as error, uploaded(files(*lines)):
            pass
        assert "crosstalk-" not in str(error.value)
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as packed:
        packed.writestr("mine/own.jsonl", json.dumps({"image": "p/b.png", "question": "Is it?", "answer": "no"}))
    with pytest.raises(EvalSetError, match='^mine/own.jsonl, line 1: field "image": .p/b.png. is not there.'):
        uploaded(str(tmp_path / "own.zip")).__enter__()
    with pytest.raises(EvalSetError, match="No JSONL"), uploaded([str(tmp_path / "a.png")]):
        pass
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.png").write_bytes((tmp_path / "a.png").read_bytes())
    twice = [*files({"image": "a.png", "question": "Is it?", "answer": "no"}), str(tmp_path / "other" / "a.png")]
    with pytest.raises(EvalSetError, match="two files"), uploaded(twice):
        pass


# measuring


def data_of(number=3) -> Data:
    return embedded(number, number)


def _in_order(found):
    rows = dict(found)
    return [rows[i] for i in range(len(rows))]


def test_many_at_once_answer_as_one_by_one(mllm):
    data = data_of()
    for name, parameters in (("greedy", {}), ("inter", {"threshold": 0.01}), ("vcd", {}), ("dola", {})):
        found = _in_order(answers(mllm, data.existence, name, parameters, "base", 3))
        for i, item in enumerate(data.existence[:6]):
            seed = {"seed": i} if "seed" in sets.strategies.ALL[name].defaults else {}
            strategy = sets.strategies.make(name, {**parameters, **seed})
            encoded = mllm.encode(item.picture(), item.question)
            steps = list(mllm.generate(encoded, max_new_tokens=3, strategy=strategy))
            assert found[i]["texts"] == "".join(s.token for s in steps).strip()
            assert found[i]["tokens"] == len(steps) and found[i]["seconds"] > 0


def test_items_are_drawn_apart(mllm):
    item = data_of(1).captions[0]
    found = _in_order(answers(mllm, [item] * 6, "nucleus", {"temperature": 2.0, "top_p": 1.0}, "base", 4))
    assert len({row["texts"] for row in found}) > 1
    some = dict(answers(mllm, [item] * 6, "nucleus", {"temperature": 2.0, "top_p": 1.0}, "base", 4, [2, 5]))
    assert {i: row["texts"] for i, row in some.items()} == {i: found[i]["texts"] for i in (2, 5)}  # by its own seed


def test_answers_are_kept_and_a_set_is_measured_once(mllm, tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path))
    told = []
    found = measure(mllm, data_of(), {"inter": {}}, progress=lambda share, what: told.append((share, what)))
    assert found.subsets == (*SUBSETS, "captions")
    assert [r.strategy for r in found.of("random")] == ["greedy", "inter"]
    assert found.of("random")[0].scores.n == 12 and found.of("captions")[0].scores.n == 3
    assert 0 == told[0][0] <= told[-1][0] < 1 and "INTER, captions: 0 of 3 items" in [what for _, what in told]
    monkeypatch.setattr(sets, "answers", lambda *_: pytest.fail("measured again"))
    again = measure(mllm, replace(data_of(), left="left out: 1"), {"inter": {"threshold": 1.0}})
    assert again.provenance.note == "left out: 1" and not found.provenance.note
    assert again.to_json()["rows"] == found.to_json()["rows"]
    with pytest.raises(pytest.fail.Exception):
        measure(mllm, data_of(), {"inter": {"threshold": 0.5}})
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert found.to_csv().count("\n") == 1 + 2 * (3 * 9 + 3)
    assert kept.folder() == tmp_path


_FORK = multiprocessing.get_context("fork")


def _apart(work, count=1):
    """``work()`` in ``count`` processes at once; how each ended."""

    def alone():
        torch.set_num_threads(1)
        work()

    runs = [_FORK.Process(target=alone) for _ in range(count)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    return [run.exitcode for run in runs]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path))
    return tmp_path


def _rows(found):
    return [(row.subset, row.strategy, row.scores) for row in found.rows]


def test_a_killed_run_loses_the_part_it_was_at_and_no_other(mllm, cache, monkeypatch):
    def killed(share, what):
        if what.startswith("INTER, captions"):
            os.kill(os.getpid(), signal.SIGKILL)

    assert _apart(lambda: measure(mllm, data_of(), {"inter": {}}, progress=killed)) == [-signal.SIGKILL]
    asked, really = [], sets.answers
    monkeypatch.setattr(sets, "answers", lambda *given: asked.append(given[2]) or really(*given))
    measure(mllm, data_of(), {"inter": {}})
    assert asked == ["inter", "inter"]  # of 6 parts: its captions, and how far yes is ahead of no


def test_two_processes_share_one_cache(mllm, cache, monkeypatch):
    alone = measure(mllm, data_of(), {"inter": {}})
    shutil.rmtree(cache)
    assert _apart(lambda: measure(mllm, data_of(), {"inter": {}}), 2) == [0, 0]
    monkeypatch.setattr(sets, "answers", lambda *_: pytest.fail("measured again"))
    assert _rows(measure(mllm, data_of(), {"inter": {}})) == _rows(alone)
    assert len([f for f in cache.rglob("*") if f.is_file()]) == 6  # no draft is left


def test_a_full_disk_loses_no_result_and_half_a_file_is_measured_again(mllm, cache, monkeypatch, caplog):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        found = measure(mllm, data_of(), {})
    assert "is not kept in CROSSTALK_CACHE: No space left on device" in caplog.text
    assert not [f for f in cache.rglob("*") if f.is_file()]
    assert _rows(measure(mllm, data_of(), {})) == _rows(found)  # there is room again
    for file in cache.rglob("*.gz"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert _rows(measure(mllm, data_of(), {})) == _rows(found)


def test_a_visitor_who_leaves_stops_the_work(mllm, tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path))

    def left(share, what):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        measure(mllm, data_of(), {"inter": {}}, progress=left)
    with pytest.raises(InputError, match="no strategy"):
        measure(mllm, data_of(), {"best": {}})


# what is said of it


@pytest.fixture
def result(monkeypatch, tmp_path):
    """Greedy says yes to everything; ``inter`` is always right; ``vcd`` answers as greedy; captions invent a cat.

    Margins: greedy's rank every thing that is there above every other; blind, every question is answered no."""
    data = embedded(60, 20)
    right = [item.answer for item in data.existence]
    said = {"greedy": ["yes"] * len(right), "inter": right, "vcd": ["yes"] * len(right)}
    described = [item.answer for item in data.captions]
    wrong = ["There is a ghost."] * len(described)
    captions_of = {"greedy": described, "inter": wrong, "vcd": described}

    def stub(model, items, name, parameters, checkpoint, limit, places):
        if not limit:
            blind = float("nan") if name == "greedy" else -1.0
            return ((i, {"margin": 1.0 + (right[i] == "yes"), "blind": blind}) for i in places)
        texts = said[name] if limit == sets.YES_OR_NO else captions_of[name]
        return ((i, {"texts": texts[i], "tokens": 2, "seconds": 10.0 / len(texts)}) for i in places)

    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path))
    monkeypatch.setattr(sets, "answers", stub)

    class Model:
        name, checkpoints = "tiny", None
        model = SimpleNamespace(name_or_path="some/tiny", dtype="torch.float32")

        def provenance(self, checkpoint, seed=None, seconds=0.0):
            return {"model": "tiny", "checkpoint": checkpoint, "dtype": "float32", "device": "cpu", "seconds": seconds}

    return measure(Model(), data, {"inter": {}, "vcd": {}})


def test_better_worse_and_neither_are_told(result):
    greedy, inter, vcd = result.of("adversarial")
    assert greedy.scores.accuracy.value == 0.5 and greedy.scores.yes.value == 1.0
    assert inter.differences["accuracy"].value == pytest.approx(0.5) and inter.differences["accuracy"].p < 1e-6
    assert vcd.differences["accuracy"].value == 0 and vcd.differences["accuracy"].p == 1
    assert greedy.tokens_per_second == pytest.approx(0.2 * len(embedded(60, 1).existence))
    said = figure.sentence(result, "adversarial")
    assert "right in 50.0 % and says yes to 100.0 %" in said
    assert "better: INTER (+50.0 points)" in said and "no clear difference: VCD" in said
    harm = figure.sentence(result, "captions")
    assert "0.0 % of the objects" in harm and "worse: INTER (+100.0 points)" in harm
    alone = replace(result, rows=tuple(r for r in result.rows if r.strategy == "greedy"))
    assert "Against it" not in figure.sentence(alone, "random")
    assert "Nothing was measured" in figure.sentence(result, "elsewhere")


def test_who_expects_company_is_told(result):
    greedy, inter = result.company["greedy"], result.company["inter"]
    absent = [item for item in embedded(60, 1).existence if item.answer == "no"]
    usual = sum(item.usual for item in absent)
    assert (greedy.partners.n, greedy.others.n) == (usual, len(absent) - usual)
    assert greedy.partners.value == greedy.others.value == 1 and inter.partners.value == inter.others.value == 0
    assert greedy.apart.value == greedy.more.value == 0 and inter.more.value == -1
    equal = f"to 100.0 % of {usual} absent partners of what is there, and 100.0 % of {greedy.others.n} other"
    assert equal in figure.company(result) and "no difference can be told" in figure.company(result)
    assert figure.company(result) in figure.overall(result) and figure.company(result, "random") == ""
    expects = replace(greedy, others=Estimate(0.05, 0.02, 0.09, 50), apart=Difference(0.95, 0.9, 0.98))
    assert "other absent things: +95.0 points (+90.0 to +98.0), more." in figure.company(
        replace(result, company={"greedy": expects})
    )
    assert figure.company(replace(result, company={})) == ""


def test_contrasts_that_turn_round_with_the_blind_answer_are_told(result):
    def of(more):
        return replace(result, titles=dict.fromkeys(result.titles, "") | {n: n for n in card.CONTRASTS}, company={
            name: replace(result.company["greedy"], more=more) for name in ("greedy", *card.CONTRASTS)
        })  # fmt: skip

    less, more, none = Difference(-0.05, -0.08, -0.02), Difference(0.03, 0.01, 0.05), Difference(0.01, -0.01, 0.03)
    found = {
        "base": of(none), "expects-company-blind-no": of(more), "expects-company": of(less),
        "expects-company-blind-no-1": of(none), "expects-company-1": of(less),
        "expects-company-blind-no-2": of(more), "expects-company-2": of(more),
    }  # fmt: skip
    told = card.opposed(found)
    assert "cfg: opposite in 2 of 3 seeds, 1 beyond chance (−5.0 points and +3.0 points, −5.0 points and +1.0" in told
    assert told.count("opposite in 2 of 3") == len(card.CONTRASTS)
    section = card.prior_told(found)
    assert told in section and section.count("### ") == 7 and figure.company(found["base"]) in section


def test_a_gain_is_told_from_a_shift_of_the_threshold(result):
    greedy, inter, vcd = (row.scores for row in result.of("adversarial"))
    assert greedy.auc.value == 1 and inter.moved.value == 0 == inter.alarms.value and vcd.alarms.value == 1
    assert not greedy.moved.known and not greedy.blind.known and inter.blind.value == 0
    assert figure.shift(result, "adversarial") == (
        "False alarms, against greedy with its threshold moved to the same recall: no difference can be told: INTER "
        "(0.0 % against 0.0 %)."
    )  # INTER subtracts more than what is said blind
    assert figure.shift(result, "captions") == ""

    def moved(low, high, blind):
        rows = [
            replace(r, scores=replace(r.scores, blind=blind), differences={
                **r.differences, "alarms": Difference((low + high) / 2, low, high), "yes": Difference(0.1, 0.05, 0.15)
            }) if r.strategy == "vcd" else r for r in result.of("random")
        ]  # fmt: skip
        return figure.shift(replace(result, rows=tuple(rows)), "random")

    assert "fewer, so more than a shift: VCD" in moved(-0.2, -0.1, Estimate(0.9, 0.8, 0.95, 9))
    assert "more: VCD" in moved(0.1, 0.2, Estimate(0.9, 0.8, 0.95, 9))
    often = moved(-0.1, 0.2, Estimate(0.9, 0.8, 0.95, 9))
    assert often.endswith("yes to 90.0 % (VCD), so subtracting that pushes towards no.")
    assert moved(-0.1, 0.2, Estimate(0.5, 0.3, 0.7, 9)).endswith("yes to 50.0 % (VCD).")


def test_what_inter_gains_over_sampling_is_told_beside_what_its_cut_gains(result):
    row = result.of("random")[1]
    gains = {"nucleus": Difference(0.05, 0.02, 0.08), "nucleus-cut": Difference(0.01, -0.01, 0.03)}
    cut = replace(row, strategy="nucleus-cut", over={"nucleus": Difference(0.04, 0.01, 0.07)})
    told = replace(result, rows=(cut, replace(row, strategy="inter-nucleus", over=gains)))
    assert figure.sampling(told, "random") == (
        "Accuracy against nucleus sampling (random): INTER that samples +5.0 points (+2.0 to +8.0), the plausibility "
        "cut alone +4.0 points (+1.0 to +7.0); INTER beyond the cut +1.0 points (−1.0 to +3.0), no difference can be "
        "told."
    )
    assert figure.sampling(result, "random") == ""


def test_rules_that_sample_are_compared_with_each_other_and_draw_the_same_again(mllm, tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path))
    wanted = dict.fromkeys(sets.SAMPLED, {})
    found = measure(mllm, data_of(), wanted)
    rows = {row.strategy: row for row in found.of("random")}
    assert [list(rows[n].over) for n in ("greedy", *sets.SAMPLED)] == [[], [], ["nucleus"], ["nucleus", "nucleus-cut"]]
    for name in sets.SAMPLED:
        right = [rows[n].scores.accuracy.value for n in (name, "nucleus")]
        assert rows[name].over.get("nucleus", Difference(0.0)).value == pytest.approx(right[0] - right[1])
    # a rule that draws has no ranking of its own
    assert rows["greedy"].scores.auc.known and not any(rows[n].scores.auc.known for n in sets.SAMPLED)
    assert rows["inter-nucleus"].scores.blind.known and not rows["nucleus-cut"].scores.blind.known
    invented = {row.strategy: row.scores.objects.value for row in found.of("captions")}
    for other, change in found.of("captions")[3].over.items():
        told = invented["inter-nucleus"] - invented[other]
        assert change.value == pytest.approx(told, nan_ok=True)
    shutil.rmtree(tmp_path)
    assert _rows(measure(mllm, data_of(), wanted)) == _rows(found)


def test_margins_of_a_set_are_those_of_each_item_alone(mllm):
    items = data_of(2).existence
    for name in ("greedy", "inter", "dola"):
        found = _in_order(answers(mllm, items, name, {}, "base", 0))
        for item, row in zip(items, found, strict=True):
            alone = Margin(sets.strategies.make(name, {"beta": 0.7} if name != "greedy" else {}), mllm.tokenizer)
            (step,) = mllm.generate(mllm.encode(item.picture(), item.question), "base", 1, alone)
            assert row["margin"] == pytest.approx(step.details["margin"], abs=1e-3)
            assert np.isnan(row["blind"]) == (name != "inter")


def test_few_items_that_differ_are_no_clear_difference():
    a, b = np.ones(500), np.ones(500)
    b[:5] = 0
    few = difference(a, b)
    assert few.clear and few.p == pytest.approx(2 * 0.5**5)
    assert not figure.beyond_chance(few)
    b[:8] = 0
    assert figure.beyond_chance(difference(a, b))
    assert figure.beyond_chance(ratio_difference((a, a), (b, a)))  # no p: the interval alone


def test_the_card_and_the_table_have_every_strategy(result):
    text = card.told(result)
    assert text.count("| INTER |") == 4 and "(n = 240)" in text and "better" in text and "worse" in text
    html = figure.table(result, "adversarial")
    assert "INTER" in html and "F1" in html and "p = " in html
    assert figure.table(result, "captions").count("CHAIR_i") >= 2
    drawn = figure.spread(result, "adversarial")
    assert drawn.data[0].x == (50.0, 100.0, 50.0)
    assert "n = 240" in drawn.layout.xaxis.title.text


def test_the_page_shows_what_is_kept_of_every_rule_and_any_subset_of_it(page_blocks):
    sets = Driven(page_blocks, "decoding/sets").open()
    assert len(sets.shown.result.titles) == len(tab.strategies.ALL)
    ranked = {row.strategy for row in sets.shown.result.of("random") if row.scores.auc.known}
    assert ranked == {"greedy", "inter", "vcd", "m3id", "dola", "cfg"}  # no rule that samples or searches
    words, _ = headline(tab.SETS.sentence(sets.shown.result))
    assert len(words.split()) <= 25 and "n = 504" in words
    adversarial = sets.seen["chart"]
    assert sets.seen["foot"].count("<p>") > 6  # what is more, in lines
    assert 'class="sentence">On adversarial' in sets.seen["told"]
    sets.change("subset", subset="captions")
    assert 'class="sentence">On captions' in sets.seen["told"]  # of what is shown
    assert sets.seen["chart"].layout.xaxis.title.text.startswith("CHAIR_i") and "captions, n = 320" in sets.seen["foot"]
    assert adversarial.layout.xaxis.title.text.startswith("Accuracy")


def test_a_rule_that_no_one_clearly_beats_is_told_as_such(result):
    said = figure.overall(result)
    assert said.startswith("On adversarial items 1 of 2 rules is better than greedy beyond chance, none worse (n = ")


@pytest.mark.parametrize(("size", "captions"), [("a tenth", 32), ("whole", 320)])
def test_as_much_of_the_embedded_set_is_taken_as_is_chosen(size, captions):
    asked = Asked("m", "base", None, "", None, {"size": size})
    with tab._set(asked) as data:
        assert len(data.captions) == captions
