"""The main path of each room: open, read, press or click, read again; links that restore what was set."""

import json

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.visit import ask, opened, panel, said, saved, uncovered

pytestmark = pytest.mark.browser


def chart(section, name: str):
    """A chart of a section, once it is drawn."""
    drawn = section.locator(f"[id$='-{name}'] .js-plotly-plot")
    expect(drawn).to_be_visible(timeout=60_000)
    return drawn


def test_a_question_is_disturbed_and_own_words_are_added(page):
    opened(page, "/?tab=interference&example=bee-without-flower&question=Is+there+a+flower%3F")
    section = said(page, "interference/one")
    box = section.locator("input[name=sentence]")
    box.fill("My aunt says that there is a flower.")
    box.press("Enter")
    expect(section).to_contain_text("My aunt says", timeout=60_000)
    assert page.evaluate("crosstalk.place()") == "interference/one"
    assert saved(page, section, "csv").startswith("condition,side,option")
    page.locator("#nav [data-go='interference/dose']").click()
    dose = said(page, "interference/dose")
    before = dose.locator(".told").get_attribute("data-turn")
    ask(page, "Is there a bee?")  # Enter runs the section one is in
    said(page, "interference/dose")
    assert dose.locator(".told").get_attribute("data-turn") != before
    assert page.evaluate("crosstalk.place()") == "interference/dose"
    for ships in ("interference/sets", "interference/conflicts"):  # what ships is shown before anything is pressed
        page.locator(f"#nav [data-go='{ships}']").click()
        said(page, ships)


def test_a_link_restores_a_head(page):
    opened(page, "/?tab=attention&spot=2,3&question=What%20is%20this%3F")
    assert page.evaluate("crosstalk.place()") == "attention/heads"
    said(page, "attention/heads", "head 3 of layer 2")


def test_answers_side_by_side_and_a_step_as_a_game(page):
    opened(page, "/?tab=decoding&example=boat-penguin-drum&question=Describe%20the%20picture.")
    section = said(page, "decoding/captions")
    expect(section.locator(".dec-wrong").first).to_be_visible()
    assert json.loads(saved(page, section, "json"))["strategies"]
    before = section.locator(".told").get_attribute("data-run")
    page.locator("#nav [data-go='decoding/game']").click()
    chart(said(page, "decoding/game"), "split")
    page.go_back(wait_until="commit")  # a step in the history, and nothing is measured again
    page.wait_for_function("crosstalk.place() === 'decoding/captions'")
    page.wait_for_timeout(500)
    assert section.locator(".told:not(.older)").get_attribute("data-run") == before and "section" not in page.url
    page.go_forward(wait_until="commit")
    page.wait_for_url("**section=game*")
    game = said(page, "decoding/game")
    chart(game, "split")
    before = game.locator(".sentence").inner_text()
    game.locator("[data-set][aria-pressed=false]").nth(2).click()
    expect(game.locator(".told .sentence")).not_to_have_text(before, timeout=60_000)


def test_settings_stand_in_the_address_and_a_link_restores_them(page, browser, address):
    opened(page, "/?tab=decoding&section=steps")
    section = said(page, "decoding/steps")
    k = section.locator("input[name=k]")
    for _ in range(4):  # faster than answers: none is lost
        k.press("ArrowRight")
    page.wait_for_url("**steps.k=1.4*")
    other = browser.new_page(base_url=address)
    opened(other, page.url)
    restored = said(other, "decoding/steps")
    expect(restored.locator("input[name=k]")).to_have_value("1.4")
    expect(restored).to_contain_text("With k = 1.4")
    other.locator("#nav [data-go='decoding/sets']").click()
    sets = said(other, "decoding/sets")
    chart(sets, "chart")
    sets.get_by_text("captions", exact=True).click()
    other.wait_for_url("**captions*")
    clipped = sets.locator("[clip-path]")  # marks stay when the address changes
    assert clipped.count() > 2
    paths = clipped.evaluate_all("all => all.map(e => e.getAttribute('clip-path'))")
    assert all(path.startswith("url(#") for path in paths), paths[0]
    other.close()


