"""What a visitor does: ask, compare checkpoints, compose, upload, predict, save, follow links; mouse or keyboard."""

import json
import re
from urllib.parse import parse_qs, urlparse

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.visit import Held, ask, choose, opened, panel, said, saved, uncovered

pytestmark = pytest.mark.browser

ASK = "ask/answer"


def remove_picture(page) -> None:
    page.get_by_label("Remove Image").click()
    expect(page.locator("#picture img")).to_have_count(0)


def test_a_first_visit(page):
    page.set_viewport_size({"width": 1366, "height": 768})
    opened(page)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#nav button").first).to_be_focused()  # the result is reached by keyboard at once
    expect(page.locator(".machine button")).to_have_count(5)
    said(page, "overview/now", "pieces of picture")
    card = page.locator(".rooms-cards [data-go=ask]")
    expect(card).to_contain_text("bee", timeout=60_000)
    ask(page, "Is there a bee?")
    expect(card).to_contain_text("yes", timeout=60_000)
    card.focus()
    page.keyboard.press("Enter")
    expect(panel(page, ASK)).to_be_visible()
    page.wait_for_url("**tab=ask*")
    section = said(page, ASK)
    expect(section.locator(".answer").get_by_text(re.compile("right|wrong"))).to_be_visible()
    section.locator(".token").first.focus()
    expect(section.locator(".token .tip").first).to_be_visible()
    ask(page, "What do you see?")
    section = said(page, ASK, "The checkpoint base")
    expect(section.locator(".answer")).to_be_in_viewport()  # without scrolling
    expect(section.locator(".asked")).to_have_text("What do you see?")
    expect(section.locator("tbody tr")).to_have_count(8)
    assert "question=What" in page.url
    assert json.loads(saved(page, section, "json"))["by_checkpoint"]
    assert saved(page, section, "csv").startswith("question,truth,checkpoint")
    assert "\\toprule" in saved(page, section, "latex")


def test_questions_and_checkpoints_of_one_picture(page):
    opened(page, "/?tab=ask&example=three-penguins&question=How+many+penguins+are+there%3F")
    said(page, ASK)
    page.evaluate("""() => {
      window.seen = new Set();
      const at = selector => document.querySelector(`#section-ask-answer ${selector}`);
      new MutationObserver(() => {
        if (at('.told.older')) seen.add('all');
        if (at('.told:not(.older)') && at('#ask-answer-checkpoints.older tbody')) seen.add('what is to come');
      }).observe(document.body, {subtree: true, attributes: true, childList: true});
    }""")
    choose(page, "#checkpoint", "counting")
    section = said(page, ASK, "The checkpoint counting")
    assert page.evaluate("[...seen]") == ["all", "what is to come"]  # what is of the one before is dimmed
    expect(section.locator(".block.view.older")).to_have_count(0)
    expect(section.locator(".chosen th")).to_have_text("counting")
    assert "checkpoint=counting" in page.url
    page.locator("#suggestions summary").click()
    page.locator("#suggestions").get_by_text("Which of these").click()  # carries its options
    said(page, ASK)
    expect(section.locator(".asked")).to_contain_text("Which of these")
    ask(page, "  ")
    expect(page.locator(".toast-body")).to_contain_text("There is no question yet")
    page.locator("#gallery [data-example=no-picture]").click()
    expect(page.locator("#picture img")).to_have_count(0)
    choose(page, "#checkpoint", "base")
    ask(page, "Is a bee an animal?")
    said(page, ASK, "yes")


_SLOW = """const there = window.fetch;
window.fetch = async (where, how) => {
  if (String(where.url ?? where).includes('queue/join')) await new Promise(done => setTimeout(done, 1500));
  return there(where, how);
};"""


def test_of_questions_faster_than_answers_the_last_is_answered(page):
    """While one is answered the next wait: Gradio runs the last of them with the data of the first."""
    page.add_init_script(_SLOW)
    opened(page, "/?tab=ask&example=no-picture")
    for question in ("What kind of thing is a bee?", "Is a guitar an instrument?", "Is a bee an animal?"):
        ask(page, question)
    said(page, ASK, "yes")
    assert panel(page, ASK).locator(".asked").inner_text() == "Is a bee an animal?"


UPLOADS, CHOICES = r"/upload\?", r"/run/predict"


