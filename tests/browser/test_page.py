"""What a visitor does: ask, compare checkpoints, compose, upload, read the matrix; by mouse and by keyboard."""

import json
import re

import pytest
from PIL import Image
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def opened(page, link: str = "/?tab=ask"):
    """The page that has taken over what its link asks for; in the Ask room, with its first answer whole."""
    page.goto(link)
    page.wait_for_function("window.crosstalk?.ready", timeout=60_000)
    if page.get_by_role("tab", name="Ask").get_attribute("aria-selected") == "true":
        expect(page.locator("#ask-checkpoints tbody tr").first).to_be_attached(timeout=60_000)
    return page


def ask(page, question: str) -> None:
    """Type a question, press Enter, and wait for the whole answer."""
    box = page.locator("#question textarea")
    box.fill(question)
    box.press("Enter")
    expect(page.locator("#answer .asked p")).to_have_text(question)
    expect(page.locator("#ask-sentence")).to_contain_text("The checkpoint")
    expect(page.locator("#answer .caret")).to_have_count(0)


def remove_picture(page) -> None:
    page.get_by_label("Remove Image").click()
    expect(page.locator("#picture img")).to_have_count(0)
    expect(page.locator("#suggestions button")).to_have_count(0)


def choose(page, dropdown: str, option: str | re.Pattern) -> None:
    page.locator(f"{dropdown} input").click()
    page.get_by_role("option", name=option).click()


def test_type_a_question_and_read_the_answer(page):
    opened(page)
    ask(page, "What do you see?")
    expect(page.locator("#ask-checkpoints tbody tr")).to_have_count(8)
    expect(page.locator("#ask-options .js-plotly-plot")).to_be_visible()
    assert "question=What" in page.url


def test_the_first_answer_is_judged_and_its_tokens_explained(page):
    opened(page)
    expect(page.locator("#ask-checkpoints").get_by_text(re.compile("right|wrong")).first).to_be_visible()
    expect(page.locator("#ask-checkpoints tbody tr")).to_have_count(8)


def test_switching_the_checkpoint(page):
    opened(page)
    choose(page, "#checkpoint", "counting")
    ask(page, "How many are there?")
    expect(page.locator("#ask-sentence")).to_contain_text("The checkpoint counting")
    expect(page.locator("#ask-checkpoints .chosen th")).to_have_text("counting")
    assert "checkpoint=counting" in page.url


def test_suggestions_carry_their_options(page):
    opened(page, "/?example=three-penguins")
    page.locator("#suggestions").get_by_text("Which of these").click()
    expect(page.locator("#answer .asked p")).to_contain_text("Which of these")
    expect(page.locator("#ask-options")).to_contain_text("B: penguin")


def test_text_only(page):
    opened(page, "/?example=no-picture")
    expect(page.locator("#picture img")).to_have_count(0)
    expect(page.locator("#answer")).to_contain_text("text only")
    ask(page, "Is a bee an animal?")


def test_a_picture_without_a_question_gets_a_hint_and_an_empty_click_nothing_worse(page):
    opened(page)
    page.locator("#question textarea").fill("  ")
    page.locator("#ask").click()
    expect(page.locator("#answer")).to_contain_text("Type a question about the picture")
    remove_picture(page)
    page.locator("#ask").click()
    expect(page.locator("#answer")).to_contain_text("choose one of the example pictures")
    ask(page, "Is a bee an animal?")


def test_a_text_file_called_png(page, tmp_path):
    opened(page)
    (tmp_path / "fake.png").write_text("I am not a picture.")
    remove_picture(page)
    page.locator("#picture input[type=file]").first.set_input_files(tmp_path / "fake.png")
    expect(page.locator(".toast-body")).to_contain_text("could not be read as a picture")
    expect(page.locator("#picture img")).to_have_count(0)
    ask(page, "Is a bee an animal?")


def test_an_uploaded_picture_has_no_known_truth(page, tmp_path):
    opened(page)
    Image.new("CMYK", (300, 200), (0, 200, 200, 0)).save(tmp_path / "red.jpg")
    page.locator("#picture input[type=file]").first.set_input_files(tmp_path / "red.jpg")
    expect(page.locator("#suggestions button")).to_have_count(0)
    ask(page, "What is at the top left?")
    expect(page.locator("#ask-checkpoints").get_by_text(re.compile("✓|✗"))).to_have_count(0)
    assert "example=" not in page.url


def test_composing_a_scene(page):
    opened(page)
    page.get_by_text("Compose a scene").click()
    page.locator("#surprise").click()
    first = page.locator("#suggestions button").first
    expect(page.locator("#answer .asked p")).to_have_text(first.inner_text())
    expect(page.locator("#ask-checkpoints").get_by_text(re.compile("right|wrong|◐")).first).to_be_visible()


def test_a_model_that_is_not_there_says_why_and_the_old_one_stays(page):
    opened(page)
    page.locator("#model input").click()
    page.get_by_role("option").last.click()
    expect(page.locator(".toast-body").first).to_contain_text("crosstalk-mini stays")
    expect(page.locator("#model input")).to_have_value("crosstalk-mini")