def test_what_a_link_asks_for_and_is_not_offered_is_left_out_and_told(page):
    opened(page, "/?tab=decoding&strategies=greedy,evil&k=1e999&length=8")
    section = uncovered(page, "decoding/captions")
    expect(page.locator(".toast-body")).to_contain_text("not on offer here")
    expect(section.locator(".dec-cards .card")).to_have_count(4, timeout=60_000)
    expect(section.locator("input[name=length]")).to_have_value("8")


def test_of_clicks_faster_than_answers_the_last_one_counts(page):
    opened(page, "/?tab=embedding_space&section=map")
    section = said(page, "embedding_space/map")
    section.get_by_text("food", exact=True).first.click()
    section.locator("label").get_by_text("objects", exact=True).click()
    page.wait_for_url("**map.phase=4*")
    expect(section.locator(".js-plotly-plot").first).to_contain_text("objects, n =", timeout=60_000)
    section.locator("select").first.select_option(index=2)
    expect(section.locator(".js-plotly-plot").first).to_contain_text("objects, n =", timeout=60_000)


def test_a_cell_of_the_matrix_shows_its_answers_its_set_goes_along_and_the_lesson_explains_its_words(page):
    page.set_viewport_size({"width": 1280, "height": 900})
    opened(page, "/?tab=forgetting")
    section = said(page, "forgetting/matrix")
    cell = section.locator(".matrix button").first
    cell.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(section.locator(".matrix button.chosen")).to_have_count(1, timeout=60_000)
    first = section.locator(".items li").first
    expect(first).to_be_in_viewport()
    assert "\\toprule" in saved(page, section, "latex")
    section.locator("select[name=set]").select_option("replay")
    page.locator("#nav [data-go='forgetting/split']").click()
    split = said(page, "forgetting/split")
    split.locator(".save summary").click()
    with page.expect_download() as waited:  # its chart is folded away
        split.locator("[data-save=png]").click()
    assert waited.value.suggested_filename == "crosstalk-forgetting-split-1.png"
    expect(panel(page, "forgetting/split").locator("select[name=set]")).to_have_value("replay")
    ask(page, "Is there a bee?")
    note = page.locator("#asked-note")
    expect(note).to_contain_text("whole sets")
    note.get_by_text("See the answer").click()
    said(page, "ask/answer", "yes")
    page.locator("#nav [data-go=forgetting]").click()
    page.locator("#lesson").click()  # a word is explained where it stands, by keyboard
    term = page.locator(".lesson dfn.term:visible").first
    expect(term.locator("[role=tooltip]")).to_be_hidden()
    term.focus()
    expect(term.locator("[role=tooltip]")).to_be_visible()
    words = page.locator(".lesson dfn.term:visible").evaluate_all("all => all.map(e => e.lastChild.textContent)")
    assert len(words) == len(set(words)) > 3  # each once
    page.locator("#lessons [data-close]").click()
    expect(term).to_be_hidden()


def test_a_link_restores_a_cell_of_another_set(page):
    opened(page, "/?tab=forgetting&set=sefe&row=2&column=1&show=only%20wrong")
    section = said(page, "forgetting/matrix")
    expect(section.locator("select[name=set]")).to_have_value("sefe")
    expect(section.locator(".items .wrong").first).to_be_visible()
    expect(section.locator(".items .right")).to_have_count(0)