def put(page, tmp_path) -> None:
    """A picture of one's own into the widget."""
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "own.png")
    page.locator("#picture input[type=file]").first.set_input_files(tmp_path / "own.png")


def shows(page, own: bool, address: str) -> None:
    """Picture, suggestions, address and verdict are of a picture of the visitor's own, or of a known one."""
    page.wait_for_url(address)
    there = "width => !choosing() && document.querySelector('#picture img')?.naturalWidth === width"
    page.wait_for_function(there, arg=300 if own else 448)
    expect(page.locator("#suggestions [data-own]")).to_have_count(int(own))
    expect(page.locator("#gallery [aria-pressed=true]")).to_have_count(page.url.count("example="))
    page.locator("#suggestions [data-ask]").first.click()
    section = said(page, ASK)
    expect(section.locator(".caution")).to_have_count(int(own))
    expect(section.locator(".answer").get_by_text(re.compile("right|wrong"))).to_have_count(int(not own))


def test_the_last_choice_of_a_picture_counts_whichever_arrives_last(page, tmp_path):
    # Gradio asks how far an upload is, and gets an error for one that is held
    page.route(re.compile("/upload_progress"), lambda route: route.fulfill(content_type="text/event-stream", body=""))
    link = Held(page, CHOICES)  # one's own after a link
    page.goto("/?tab=ask&example=helicopter")
    link.come()
    put(page, tmp_path)
    page.wait_for_function("typeof choosing !== 'undefined' && sent.size")
    link.let()
    shows(page, True, re.compile("^((?!example=).)*$"))
    upload = Held(page, UPLOADS)  # an example after one's own
    put(page, tmp_path)
    upload.come()
    page.locator("#gallery [data-example=three-penguins]").click()
    page.wait_for_url("**example=three-penguins*")
    with page.expect_response(re.compile(UPLOADS)):
        upload.let()
    shows(page, False, "**example=three-penguins*")
    example = Held(page, CHOICES)  # one's own after an example
    page.locator("#gallery [data-example=helicopter]").click()
    example.come()
    put(page, tmp_path)
    page.wait_for_function("crosstalk.waiting().includes('picture')")
    page.evaluate("""() => {
      window.widths = new Set();
      setInterval(() => widths.add(document.querySelector('#picture img')?.naturalWidth || 300), 10);
    }""")
    example.let()
    shows(page, True, re.compile("^((?!example=).)*$"))
    assert page.evaluate("[...widths]") == [300]  # what is no longer wanted is not shown in between either
    upload = Held(page, UPLOADS)  # a scene after one's own
    put(page, tmp_path)
    upload.come()
    page.get_by_text("Compose a scene").click()
    page.locator("#composer select").first.select_option("cat")
    with page.expect_response(re.compile(UPLOADS)):
        upload.let()
    shows(page, False, "**scene=cat*")


def test_of_examples_the_last_is_shown_and_writes_over_no_question_that_was_asked_since(page):
    opened(page, "/?tab=ask&example=helicopter")
    said(page, ASK)
    for name in ("helicopter", "three-penguins", "no-picture"):  # faster than pictures
        page.locator(f"#gallery [data-example={name}]").click()
    expect(page.locator("#picture img")).to_have_count(0)
    page.wait_for_url("**example=no-picture*")
    page.wait_for_function("!crosstalk.waiting().length")
    expect(page.locator("#picture img")).to_have_count(0)
    example, box = Held(page, CHOICES), page.locator("#question textarea")
    page.locator("#gallery [data-example=three-penguins]").click()
    example.come()
    box.fill("")
    box.press_sequentially("How many birds are")
    example.let()
    page.wait_for_url("**example=three-penguins*")
    box.press_sequentially(" there?")
    box.press("Enter")
    section = said(page, ASK)
    expect(section.locator(".asked")).to_have_text("How many birds are there?")
    expect(box).to_have_value("How many birds are there?")
    example, suggested = Held(page, CHOICES), page.locator("#suggestions [data-ask]").first
    page.locator("#gallery [data-example=helicopter]").click()
    example.come()
    text = suggested.inner_text()
    suggested.click()
    expect(box).to_have_value(text)
    example.let()
    page.wait_for_url("**example=helicopter*")
    said(page, ASK)
    expect(section.locator(".asked")).to_have_text(text)
    assert page.evaluate("crosstalk.input.question") == text


