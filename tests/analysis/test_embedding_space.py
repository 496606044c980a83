"""Spaces whose rotation was planted, ranks counted by hand, real encoders of random weights, and hostile archives."""

import io
import json
import math
import shutil
import zipfile
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ortho_group
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from analysis import kept
from analysis.embedding_space import card, runs, search
from analysis.embedding_space import pairs as own
from analysis.embedding_space import space as sp
from analysis.embedding_space.contrast import contrast
from analysis.embedding_space.endpoint import embedding_space
from analysis.embedding_space.measure import Phase, measure, space_of
from analysis.embedding_space.pairs import Pairs, drawings
from analysis.embedding_space.result import MEASURES, packed, sentence, unpacked
from analysis.embedding_space.retrieval import all_ranks, compared, ranks, recalls
from analysis.result import Provenance
from models.checkpoints import BASE, Blend
from models.dual_encoder import DualEncoder
from models.embedded.phases import DOMAINS
from models.errors import CheckpointError, InputError, ModelError

BY = Provenance("planted", "all", "float64", "cpu")
N, D = 40, 8


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSTALK_CACHE", str(tmp_path / "cache"))


def cloud(seed, n=N, d=D):
    rng = np.random.default_rng(seed)
    return sp.unit(rng.normal(size=(n, d)) + 0.5 * rng.normal(size=d))


