"""What a class needs: cards to begin with, links that restore what was set, a page to present."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def ready(page, link: str = "/"):
    page.goto(link)
    page.wait_for_function("window.crosstalk?.ready", timeout=60_000)


def test_cards_open_their_rooms_by_mouse_and_by_keyboard(page):
    ready(page)
    expect(page.locator("#start-cards button")).to_have_count(5)
    expect(page.locator("#start-cards img")).to_have_count(5)
    page.locator("#start-cards button", has_text="Decoding").click()
    expect(page.locator("#decode")).to_be_visible()
    page.get_by_role("tab", name="Start").click()
    page.locator("#start-cards button", has_text="Attention").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#attention-look")).to_be_visible()
    page.wait_for_url("**tab=attention*")


def test_settings_stand_in_the_address_and_a_link_restores_them(page, browser, address):
    ready(page, "/?tab=decoding")
    expect(page.locator("#decode-sentence p").first).not_to_be_empty(timeout=60_000)
    page.locator("#decode-strategies").get_by_label("Remove M3ID").or_(
        page.locator("#decode-strategies .token-remove").nth(3)
    ).first.click()
    page.wait_for_url("**strategies=greedy*inter*vcd*")
    page.locator("#decode-inter-threshold input[type=number]").fill("3")
    page.locator("#decode-inter-threshold input[type=number]").press("Enter")
    page.wait_for_url("**k=3*")
    other = browser.new_page(base_url=address)
    ready(other, page.url)
    expect(other.locator("#decode-inter-threshold input[type=number]")).to_have_value("3")
    expect(other.locator("#decode-answers h4, #decode-answers b").first).to_be_visible(timeout=60_000)
    assert "M3ID" not in other.locator("#decode-answers").inner_text()
    assert "k=3" in other.url and "length" not in other.url
    other.close()


def test_a_link_restores_a_cell_of_another_set(page):
    ready(page, "/?tab=forgetting&set=sefe&row=2&column=1&show=only%20wrong")
    expect(page.locator("#set input")).to_have_value("sefe")
    expect(page.locator("#items")).to_contain_text("after counting, counting")
    expect(page.locator("#items .wrong").first).to_be_visible()
    expect(page.locator("#items .right")).to_have_count(0)


def test_a_link_restores_a_head_and_the_next_question_starts_anew(page):
    ready(page, "/?tab=attention&spot=2,3&question=What%20is%20this%3F")
    said = page.locator("#attention-where-sentence")
    expect(said).to_contain_text("layer 2, head 3", ignore_case=True, timeout=60_000)
    expect(page.locator("#attention-layer input")).to_have_value("2")
    page.locator("#attention-heads [data-pick='4,1']").click()
    page.wait_for_url(lambda url: "spot=4%2C1" in url)
    expect(said).to_contain_text("layer 4, head 1", ignore_case=True, timeout=60_000)
    page.locator("#question textarea").fill("Describe the picture.")
    page.locator("#attention-look").click()
    page.wait_for_url(lambda url: "spot" not in url, timeout=60_000)


def test_what_a_link_asks_for_and_is_not_offered_is_left_out(page):
    ready(page, "/?tab=decoding&strategies=greedy,evil&k=1e999&length=many")
    expect(page.locator("#decode-answers")).to_contain_text("M3ID", timeout=60_000)
    expect(page.locator("#decode-inter-threshold input[type=number]")).to_have_value("1")


def test_presenting_is_larger_has_fewer_controls_and_charts_still_answer(page):
    page.set_viewport_size({"width": 1920, "height": 1080})
    ready(page, "/?tab=attention")
    expect(page.locator("#attention-sentence p").first).not_to_be_empty(timeout=60_000)
    letters = "document.querySelector('#attention-chart .js-plotly-plot')._fullLayout.font.size"
    before = page.locator("#attention-sentence p").first.bounding_box()["height"]
    page.locator("#present").click()
    page.wait_for_url("**present=1*")
    page.wait_for_function(f"{letters} > 16")
    assert page.locator("#attention-sentence p").first.bounding_box()["height"] > 1.2 * before
    expect(page.locator("#gallery")).to_be_hidden()
    expect(page.locator("#attention-csv")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    chart = page.locator("#attention-chart .js-plotly-plot")
    chart.scroll_into_view_if_needed()
    point = chart.locator(".points path").nth(2).bounding_box()
    page.mouse.move(point["x"], point["y"])
    page.mouse.move(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2, steps=4)
    expect(chart.locator(".hoverlayer")).to_contain_text("layer 3")
    page.locator("#title h1").click()
    page.keyboard.press("Escape")
    page.wait_for_function(f"{letters} < 16")
    assert "present" not in page.url


def test_the_address_is_copied_and_an_own_picture_is_told_of(page, tmp_path):
    from PIL import Image

    ready(page)
    page.locator("#copy-link").click()
    expect(page.locator("#copied")).to_have_text("Copied.")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "own.png")
    page.locator("#picture input[type=file]").set_input_files(tmp_path / "own.png")
    expect(page.locator("#suggestions button")).to_have_count(0)
    page.locator("#copy-link").click()
    expect(page.locator("#copied")).to_contain_text("Your own picture is not in the link")


def test_a_prediction_stands_beside_what_was_measured(page):
    ready(page, "/?tab=interference&example=three-penguins&question=What%20is%20this%3F")
    page.locator("#predict-interference").get_by_text("none of them").click()
    expect(page.locator("#predicted-interference")).to_contain_text("Now press Disturb")
    page.locator("#disturb").click()
    line = page.locator("#predicted-interference p")
    expect(line).to_contain_text("You predicted: none of them; measured: some of them", timeout=60_000)
    expect(line).to_contain_text("otherwise than predicted")
    page.get_by_role("tab", name="Forgetting").click()
    page.locator("#predict-forgetting").get_by_text("less than a third").click()
    expect(page.locator("#predicted-forgetting p")).to_contain_text("✓ as predicted")


def test_a_word_is_explained_where_it_stands_by_keyboard(page):
    ready(page, "/?tab=forgetting")
    page.get_by_role("button", name="The lesson").click()
    term = page.locator(".lesson dfn.term:visible").first
    expect(term.locator("[role=tooltip]")).to_be_hidden()
    term.focus()
    expect(term.locator("[role=tooltip]")).to_be_visible()
    words = page.locator(".lesson dfn.term:visible").evaluate_all("all => all.map(e => e.lastChild.textContent)")
    assert len(words) == len(set(words)) > 3  # each once