def test_a_run_that_is_stopped_leaves_what_stood_there_as_it_was(page):
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page, "/?tab=interference&section=sets&checkpoint=naming")
    section = said(page, "interference/sets")  # what ships; to measure another checkpoint takes minutes
    before = section.locator(".told").get_attribute("data-run")
    pressed = section.locator(".run").evaluate("""run => {
      run.click();
      return [run, document.querySelector('#strip-ask')].map(at => getComputedStyle(at, '::after').animationName);
    }""")
    assert pressed == ["turning", "turning"]  # something is under way, and where one looks it shows
    section.get_by_role("button", name="Stop").click()
    expect(section.get_by_text("Stopped.")).to_be_visible()
    expect(page.locator(".working")).to_have_count(0)
    page.wait_for_timeout(1000)
    assert section.locator(".told:not(.older)").get_attribute("data-run") == before


def test_an_uploaded_picture_has_no_known_truth_and_is_in_no_link(page, tmp_path):
    opened(page, "/?tab=ask&example=helicopter")
    said(page, ASK)
    Image.new("CMYK", (300, 200), (0, 200, 200, 0)).save(tmp_path / "red.jpg")
    page.locator("#picture input[type=file]").first.set_input_files(tmp_path / "red.jpg")
    expect(page.locator("#suggestions [data-own]")).to_be_attached()
    ask(page, "What is at the top left?")
    section = said(page, ASK)
    expect(section.get_by_text(re.compile("✓|✗"))).to_have_count(0)
    assert "example=" not in page.url
    page.locator("#copy-link").click()
    expect(page.locator("#copied")).to_contain_text("Your own picture is not in the link")
    (tmp_path / "fake.png").write_text("I am not a picture.")
    remove_picture(page)
    page.locator("#picture input[type=file]").first.set_input_files(tmp_path / "fake.png")
    expect(page.locator("#suggestions [role=alert]")).to_contain_text("could not be read as a picture")
    expect(page.locator("#picture img")).to_have_count(0)
    ask(page, "Is a bee an animal?")
    said(page, ASK, "yes")


def test_a_composed_scene_is_in_the_link(page, browser, address):
    opened(page, "/?tab=ask")
    said(page, ASK)
    page.get_by_text("Compose a scene").click()
    box = page.locator("#composer select").nth(1).bounding_box()
    assert box["x"] + box["width"] < 400  # it unfolds below, in the column
    assert page.locator("#picture").bounding_box()["height"] > 150  # and takes no room from what is above it
    page.locator("#composer select").first.select_option("helicopter")
    expect(page.locator("#suggestions").get_by_text("helicopter").first).to_be_attached()
    page.locator("#copy-link").click()
    expect(page.locator("#copied")).to_have_text("Copied.")
    page.wait_for_url("**scene=helicopter*")
    other = browser.new_page(base_url=address)
    opened(other, page.url)
    expect(other.locator("#suggestions").get_by_text("helicopter").first).to_be_attached()
    assert other.locator("#composer select").first.input_value() == "helicopter"
    other.close()
    composed = page.url
    page.get_by_text("Surprise me").click()
    page.wait_for_url(lambda url: "scene=" in url and url != composed)
    section = said(page, ASK)
    expect(section.locator(".answer")).to_contain_text(re.compile("right|wrong|◐"))


def test_a_model_that_is_none_or_not_there_says_why_and_the_old_one_stays(page):
    """One message, for nothing is measured with it; and the address never names it."""
    opened(page, "/?tab=ask")
    said(page, ASK)
    asked = []
    page.on("request", lambda request: asked.append(request.post_data or "") if "/queue/join" in request.url else None)
    page.on("framenavigated", lambda frame: asked.append(frame.url))
    page.locator("#model input").fill("../../etc")
    page.locator("#model input").press("Enter")
    expect(page.locator(".toast-body").first).to_contain_text("is not opened")
    expect(page.locator("#model input")).to_have_value("crosstalk-mini")
    page.wait_for_url("**model=crosstalk-mini*")
    assert len([body for body in asked if "etc" in body]) == 1
    expect(page.locator(".toast-body")).to_have_count(1)
    page.locator("#model input").click()
    page.get_by_role("option", name=re.compile("SmolVLM")).first.click()  # is not on this machine
    expect(page.locator(".toast-body").first).to_contain_text("crosstalk-mini stays")
    expect(page.locator("#model input")).to_have_value("crosstalk-mini")


