import copy
import math
import shutil

import pytest
import torch

from models.embedded import fit
from models.embedded.fit import Fit, device, fuse, generator

STEPS = 60


class Killed(Exception):
    pass


def killed_at(step):
    def log(line):
        if line.startswith(f"toy {step}/"):
            raise Killed

    return log


def quiet(line):
    pass


def make(rng):
    x = torch.from_numpy(rng.normal(size=(16, 4))).float()
    return {"x": x, "y": {"sum": x.sum(1, keepdim=True)}}


class Toy:
    """A linear model and its ``Fit``, made anew as a new process would make them."""

    def __init__(self, folder, seed=0):
        torch.manual_seed(7)
        self.model = torch.nn.Linear(4, 1).to(device())
        self.fit = Fit(folder, "toy", self.model, [(self.model.parameters(), 0.05)], STEPS, seed)
        self.rates = []

    def loss(self, batch):
        self.rates.append(self.fit.optimizer.param_groups[0]["lr"])
        gap = self.model(batch["x"]) - batch["y"]["sum"]
        return gap.square().mean(), {"error": gap.detach().abs().mean()}

    def run(self, log=quiet):
        self.fit.run(make, self.loss, log)
        return [p.detach().clone() for p in self.model.parameters()]


@pytest.fixture
def whole(tmp_path):
    """Final weights of a run that nobody disturbed."""
    return Toy(tmp_path / "whole").run()


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


def test_it_learns(tmp_path, whole):
    before, _ = Toy(tmp_path).model.parameters()
    weight, bias = whole
    assert (before - 1).abs().max() > 0.5
    assert (weight - 1).abs().max() < 0.2
    assert bias.abs().max() < 0.2


def test_killed_twice_and_resumed_is_as_if_never_killed(tmp_path, monkeypatch, whole):
    monkeypatch.setattr(fit, "SAVE_EVERY", 0.0)  # save after every step
    for step in (26, 51):
        with pytest.raises(Killed):
            Toy(tmp_path).run(killed_at(step))
    last = Toy(tmp_path)
    assert same(last.run(), whole)
    assert len(last.rates) == STEPS - 50, "it went on after the last step that was saved"


def test_killed_before_anything_was_saved_starts_again(tmp_path, whole):
    with pytest.raises(Killed):
        Toy(tmp_path).run(killed_at(26))
    assert same(Toy(tmp_path).run(), whole)


def test_a_half_written_state_does_no_harm(tmp_path, monkeypatch, whole):
    monkeypatch.setattr(fit, "SAVE_EVERY", 0.0)

    def cut(tensors, path, metadata):
        path.write_bytes(b"half a file")
        raise Killed

    with pytest.raises(Killed):
        Toy(tmp_path).run(killed_at(26))
    monkeypatch.setattr(fit, "save_file", cut)
    with pytest.raises(Killed):
        Toy(tmp_path).run()
    monkeypatch.undo()
    assert same(Toy(tmp_path).run(), whole)


def test_finished_work_is_not_done_again(tmp_path):
    first = Toy(tmp_path).run()
    again, lines = Toy(tmp_path), []
    assert same(again.run(lines.append), first)
    assert again.rates == [] and lines == ["toy: done before"]


def test_another_seed_is_another_run(tmp_path, whole):
    assert not same(Toy(tmp_path, seed=1).run(), whole)


def test_a_step_has_its_own_data():
    def drawn(*key):
        return generator(*key).random(4).tolist()

    assert drawn(0, "clip", 3) == drawn(0, "clip", 3)
    keys = [(0, "clip", 3), (1, "clip", 3), (0, "base", 3), (0, "clip", 4)]
    assert len({tuple(drawn(*key)) for key in keys}) == len(keys)


def test_learning_rate_rises_to_the_peak_and_falls_to_nothing(tmp_path):
    toy = Toy(tmp_path)
    toy.run()
    top = toy.rates.index(max(toy.rates))
    assert len(toy.rates) == STEPS and math.isclose(max(toy.rates), 0.05)
    assert 4 <= top <= 7  # a tenth of the steps
    assert toy.rates[: top + 1] == sorted(toy.rates[: top + 1])
    assert toy.rates[top:] == sorted(toy.rates[top:], reverse=True) and toy.rates[-1] < 0.001


def test_matrices_decay_and_vectors_do_not(tmp_path):
    toy = Toy(tmp_path)
    weight, bias = (p.detach().clone() for p in toy.model.parameters())
    toy.fit.run(make, lambda batch: (0 * toy.model(batch["x"]).sum(), {}), quiet)
    assert torch.equal(toy.model.bias, bias)
    assert (toy.model.weight.abs() < weight.abs()).all()
    kept = toy.model.weight.detach().clone()
    group = (toy.model.parameters(), 0.05, 0.0)  # a decay of its own
    own = Fit(tmp_path / "own", "toy", toy.model, [group], 3, 0)
    own.run(make, lambda batch: (0 * toy.model(batch["x"]).sum(), {}), quiet)
    assert torch.equal(toy.model.weight, kept)


def test_bfloat16_is_used_where_it_pays_and_is_wanted(tmp_path, monkeypatch):
    def used(pays, half):
        monkeypatch.setattr(fit, "bfloat16_pays", lambda: pays)
        model = torch.nn.Linear(2, 1)
        return Fit(tmp_path, "toy", model, [(model.parameters(), 0.1)], 1, 0, half=half).half

    assert [used(True, True), used(True, False), used(False, True)] == [True, False, False]


def test_frozen_parameters_stay(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 1)).to(device())
    model[0].requires_grad_(False)
    frozen, before = model[0].weight.clone(), model[1].weight.detach().clone()
    work = Fit(tmp_path, "toy", model, [(model[1].parameters(), 0.05)], 5, 0)
    work.run(make, lambda batch: ((model(batch["x"]) - batch["y"]["sum"]).square().mean(), {}), quiet)
    assert torch.equal(model[0].weight, frozen) and not torch.equal(model[1].weight, before)


def test_a_state_of_a_run_of_another_length_is_refused(tmp_path):
    toy = Toy(tmp_path)
    toy.run()
    toy.fit.steps = STEPS - 10
    with pytest.raises(ValueError, match=f"{STEPS} steps, not {STEPS - 10}: delete it"):
        toy.run()


@pytest.mark.skipif(not shutil.which("g++"), reason="nothing is compiled without a compiler")
def test_compiled_layers_are_trained_alike_and_what_is_asked_on_the_way_is_not_compiled(tmp_path, whole, monkeypatch):
    compiled, asked = [], []
    toy = Toy(tmp_path / "fused")
    monkeypatch.setattr(torch.nn.Module, "compile", lambda layer, **how: compiled.append(layer))
    fuse([toy.model], fit.FUSED_FROM - 1)
    assert not compiled
    monkeypatch.undo()
    fuse([toy.model], fit.FUSED_FROM)
    with torch._dynamo.config.patch(error_on_recompile=True):
        toy.fit.run(make, toy.loss, quiet, lambda step: asked.append(tuple(toy.model(torch.ones(step, 4)).shape)))
    assert asked == [(step, 1) for step in range(1, STEPS + 1)]
    assert toy.model._compiled_call_impl is not None
    for now, then in zip(toy.model.parameters(), whole, strict=True):
        torch.testing.assert_close(now.detach(), then)
    assert copy.deepcopy(toy.model)._compiled_call_impl is None