def test_presenting_is_larger_has_fewer_controls_and_arrows_step_on(page):
    page.set_viewport_size({"width": 1920, "height": 1080})
    opened(page, "/?tab=attention&example=bee-without-flower&question=Describe+the+picture.")
    section = said(page, "attention/over")
    letters = "document.querySelector('#section-attention-over .js-plotly-plot')._fullLayout.font.size"
    chart(section, "layers")
    before = section.locator(".sentence").bounding_box()["height"]
    page.locator("#present").click()
    page.wait_for_url("**present=1*")
    page.wait_for_function(f"{letters} > 16")
    assert section.locator(".sentence").bounding_box()["height"] > 1.2 * before
    expect(page.locator("#bar")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.locator("#title h1").click()
    page.keyboard.press("ArrowRight")
    said(page, "attention/heads")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Escape")
    page.wait_for_function(f"{letters} < 16")
    assert "present" not in page.url
    said(page, "attention/over")
    section.locator("[data-set*=token]").locator("visible=true").nth(1).click()  # where it looks
    expect(section.locator("[data-set*=token][aria-pressed=true]")).to_have_count(1, timeout=60_000)
    page.wait_for_url("**token=*")


def test_the_report_of_a_visit_opens_without_a_network(page, browser, tmp_path):
    opened(page, "/?tab=ask&example=bee-without-flower&question=Is%20there%20a%20flower%3F")
    section = panel(page, "ask/answer")
    expect(section.locator(".told")).to_be_attached(timeout=60_000)
    section.locator("[data-guess='some of them']").click()
    expect(section.locator(".prediction output")).to_contain_text("measured")
    section.locator(".run").click()
    said(page, "ask/answer")
    page.locator("#nav [data-go=forgetting]").click()
    said(page, "forgetting/matrix")
    page.locator("#report").click()
    listed = page.locator("#report-list label")
    expect(listed).to_have_count(2)
    expect(page.locator("#report-list input:checked")).to_have_count(1)  # what was pressed
    with page.expect_download() as waited:
        page.locator("#report-save").click()
    assert waited.value.suggested_filename == "crosstalk-report.html"
    waited.value.save_as(tmp_path / "report.html")
    with browser.new_context(offline=True) as alone:
        tab, told, requested = alone.new_page(), [], []
        tab.on("console", lambda message: told.append(message.text))
        tab.on("pageerror", lambda error: told.append(str(error)))
        tab.on("request", lambda request: requested.append(request.url))
        tab.goto((tmp_path / "report.html").as_uri())
        answer = tab.locator("section", has=tab.get_by_role("heading", name="Ask", exact=True))
        expect(answer).to_contain_text("Is there a flower?")
        expect(answer.locator(".barlayer path").first).to_be_attached()
        expect(tab.locator("#predictions tbody tr")).to_contain_text("some of them")
        expect(tab.locator("header img")).to_be_visible()
        expect(tab.locator("#provenance")).to_contain_text("crosstalk-mini · base")
        assert not told
        assert [url for url in requested if not url.startswith(("data:", "blob:"))] == [tab.url]


_FIRST_IS_LATE = """const there = window.fetch;
let late = 1;
window.fetch = async (where, how) => {
  const answer = await there(where, how);
  const joins = String(where.url ?? where).includes('queue/join');
  if (joins && late-- > 0) await new Promise(done => { window.come = done; });
  return answer;
};"""


def test_an_own_set_of_a_visitor_is_measured_and_stays(page, tmp_path):
    """What was kept, asked for at opening, comes later."""
    page.add_init_script(_FIRST_IS_LATE)
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "own.png")
    line = {"image": "own.png", "question": "Is there a bee in the picture?", "answer": "no"}
    (tmp_path / "own.jsonl").write_text("\n".join([json.dumps(line)] * 3))
    opened(page, "/?tab=decoding&section=sets&compared=inter")
    section = panel(page, "decoding/sets")
    section.get_by_text("Your own set").click()
    section.locator("input[type=file]").set_input_files([tmp_path / "own.png", tmp_path / "own.jsonl"])
    expect(section.locator(".file-preview tr")).to_have_count(2)
    section.locator(".run").click()
    expect(section.locator(".told .sentence")).to_contain_text("n = 3", timeout=60_000)
    page.evaluate("come()")
    page.wait_for_timeout(2000)
    expect(section.locator(".told .sentence")).to_contain_text("n = 3")
    older = section.locator(".told.older")
    expect(older).to_have_count(0)
    (tmp_path / "own.jsonl").write_text(json.dumps(line | {"answer": "maybe"}))
    section.get_by_role("button", name="Clear").click()
    expect(older).to_have_count(1)
    section.locator("input[type=file]").set_input_files([tmp_path / "own.png", tmp_path / "own.jsonl"])
    expect(section.locator(".file-preview tr")).to_have_count(2)
    section.locator(".run").click()
    expect(page.get_by_text('own.jsonl has no items with the style "yes/no"')).to_be_visible(timeout=60_000)
    expect(older).to_have_count(1)