def test_a_typed_model_that_is_none_says_why_and_the_old_one_stays(page):
    opened(page)
    page.locator("#model input").fill("../../etc")
    page.locator("#model input").press("Enter")
    expect(page.locator(".toast-body").first).to_contain_text("is not opened")
    expect(page.locator("#model input")).to_have_value("crosstalk-mini")
    ask(page, "Is a bee an animal?")


def test_disturbing_a_question(page):
    opened(page, "/?tab=interference&example=bee-without-flower")
    expect(page.locator("#interference-sentence p").first).not_to_be_empty()
    expect(page.locator("#interference-chart .js-plotly-plot")).to_be_visible()
    rows = page.locator("#interference-table tbody tr")
    before = rows.count()
    page.locator("#own-sentence textarea").fill("My aunt says that there is a flower.")
    page.get_by_label("Your own sentence").first.check()
    page.locator("#disturb").click()
    expect(page.locator("#interference-table")).to_contain_text("My aunt says")
    assert rows.count() == before + 1
    with page.expect_download() as waited:
        page.locator("#interference-csv").click()
    assert waited.value.path().read_text(encoding="utf-8").startswith("condition,side,option")


def test_raising_a_dose(page):
    opened(page, "/?tab=interference&example=bee-without-flower")
    expect(page.locator("#interference-sentence p").first).not_to_be_empty()
    page.locator("#dose-start").click()
    expect(page.locator("#dose-sentence p").first).not_to_be_empty()
    expect(page.locator("#dose-chart .js-plotly-plot")).to_be_visible()


def test_what_stands_behind_an_answer(page):
    opened(page, "/?tab=interference&example=bee-without-flower")
    expect(page.locator("#interference-sentence p").first).not_to_be_empty()
    page.locator("#attribute").click()
    expect(page.locator("#attribute-sentence p").first).to_contain_text("picture")
    expect(page.locator("#attribute-overlay .js-plotly-plot")).to_be_visible()
    expect(page.locator("#attribute-words span").first).to_be_visible()


def test_saving_the_answer(page):
    opened(page)
    expect(page.locator("#ask-sentence")).to_contain_text("The checkpoint")
    with page.expect_download() as waited:
        page.locator("#ask-json").click()
    assert json.loads(waited.value.path().read_text(encoding="utf-8"))["by_checkpoint"]
    with page.expect_download() as waited:
        page.locator("#ask-csv").click()
    assert waited.value.path().read_text(encoding="utf-8").startswith("question,truth,checkpoint")


def test_the_matrix_by_mouse(page):
    opened(page)
    page.get_by_role("tab", name="Forgetting").click()
    cells = page.locator("#matrix tbody button")
    expect(cells).to_have_count(48)
    expect(page.locator("#course .js-plotly-plot")).to_be_visible()
    page.locator('#matrix [data-pick="6,0"]').click()
    expect(page.locator("#items")).to_contain_text("after captioning, naming: 1 to")
    expect(page.locator("#items li")).not_to_have_count(0)
    expect(page.locator("#cell-row input")).to_have_value("after captioning")
    assert "tab=forgetting" in page.url


def test_the_matrix_by_keyboard(page):
    opened(page, "/?tab=forgetting")
    cell = page.locator('#matrix [data-pick="2,1"]')
    cell.focus()
    page.keyboard.press("Tab")
    expect(page.locator('#matrix [data-pick="2,2"]')).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#items")).to_contain_text("after counting, existence")
    choose(page, "#cell-column", "grounding")
    expect(page.locator("#items")).to_contain_text("after counting, grounding")
    page.locator("#items-more").click()
    expect(page.locator("#items")).to_contain_text(re.compile("grounding: 13 to"))


def test_a_link_opens_what_it_names(page):
    opened(page, "/?checkpoint=naming&example=helicopter&question=Where%20is%20the%20house%3F")
    expect(page.locator("#checkpoint input")).to_have_value("naming")
    expect(page.locator("#question textarea")).to_have_value("Where is the house?")
    expect(page.locator("#answer .asked p")).to_have_text("Where is the house?")


def test_a_link_with_nonsense_opens_the_page(page):
    opened(page, "/?tab=x&checkpoint=%3Cscript%3E&example=../../etc&model=no&k=x&row=99&set=../..")
    expect(page.locator("#checkpoint input")).to_have_value("base")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_readable_in_both_themes(page, theme):
    opened(page, f"/?tab=ask&__theme={theme}")
    expect(page.locator("#ask-sentence")).to_contain_text("The checkpoint")
    for place in (
        "#title h1",
        "#title p",
        "#ask-sentence p",
        "#ask-checkpoints td:nth-child(2)",
        "#suggestions button",
    ):
        assert page.locator(place).first.evaluate(CONTRAST) >= 4.5, place
    background = page.locator("#ask-options .main-svg").first.evaluate("e => getComputedStyle(e).backgroundColor")
    assert background == "rgba(0, 0, 0, 0)"


CONTRAST = """element => {
  const parse = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  let behind = element, back = [255, 255, 255];
  for (; behind; behind = behind.parentElement) {
    const found = parse(getComputedStyle(behind).backgroundColor);
    if (found.length < 4 || found[3] === 1) { back = found; break; }
  }
  const [a, b] = [light(parse(getComputedStyle(element).color)), light(back)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}"""