def test_a_result_is_covered_until_a_guess_which_stays_through_the_press(page):
    opened(page, "/?tab=ask&example=fox-and-mushroom&question=Which+animal+is+this%3F")
    section = panel(page, ASK)
    expect(section.locator(".told")).to_be_attached(timeout=60_000)
    expect(section.locator(".told .sentence")).to_be_hidden()
    section.locator("[data-guess='all of them']").click()
    expect(section.locator(".told .sentence")).to_be_visible()
    told = section.locator(".prediction output")
    expect(told).to_have_text("You predicted “all of them”; measured: “none of them”.")
    before = section.locator(".told").get_attribute("data-run")
    section.locator(".run").click()
    expect(section.locator(f".told:not([data-run='{before}'])")).to_be_attached(timeout=60_000)
    expect(section.locator("progress")).to_have_count(0)
    expect(told).to_have_text("You predicted “all of them”; measured: “none of them”.")
    section.locator("[data-guess='some of them']").click()  # what is seen is no prediction
    expect(told).to_have_text("You predicted “some of them”.")
    ask(page, "Is there a fox in the picture?")
    expect(told).to_have_text("You predicted “some of them”, and so it is.", timeout=60_000)


def test_a_link_opens_what_it_names(page):
    opened(page, "/?checkpoint=naming&example=helicopter&question=Where%20is%20the%20house%3F")
    section = said(page, ASK, "The checkpoint naming")
    expect(page.locator("#question textarea")).to_have_value("Where is the house?")
    expect(section.locator(".asked")).to_have_text("Where is the house?")


@pytest.mark.parametrize(
    ("link", "left"),
    [
        ("/?tab=x&checkpoint=%3Cscript%3E&example=../../etc&model=no&k=x&row=99&set=../..&answer.options=%00&none.such=1"
         "&constructor=1&__theme=light", {"answer.options", "__theme"}),
        # settings of the first version's links, under their names of now
        ("/?tab=forgetting&section=none&scene=~~~&set=my-model&row=²&column=-1",
         {"tab", "all.set", "matrix.row", "matrix.column"}),
    ],
)
def test_a_link_with_nonsense_opens_the_page_and_leaves_the_address(page, link, left):
    opened(page, link)
    page.wait_for_function("asked => asked.every(key => new URL(location).searchParams.has(key))", arg=[*left])
    told = parse_qs(urlparse(page.url).query, keep_blank_values=True)
    shown = ("question", "bee-without-flower")  # what the page has put there itself
    assert {key for key, values in told.items() if key not in shown and values[0] not in shown} == left
    expect(page.locator("#checkpoint input")).to_have_value("base")
    expect(page.locator("#nav .rooms [aria-current=page]")).to_have_count(1)
    page.locator("#nav [data-go=ask]").click()
    said(page, ASK)


def test_the_tour_takes_five_steps(page):
    opened(page)
    page.locator("#tour").click()
    card, seen = page.locator("#tour-card"), []
    for _ in range(5):
        expect(card).to_be_visible()
        seen.append(page.evaluate("crosstalk.place()"))
        expect(panel(page, seen[-1]).locator(".told .sentence, .card.quiet").first).to_be_visible()
        card.locator("[data-tour='1']").click()
    expect(card).to_be_hidden()
    assert len(set(seen)) == 5


def test_on_a_phone_the_input_is_one_line_and_the_answer_is_in_view(page):
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page, "/?tab=ask&example=three-penguins")
    uncovered(page, ASK)
    said(page, ASK)
    line = page.locator("#bar-line")
    assert line.bounding_box()["height"] <= 72
    expect(page.locator("#picture")).to_be_hidden()
    page.locator("#bar-strip").click()
    expect(page.locator("#picture")).to_be_visible()
    ask(page, "How many penguins are there?")
    said(page, ASK, "3")
    expect(page.locator("#picture")).to_be_hidden()
    expect(panel(page, ASK).locator(".answer")).to_be_in_viewport()
