"""The main path of each room that measures more than an answer: open, read the sentence, press, read again."""

import json

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def opened(page, link: str):
    """A room that has taken over what its link asks for."""
    page.goto(link)
    page.wait_for_function("window.crosstalk?.ready", timeout=60_000)
    return page


def read(page, place: str):
    """Wait until a sentence says something."""
    expect(page.locator(f"{place} p").first).not_to_be_empty(timeout=60_000)
    return page.locator(place)


def drawn(page, place: str) -> None:
    page.locator(place).scroll_into_view_if_needed()
    expect(page.locator(f"{place} .js-plotly-plot")).to_be_visible()


def unfold(page, title: str) -> None:
    page.get_by_role("button", name=title).first.click()


def test_data_sets_and_remedies_are_shown_before_anything_is_pressed(page):
    opened(page, "/?tab=interference")
    expect(read(page, "#dataset-sentence")).to_contain_text("on image-heavy items")
    drawn(page, "#dataset-chart")
    drawn(page, "#conflicts-chart")
    expect(read(page, "#conflicts-sentence")).to_contain_text("conflicts")
    page.get_by_role("link", name="Whole sets").click()
    expect(page.locator("#part-sets")).to_be_in_viewport()


def test_marks_stay_when_the_address_changes(page):
    opened(page, "/?tab=interference&example=three-penguins&question=What%20is%20this%3F")
    read(page, "#interference-sentence")
    read(page, "#dataset-sentence")
    drawn(page, "#dataset-chart")
    clipped = page.locator("#dataset-chart [clip-path], #interference-chart [clip-path]")
    assert clipped.count() > 4
    paths = clipped.evaluate_all("all => all.map(e => e.getAttribute('clip-path'))")
    assert all(path.startswith("url(#") for path in paths), paths[0]


def test_putting_picture_and_text_in_conflict(page):
    opened(page, "/?tab=interference&example=three-penguins&question=What%20is%20this%3F")
    read(page, "#interference-sentence")
    page.locator("#conflict-start").click()
    read(page, "#conflict-sentence")
    drawn(page, "#conflict-chart")
    expect(page.locator("#conflict-seen textarea, #conflict-seen input").first).to_have_value("penguin")


def test_where_the_answer_looks(page):
    opened(page, "/?tab=attention")
    expect(read(page, "#attention-sentence")).to_contain_text("to the picture")
    drawn(page, "#attention-chart")
    page.get_by_label("per key token").first.check()
    drawn(page, "#attention-chart")
    cell = page.locator("#attention-heads [data-pick]").last
    cell.click()
    read(page, "#attention-where-sentence")
    drawn(page, "#attention-overlay")
    drawn(page, "#attention-tokens")
    unfold(page, "Which layers carry the picture to the answer?")
    page.locator("#carry-start").click()
    read(page, "#attention-carry-sentence")
    unfold(page, "MODA, trained, against plain attention")
    expect(read(page, "#attention-moda-sentence")).to_contain_text("MODA")


def test_decoding_side_by_side_and_step_by_step(page):
    opened(page, "/?tab=decoding&example=boat-penguin-drum&question=Describe%20the%20picture.")
    expect(read(page, "#decode-sentence")).to_contain_text("INTER")
    expect(page.locator("#decode-answers .dec-wrong").first).to_be_visible()
    page.locator("#decode-timeline [data-pick]").nth(1).click()
    drawn(page, "#decode-strongest")
    page.locator("#decode-locate").click()
    drawn(page, "#decode-map")
    expect(read(page, "#pope-sentence")).to_contain_text("INTER")
    with page.expect_download() as waited:
        page.locator("#decoding-json").click()
    assert json.loads(waited.value.path().read_text(encoding="utf-8"))["strategies"]


_PLACE = (
    "() => String(document.querySelector('#space-raw .js-plotly-plot').calcdata[1].map(point => [point.x, point.y]))"
)
"""Where the pictures of the first domain are drawn."""


def test_the_space_turns_phase_by_phase(page):
    opened(page, "/?tab=embedding_space")
    expect(read(page, "#space-sentence")).to_contain_text("°")
    drawn(page, "#space-raw")
    drawn(page, "#space-aligned")
    first = page.evaluate(_PLACE)
    page.locator("#space-player input[type=range]").fill("5")
    expect(page.locator("#space-player output")).to_have_text("symbols")
    page.wait_for_function(f"first => ({_PLACE})() !== first", arg=first)
    page.locator("#space-projection").get_by_label("AlignedUMAP").check()
    expect(page.locator("#space-raw")).to_contain_text("AlignedUMAP")
    page.locator("#space-projection").get_by_label("PCA").check()
    expect(page.locator("#space-raw")).to_contain_text("Raw")
    page.wait_for_function(f"first => ({_PLACE})() !== first", arg=first)  # the phase stays the one that was chosen
    page.locator("#space-raw .scatterlayer .trace:nth-child(2) path.point").first.hover(force=True)
    expect(page.locator("#space-pair")).to_contain_text("rank of its text")
    expect(page.locator(".pointed img")).to_be_visible()
    unfold(page, "Retrieval")
    drawn(page, "#retrieval-course")


def test_a_cell_of_the_matrix_shows_its_answers_then_and_now(page):
    opened(page, "/?tab=forgetting")
    expect(read(page, "#forgetting-sentence")).to_contain_text("Right after its own training")
    page.locator('#matrix [data-pick="6,0"]').click()
    expect(page.locator("#items .answers").first).to_contain_text("then: after naming")
    expect(page.locator("#items .answers").first).to_contain_text("now: after captioning")
    page.locator('#forgetting-tries [data-pick="2"]').click()
    expect(page.locator("#items")).to_contain_text("after choice, captioning: 1 to")
    expect(page.locator("#items .answers").first).to_contain_text("before: after choice")
    expect(page.locator("#part-items")).to_be_in_viewport()
    with page.expect_download() as waited:
        page.locator("#forgetting-latex").click()
    assert waited.value.suggested_filename.endswith(".tex")
    assert "\\toprule" in waited.value.path().read_text(encoding="utf-8")


def test_a_slider_moved_by_the_keyboard_asks_and_the_last_place_counts(page):
    page.goto("/?tab=forgetting")
    slider = page.locator("#path-alpha input[type=range]")
    slider.scroll_into_view_if_needed()
    slider.focus()
    for _ in range(5):
        slider.press("ArrowRight")
    expect(page.locator("#path-here-answers")).to_contain_text("alpha 0.55")


def test_the_report_of_a_visit_opens_without_a_network(page, browser, tmp_path):
    opened(page, "/?tab=ask&example=bee-without-flower&question=Is%20there%20a%20flower%3F")
    expect(page.locator("#ask-sentence")).to_contain_text("The checkpoint")
    page.locator("#predict-ask").get_by_text("some of them").click()
    expect(page.locator("#predicted-ask")).to_contain_text("measured")
    with page.expect_download() as waited:
        page.locator("#report").click()
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
        expect(tab.locator("#predictions tbody tr")).to_have_count(1)
        expect(tab.locator("#predictions tbody tr")).to_contain_text("some of them")
        expect(tab.locator("header img")).to_be_visible()
        expect(tab.locator("#provenance")).to_contain_text("crosstalk-mini · base")
        assert not told
        assert [url for url in requested if not url.startswith(("data:", "blob:"))] == [tab.url]
