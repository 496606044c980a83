import pytest

from models.embedded import tasks
from models.embedded.concepts import TASKS, learnt_in
from models.embedded.evalsets import examples
from models.embedded.fit import generator


@pytest.mark.parametrize("task", TASKS)
def test_a_task_asks_about_its_own_concepts_in_its_own_style(task):
    styles = {"naming": "word", "counting": "numeral", "existence": "yes/no", "grounding": "box", "choice": "letter"}
    own = set(learnt_in(task))
    for scene, turn in examples(task, learnt_in(task), ("noto",), 20, 0, "test"):
        assert set(scene.counts) <= own
        assert turn.style == styles.get(task, "sentence")


def test_yes_and_no_are_balanced():
    answers = [t.answer for _, t in examples("existence", learnt_in("existence"), ("noto",), 20, 0, "test")]
    assert answers.count("yes") == 10


def test_training_rows_fit_and_are_balanced():
    scene = tasks.scene_for(generator(0, "test", 0), "existence", ("fluent",), 0.5)
    turns = [b.turns[0] for b in tasks.turns_for(generator(0, "test", 1), "existence", scene)]
    assert sorted(t.answer for t in turns) == ["no", "no", "yes", "yes"]
    choice = tasks.turns_for(generator(0, "test", 2), "choice", scene)
    assert [b.sees for b in choice] == [True, True, False]