def turn(degrees, d=D):
    """Turns every vector by the same angle: the same turn in d / 2 planes."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.kron(np.eye(d // 2), [[c, s], [-s, c]])


def pairs_of(n=N, domains=None, texts=None):
    texts = texts or tuple(f"thing {i}" for i in range(n))
    picture = Image.new("RGB", (32, 32), "white")
    return Pairs("planted", texts, domains or ("all",) * n, lambda i: picture, f"planted {n}")


def space(images, words, labels=None, pairs=None, trained=None, shown=None):
    labels = labels or [f"phase {i}" for i in range(len(images))]
    trained = trained or [""] * len(images)
    phases = [Phase(label, domain, BASE) for label, domain in zip(labels, trained, strict=True)]
    return space_of(np.array(images), np.array(words), pairs or pairs_of(len(images[0])), phases, BY, "plain", shown)


# --- the space


def test_a_space_that_only_turned_has_the_planted_angle_and_no_disorder():
    v, t, r = cloud(0), cloud(1), turn(33)
    found = space([v, v @ r], [t, t @ r])
    mean = {name: of.mean[0, 1] for name, of in found.spreads.items()}
    assert mean["rotation_image"] == pytest.approx(33, abs=1e-9) == mean["rotation_text"]
    for name in ("between_image", "between_text", "residual_image", "residual_text", "deviation", "pair"):
        assert mean[name] == pytest.approx(0, abs=1e-5), name
    single = {name: of[0, 1] for name, of in found.likeness.items()}
    assert single == pytest.approx({**dict.fromkeys(single, 1), "floor": 0}, abs=1e-5)
    assert np.ptp(found.numbers["gap"]) == pytest.approx(0, abs=1e-12)
    assert found.spreads["rotation_image"].percentiles[0, 1, [0, 100]] == pytest.approx(33, abs=1e-9)
    assert "almost all of it is the whole space turning" in sentence(found)


def test_a_turn_that_is_no_plain_one_is_found_as_a_whole():
    """Any rotation: samples turn by different angles, which are told one by one; the rotation itself is found."""
    v, r = cloud(0), ortho_group.rvs(D, random_state=0)
    assert np.allclose(sp.rotation(v, v @ r), r, atol=1e-7)
    assert np.allclose(sp.angles(v, v @ r), np.degrees(np.arccos((v * (v @ r)).sum(1))))
    assert np.ptp(sp.angles(v, v @ r)) > 5


@pytest.mark.parametrize("degrees", [5, 60, 120])
def test_only_texts_that_turn_give_the_planted_deviation(degrees):
    v, t = cloud(0), cloud(1)
    found = space([v, v], [t, t @ turn(degrees)])
    mean = {name: of.mean[0, 1] for name, of in found.spreads.items()}
    assert mean["deviation"] == pytest.approx(degrees, abs=1e-5)
    assert mean["rotation_text"] == pytest.approx(degrees, abs=1e-9) and mean["rotation_image"] == 0
    assert mean["residual_text"] == pytest.approx(0, abs=1e-5)
    drift = np.degrees(np.arccos((v * (t @ turn(degrees))).sum(1)) - np.arccos((v * t).sum(1))).mean()
    assert mean["pair"] == pytest.approx(drift)
    shift = np.linalg.norm(t @ turn(degrees) - t, axis=1)
    assert shift == pytest.approx(np.full(N, 2 * math.sin(math.radians(degrees / 2))))
    assert mean["disagreement"] == pytest.approx(shift.mean())


def test_phases_that_are_the_same_give_zeros_everywhere():
    v, t = cloud(0, 5, 16), cloud(1, 5, 16)  # fewer pairs than dimensions too
    for images, words in ([v, t], [cloud(0), cloud(1)]):
        found = space([images] * 3, [words] * 3)
        for name, of in found.spreads.items():
            for s, t_ in ((0, 0), (0, 1), (1, 2), (0, 2)):
                assert of.mean[s, t_] == pytest.approx(0, abs=1e-5), name
                assert of.percentiles[s, t_] == pytest.approx(0, abs=1e-5), name
            assert np.isnan(of.mean[1, 0])
        assert found.likeness["cka_image"][0, 2] == pytest.approx(1)
        assert "nothing has turned" in sentence(found)
        assert all((ranks == ranks[0]).all() for ranks in found.ranks.values())


def test_noise_is_disorder_and_no_rotation():
    v, t = cloud(0, 400), cloud(1, 400)
    rng = np.random.default_rng(2)
    after = sp.unit(v + 0.3 * rng.normal(size=v.shape))
    found = space([v, after], [t, t])
    mean = {name: of.mean[0, 1] for name, of in found.spreads.items()}
    assert 0.9 * mean["rotation_image"] < mean["residual_image"] <= mean["rotation_image"] + 1e-9
    assert 0 <= found.likeness["rigid_image"][0, 1] < 0.2 and math.isnan(found.likeness["rigid_text"][0, 1])
    assert "none (nothing moved)" in sentence(found) and "most of it is disorder" in sentence(found)
    assert mean["between_image"] > 5 and mean["between_text"] == 0
    assert found.likeness["cka_image"][0, 1] < 0.99 and found.likeness["cka_text"][0, 1] == pytest.approx(1)


def test_a_deviation_by_chance_is_told_as_such():
    """Both turn alike but for noise: the deviation is not above what two halves of one modality give."""
    v, t, r, rng = cloud(0, 300), cloud(1, 300), turn(40), np.random.default_rng(2)
    noisy = [sp.unit(x @ r + 0.3 * rng.normal(size=x.shape)) for x in (v, t)]
    found = space([v, noisy[0]], [t, noisy[1]])
    assert 0 < found.spreads["deviation"].mean[0, 1] < found.likeness["floor"][0, 1] < 20
    assert "no further apart than chance" in sentence(found)
    apart = space([v, v], [t, sp.unit(t @ r + 0.3 * rng.normal(size=t.shape))])
    assert apart.spreads["deviation"].mean[0, 1] == pytest.approx(40, abs=5)
    assert apart.likeness["floor"][0, 1] < 10 and "40° apart" in sentence(apart).replace("39°", "40°")


def test_of_rotations_that_fit_as_well_the_one_that_turns_least_is_taken():
    v = cloud(0, 2, 6)
    assert np.allclose(sp.rotation(v, v), np.eye(6), atol=1e-7)


def test_numbers_of_one_phase_by_hand():
    v, t = np.array([[1.0, 0], [0, 1]]), np.array([[1.0, 0], [1, 0]])
    assert sp.gap(v, t) == pytest.approx(math.sqrt(0.5))
    assert sp.alignment(v, t) == pytest.approx(1)  # squared distances 0 and 2
    assert sp.uniformity(v, sp.couples(2, 10)) == pytest.approx(-4)  # squared distance 2
    assert sp.angles(v, t) == pytest.approx([0, 90])
    assert sp.between(v, t, sp.couples(2, 10)) == pytest.approx([90])  # at right angles before, the same after


def test_couples_are_different_and_drawn_alike():
    assert sp.couples(4, 99).T.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    some = sp.couples(100, 50, seed=3)
    assert (some[0] < some[1]).all() and len(set(map(tuple, some.T))) == 50
    assert (some == sp.couples(100, 50, seed=3)).all() and (some != sp.couples(100, 50, seed=4)).any()


def test_intervals_are_those_of_the_bootstrap():
    values = np.stack([np.random.default_rng(0).normal(3, 2, 500), np.full(500, 7.0)])
    low, high = sp.intervals(values)
    half = 1.96 * values[0].std() / math.sqrt(500)
    assert [low[0], high[0]] == pytest.approx([values[0].mean() - half, values[0].mean() + half], abs=0.03)
    assert low[1] == high[1] == 7


def test_what_is_no_space_is_refused():
    with pytest.raises(InputError, match="1 pair is no space"):
        space([cloud(0, 1)], [cloud(1, 1)])
    with pytest.raises(InputError, match="not the embeddings of the same pairs"):
        space([cloud(0, 4)], [cloud(1, 5)], pairs=pairs_of(4))
    for broken in (float("nan"), float("inf")):
        v = cloud(0)
        v[3, 2] = broken
        with pytest.raises(ModelError, match="pair 4 is zero or not a number"):
            space([v], [cloud(1)])
    with pytest.raises(ModelError, match="pair 1 is zero"):
        space([np.zeros((4, 3))], [cloud(1, 4, 3)])


def test_a_space_is_kept_whole():
    found = space([cloud(0), cloud(1)], [cloud(2), cloud(3)], shown=5)
    given = {name: getattr(found, name) for name in ("method", "phases", "trained", "texts", "domains")}
    again = unpacked(json.loads(json.dumps(packed(found))), **given)
    assert again.provenance == found.provenance and again.n == N and len(again.shown) == 5
    assert np.allclose(again.images, found.images, atol=1e-3) and again.images.shape == (2, 5, D)
    assert again.gallery.dtype == np.int8 and np.array_equal(again.gallery, found.gallery)
    assert sp.angles(sp.unit(again.gallery), np.stack([cloud(0), cloud(1)])).max() < 0.5  # degrees
    for name, of in found.ranks.items():
        assert (again.ranks[name] == of).all() and again.ranks[name].dtype == np.int64
    for name, of in found.spreads.items():
        assert np.array_equal(again.spreads[name].mean, of.mean, equal_nan=True) and again.spreads[name].n == of.n
        assert np.allclose(again.spreads[name].percentiles, of.percentiles, atol=0.07, equal_nan=True)
    assert set(found.spreads) | set(found.likeness) | set(found.numbers) == set(MEASURES)
    assert sentence(again) == sentence(found)
    header, rows = again.table().columns, again.table().rows
    assert len(rows) == 9 + 5 + 5 * 2 and all(len(row) == len(header) for row in rows)


# --- retrieval


def hand():
    """4 pairs on axes; picture 1 is nearer to text 0, picture 2 as near to text 3 as to its own."""
    t = np.eye(4)
    v = np.array([[1, 0, 0, 0], [0.8, 0.6, 0, 0], [0, 0, 0.7, 0.7], [0, 0, 0.1, 0.9]])
    return sp.unit(v), t


def test_ranks_of_four_pairs_by_hand():
    v, t = hand()
    found = ranks(v, t, list("abcd"))
    assert found["i2t"].tolist() == [1, 2, 2, 1]  # a tie counts against
    assert found["t2i"].tolist() == [1, 1, 1, 1]
    near = [(row <= k).mean() for row in (found["i2t"], found["t2i"]) for k in (1, 2)]
    assert near == [0.5, 1.0, 1.0, 1.0]


def test_pairs_with_one_text_are_right_for_each_other():
    v, t = hand()
    t = t.copy()
    t[1] = t[0]  # what is written alike is embedded alike
    found = ranks(v, t, ["a", "a", "c", "d"])
    assert found["i2t"].tolist() == [1, 1, 2, 1]  # one text is one candidate
    assert found["t2i"].tolist() == [1, 1, 1, 1]  # of two right pictures the nearer one counts
    swapped = ranks(np.eye(3)[[1, 0, 2]], np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]), ["x", "y", "z"])
    assert swapped["i2t"].tolist() == [3, 3, 1]  # every wrong one as near as the right one is before it


def test_ranks_against_a_plain_count():
    v, t = cloud(0, 2100, 6), cloud(1, 2100, 6)
    texts = [f"name {i % 1500}" for i in range(2100)]
    t = t[[i % 1500 for i in range(2100)]]
    found = all_ranks(v, t, texts, ["even" if i % 1500 % 2 == 0 else "odd" for i in range(2100)])
    for i in (0, 1033, 1501, 2099):
        near = t[:1500] @ v[i]
        assert abs(found["i2t"][i] - (near >= near[i % 1500] - 1e-6).sum()) <= 1
        near = near[i % 1500 % 2 :: 2]
        assert abs(found["i2t_domain"][i] - (near >= near[i % 1500 // 2] - 1e-6).sum()) <= 1
        same = [j for j in range(2100) if j % 1500 == i % 1500]
        near = v @ t[i]
        wrong = np.setdiff1d(np.arange(2100), same)
        assert abs(found["t2i"][i] - 1 - (near[wrong] >= near[same].max() - 1e-6).sum()) <= 1


def made_up(hit: np.ndarray, domains, trained, method="plain"):
    """A space whose pictures are right at once where ``hit`` ``[phases, n]``, else second."""
    n = hit.shape[1]
    found = space([cloud(0, n)] * len(hit), [cloud(1, n)] * len(hit), pairs=pairs_of(n, domains), trained=trained)
    rank = np.where(hit, 1, 2)
    return replace(found, ranks=dict.fromkeys(found.ranks, rank), method=method)


def test_recall_forgetting_and_transfer_by_hand():
    domains = ("broad",) * 4 + ("a",) * 4 + ("b",) * 2
    hit = np.array(
        [
            [1, 1, 1, 1, 0, 0, 0, 1, 0, 0],  # base
            [1, 1, 1, 0, 1, 1, 1, 1, 0, 1],  # after a
            [1, 1, 0, 0, 1, 1, 0, 0, 1, 1],  # after b
        ],
        dtype=bool,
    )
    found = recalls(made_up(hit, domains, ["", "a", "b"]))
    assert found.domains == ("broad", "a", "b") and found.n.tolist() == [4, 4, 2] and found.own == (0, 1, 2)
    assert found.matrix.tolist() == [[1, 0.25, 0], [0.75, 1, 0.5], [0.5, 0.5, 1]]
    assert found.forgetting.tolist() == [0.5, 0.5, 0]
    assert found.backward == pytest.approx(-0.5) and found.average.tolist() == pytest.approx([1.25 / 3, 0.75, 2 / 3])
    assert found.low[0, 0] == pytest.approx(4 / (4 + 1.959964**2)) and found.high[0, 0] == 1  # Wilson, 4 of 4
    assert (recalls(made_up(hit, domains, ["", "a", "b"]), k=2).matrix == 1).all()
    assert "100 % of the pictures right after the training of its own domain" in sentence(
        made_up(hit, domains, ["", "a", "b"])
    ) or "nothing has turned" in sentence(made_up(hit, domains, ["", "a", "b"]))
    for wrong in ({"k": 0}, {"k": True}, {"direction": "i2i"}, {"among": "some"}):
        with pytest.raises(InputError):
            recalls(made_up(hit, domains, ["", "a", "b"]), **wrong)


def test_two_methods_are_compared_pair_by_pair():
    domains, trained = ("broad",) * 3 + ("a",) * 3, ["", "a"]
    better = made_up(np.array([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0]], dtype=bool), domains, trained, "mod-x")
    plain = made_up(np.array([[1, 1, 1, 0, 0, 0], [1, 0, 0, 1, 0, 0]], dtype=bool), domains, trained)
    found = compared([better], [plain])
    assert (found.n, found.n_earlier) == (6, 3)
    assert found.final.value == pytest.approx(2 / 6) and found.final.p == 0.5  # two against none
    assert found.earlier.value == pytest.approx(2 / 3) == found.kept.value and math.isnan(found.kept.p)
    assert compared([plain], [better]).final.value == -found.final.value
    same = compared([plain], [plain])
    assert (same.final.value, same.final.p) == (0, 1) and math.isnan(same.final.low)  # of six no interval is told
    with pytest.raises(InputError, match="different pairs"):
        compared([plain], [made_up(np.ones((2, 6), dtype=bool), ("x",) * 6, trained)])
    for few in ([], [plain, plain]):
        with pytest.raises(InputError, match="as many of each"):
            compared(few, [plain])


def test_the_contrastive_matrix_and_the_rows_that_went_wrong():
    v, t = hand()
    after = v.copy()
    after[3] = sp.unit(np.array([0.9, 0, 0, 0.3]))
    after[1] = [0, 1, 0, 0]
    found = contrast(space([v, after], [t, t]), [0, 1, 3])
    assert np.allclose(found.before, v[[0, 1, 3]][:, [0, 1, 3]], atol=1e-6)
    assert found.right_before.tolist() == [True, False, True] and found.right_after.tolist() == [True, True, False]
    assert found.wrong == (2,) and found.preferred == ((), (), (0,))
    change = np.diag(found.after - found.before)
    assert found.diagonal == pytest.approx(change.mean())
    assert found.off_diagonal == pytest.approx(((found.after - found.before).sum() - change.sum()) / 6)
    whole = contrast(space([v, v], [t, t]), [0, 1, 2, 3])
    assert whole.wrong == () and whole.diagonal == 0 == whole.off_diagonal
    assert whole.right_after.tolist() == [True, False, False, True]  # a tie counts as wrong
    for chosen in ([0], [0, 0], [0, 9], range(50)):
        with pytest.raises(InputError):
            contrast(space([v, v], [t, t]), chosen)


# --- a real encoder

SHAPE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CLIP of random weights, and two checkpoints: one that embeds the same, one whose texts point the other way."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("clip")
    words = {w: i for i, w in enumerate(["<pad>", "<end>", "<unk>", *map(str, range(40)), "thing"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    text = SHAPE | {"vocab_size": len(words), "max_position_embeddings": 8, "eos_token_id": 1, "pad_token_id": 0}
    config = CLIPConfig(text_config=text, vision_config=SHAPE | {"image_size": 32, "patch_size": 8}, projection_dim=12)
    model = CLIPModel(config).eval()
    model.save_pretrained(root / "mine")
    CLIPImageProcessorPil(size={"height": 32, "width": 32}, do_center_crop=False).save_pretrained(root / "mine")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", unk_token="<unk>", model_max_length=8
    ).save_pretrained(root / "mine")
    with torch.no_grad():
        model.logit_scale += 1  # which moves no embedding
        model.save_pretrained(root / "set" / "same")
        for parameter in model.text_projection.parameters():
            parameter.mul_(-0.5)
    model.save_pretrained(root / "set" / "moved")
    checkpoints = [{"name": n, "task": n, "weights": n} for n in ("same", "moved")]
    manifest = {"base": "mine", "method": "plain", "order": ["same", "moved"], "checkpoints": checkpoints}
    (root / "set" / "checkpoints.json").write_text(json.dumps(manifest))
    return root


@pytest.fixture
def encoder(folder):
    return DualEncoder.open(folder / "mine", phases=folder / "set", device="cpu")


def coloured(n=6):
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(n)]
    texts = tuple(f"{i} thing" for i in range(n))
    return Pairs("coloured", texts, ("x", "y") * (n // 2), pictures.__getitem__, "coloured")


def test_measured_phases_of_a_real_model_are_kept_and_read_again(encoder, monkeypatch):
    pairs, told = coloured(), []
    phases = Phase.of_set(encoder.phases.manifest)
    assert [(p.label, p.trained, p.checkpoint) for p in phases] == [
        ("base", "", "base"), ("same", "same", "same"), ("moved", "moved", "moved")
    ]  # fmt: skip
    found = measure(encoder, pairs, phases, "plain", progress=lambda share, what: told.append(share))
    mean = {name: of.mean[0] for name, of in found.spreads.items()}
    for name, of in mean.items():
        assert of[:2] == pytest.approx([0, 0], abs=1e-3), name
    assert mean["rotation_image"][2] == pytest.approx(0, abs=1e-3)
    assert mean["rotation_text"][2] == pytest.approx(180, abs=1e-3)  # the projection's sign was turned
    assert mean["residual_text"][2] == pytest.approx(0, abs=0.1) and mean["between_text"][2] < 0.1
    assert found.numbers["gap"][0] == found.numbers["gap"][1] != found.numbers["gap"][2]
    assert told == sorted(told) and told[0] >= 0 and told[-1] <= 1
    assert found.provenance.checkpoint == "base to moved" and found.provenance.model == "mine"

    monkeypatch.setattr(encoder, "images", None)  # nothing is embedded any more
    again = measure(encoder, pairs, phases, "plain")
    assert again.phases == found.phases and np.allclose(again.images, found.images, atol=1e-3)
    with pytest.raises(TypeError):
        measure(encoder, replace(pairs, data="other"), phases)
    with pytest.raises(TypeError):
        measure(encoder, pairs, phases[:2])
    with pytest.raises(CheckpointError, match="no checkpoint 'gone'"):
        measure(encoder, pairs, [phases[0], Phase("gone", "", "gone")])


def test_a_run_that_is_stopped_leaves_nothing(encoder):
    def stopped(share, what):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        measure(encoder, coloured(), Phase.of_set(encoder.phases.manifest), progress=stopped)
    assert not list(kept.folder().rglob("*.gz"))


def test_halfway_phases_are_measured(encoder):
    phases = [Phase("base", "", BASE), Phase("half", "", Blend(BASE, "moved", 1.0))]
    whole = measure(encoder, coloured(), [phases[0], Phase("moved", "", "moved")])
    half = measure(encoder, coloured(), phases)
    assert np.allclose(whole.images, half.images, atol=2e-3) and np.allclose(whole.words, half.words, atol=2e-3)


def test_search_finds_the_nearest_in_every_phase(encoder):
    pairs, phases = coloured(), Phase.of_set(encoder.phases.manifest)
    found = search.by_picture(encoder, pairs, phases, pairs.picture(2))
    words = encoder.texts(pairs.texts, [p.checkpoint for p in phases])
    query = encoder.images([pairs.picture(2)])[0, 0]
    for phase, of, w in zip(phases, found, words, strict=True):
        assert (of.phase, of.among, len(of.places)) == (phase.label, 6, 5)
        assert list(of.places) == np.argsort(-(w @ query))[:5].tolist()
        assert of.texts == tuple(pairs.texts[p] for p in of.places) and of.cosines == tuple(sorted(of.cosines)[::-1])
    assert found[0].places[0] == np.argmin(words[2] @ query)  # the sign of all texts was turned in the last phase
    few, every = (measure(encoder, pairs, phases, shown=shown) for shown in (2, None))
    assert len(few.shown) == 4 and every.gallery is None
    word = encoder.texts(["1 thing"], [p.checkpoint for p in phases])[:, 0]
    for space_ in (few, every):  # words are searched among all pictures, however few are shown
        for of, w in zip(search.by_words(encoder, space_, phases, " 1 thing "), word, strict=True):
            assert of.among == 6
            np.testing.assert_allclose(of.cosines, np.sort(every.images[0] @ w)[::-1][:5], atol=0.01)
    with pytest.raises(InputError, match="no words"):
        search.by_words(encoder, few, phases, "  ")


# --- what ships


def test_every_drawing_is_a_pair_of_its_domain():
    pairs = drawings()
    assert set(pairs.domains) == set(DOMAINS) and len(pairs) > 1000
    assert pairs[5].size == (160, 160) and len(pairs[3:7]) == 4
    assert drawings().data != drawings("fluent").data and drawings("fluent").texts == pairs.texts
    some = pairs.sample(10)
    assert len(some) == 60 and all(sum(pairs.domains[i] == d for i in some) == 10 for d in DOMAINS)
    with pytest.raises(InputError, match="no art style"):
        drawings("oil")


@pytest.fixture
def small(folder, monkeypatch, tmp_path):
    """The card's and the endpoint's methods, of a tiny model and six pairs."""
    root = tmp_path / "sets"
    for method in ("plain", "mod-x"):
        shutil.copytree(folder / "set", root / method)
    monkeypatch.setattr(runs, "MODEL", folder / "mine")
    monkeypatch.setattr(runs, "drawings", lambda style: coloured())
    return root


def _encoder_of(folder):
    def opened(chosen):
        return nullcontext(DualEncoder.open(folder / "mine", phases=folder / "set", device="cpu"))

    return opened


def test_the_card_tells_every_method_and_phase(small, folder):
    drawn = []
    told = card.section(small, _encoder_of(folder), lambda *of: drawn.append(of[2]))
    assert drawn == ["umap"] * 2  # of plain and Mod-X
    for row in ("| Plain | 1 | base |", "| Plain | moved |", "| Mod-X | 1 | same |", "| Interpolation | 1 | moved |"):
        assert row in told
    assert "do not differ clearly (0.0 points over pairs)" in told  # six are too few for an interval
    assert "| Joint |" not in told and "| nan" not in told and "(nan" not in told
    refuses = _encoder_of(None)
    assert card.section(small, refuses, lambda *of: None) == told  # all of it was kept


def test_without_trained_phases_it_is_said(tmp_path):
    with pytest.raises(ModelError, match="make train"):
        card.section(tmp_path)


def test_the_endpoint_gives_numbers_for_every_phase(small, folder, monkeypatch):
    card.section(small, _encoder_of(folder), lambda *of: None)
    recipe = runs.recipe
    monkeypatch.setattr(runs, "recipe", lambda method: recipe(method, small))
    found = embedding_space()
    assert found["phases"] == ["base", "same", "moved"] and found["method"] == "plain"
    assert found["rotation_degrees"]["text"] == pytest.approx([0, 0, 180], abs=1e-3)
    assert np.shape(found["recall"]["i2t"]) == (3, 2) and len(found["gap"]) == 3
    (alone,) = found["trainings"]  # no other seeds are kept
    assert alone["training"] == "as shipped" and alone["rotation_degrees"]["text"] == pytest.approx(180, abs=1e-3)
    assert alone["recall"]["i2t"] == pytest.approx(np.mean(found["recall"]["i2t"][-1]))
    assert json.dumps(found) and found["provenance"]["model"] == "mine"
    later = embedding_space("mod-x", "same")
    assert later["deviation_degrees"][0] is None and later["against"] == "same"
    for wrong in (("none", ""), ("plain", "gone"), (3, "")):
        with pytest.raises(InputError):
            embedding_space(*wrong)


# --- a visitor's own pairs


def png(colour="red"):
    out = io.BytesIO()
    Image.new("RGB", (20, 20), colour).save(out, "PNG")
    return out.getvalue()


def packed_up(file, members):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in members.items():
            out.writestr(name, data)
    return file


def test_captioned_pictures_and_listed_ones_are_pairs(tmp_path, unpacking):
    captioned = packed_up(
        tmp_path / "a.zip",
        {"red.png": png(), "red.txt": " a red one\n", "more/blue.png": png("blue"), "more/blue.txt": "a blue one",
         "more/red.png": png(), "more/red.txt": "another", "__MACOSX/red.png": b"junk"},
    )  # fmt: skip
    found = own.opened(captioned)
    assert (found.texts, found.domains) == (("a red one", "a blue one", "another"), ("all", "more", "more"))
    assert found.picture(1).getpixel((3, 3)) == (0, 0, 255) and len(found[:]) == 3
    lines = [{"image": "p/r.png", "text": "same"}, {"image": "p/b.png", "text": "same", "domain": "blue"}]
    lines.append({"image": "p/b.png", "text": "other"})
    members = {"pairs.jsonl": "\n\n".join(map(json.dumps, lines)), "p/r.png": png(), "p/b.png": png("blue")}
    listed = own.opened(packed_up(tmp_path / "b.zip", members))
    assert (listed.texts, listed.domains) == (("same", "same", "other"), ("all", "blue", "all"))  # names may repeat
    assert listed.data != found.data
    assert list(unpacking.iterdir())
    del found, listed


ROW = {"image": "r.png", "text": "red"}
THREE = {f"{name}.{kind}": png() if kind == "png" else name for name in "abz" for kind in ("png", "txt")}
REFUSED = {
    "one pair": ({"a.png": png(), "a.txt": "a"}, "number of pairs is 1; it must be 3"),
    "two pairs": ({k: v for k, v in THREE.items() if k[0] != "z"}, "number of pairs is 2; it must be 3"),
    "nothing": ({}, "number of pairs is 0"),
    "captions alone": ({**THREE, "c.txt": "c", "d.txt": "d"}, r"captions without a picture .*: c.txt, d.txt"),
    "pictures alone": ({**THREE, "c.png": png()}, "pictures without a caption .*: c.png"),
    "empty caption": ({**THREE, "b.txt": " \n"}, "caption of b.png is empty"),
    "not UTF-8": ({**THREE, "b.txt": b"\xff\xfe\x00"}, "b.txt is not written in UTF-8"),
    "no picture": ({**THREE, "b.png": b"not a picture"}, "b.png: This file could not be read"),
    "bomb": ({**THREE, "c.png": bytes(300_000), "c.txt": "c"}, "larger than 0 MB"),
    "leads out": ({**THREE, "../evil.png": png()}, "leads out"),
    "script": ({**THREE, "run.py": "print()"}, "'run.py' is neither a picture"),
    "two lists": ({"a.jsonl": "", "b.jsonl": ""}, "2 .jsonl files"),
    "no JSON": ({"a.jsonl": "{"}, "a.jsonl, line 1: not JSON"),
    "a list": ({"a.jsonl": "[]"}, "line 1: not an object"),
    "no text": ({"a.jsonl": json.dumps({"image": "r.png"}), "r.png": png()}, 'line 1: field "text" is missing'),
    "odd domain": ({"a.jsonl": json.dumps({**ROW, "domain": 3}), "r.png": png()}, 'field "domain"'),
    "not there": ({"a.jsonl": "\n" + json.dumps(ROW)}, "line 2: .* no picture 'r.png'"),
    "outside": ({"a.jsonl": json.dumps({**ROW, "image": "../../../etc/passwd"})}, "leads out of the archive"),
    "too many domains": (
        {"a.jsonl": "\n".join(json.dumps({**ROW, "domain": str(i)}) for i in range(50)), "r.png": png()},
        "50 domains",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_set_of_pairs_is_refused(case, tmp_path, unpacking, monkeypatch):
    members, message = REFUSED[case]
    monkeypatch.setattr(own, "MOST_BYTES", 200_000)
    with pytest.raises(InputError, match=message) as told:
        own.opened(packed_up(tmp_path / "mine.zip", members))
    assert str(tmp_path) not in str(told.value) and "crosstalk-pairs" not in str(told.value)


def test_files_that_are_no_archive_are_refused(tmp_path, unpacking, monkeypatch):
    for name, message in (("a.jsonl", "without its pictures"), ("a.csv", "holds no pairs"), ("a.zip", "cannot be unp")):
        file = tmp_path / name
        file.write_bytes(b"PK and no more")
        with pytest.raises(InputError, match=message):
            own.opened(file)
    monkeypatch.setattr(own, "MOST_PAIRS", 1)
    with pytest.raises(InputError, match="it must be 3 to 1"):
        own.opened(packed_up(tmp_path / "three.zip", THREE))
