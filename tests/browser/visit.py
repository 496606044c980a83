"""What tests do on the page, in the words of who uses it."""

import re

from playwright.sync_api import Locator, Page, expect


def panel(page: Page, place: str) -> Locator:
    """The section at ``place``, "room/section"."""
    return page.locator(f"#section-{place.replace('/', '-')}")


def opened(page: Page, link: str = "/") -> Page:
    """The page that has taken over what its link asks for."""
    page.goto(link)
    page.wait_for_function("window.crosstalk?.ready", timeout=60_000)
    return page


def uncovered(page: Page, place: str) -> Locator:
    """The section without a prediction in the way."""
    section = panel(page, place)
    plainly = section.locator(".plainly")
    if plainly.count() and plainly.is_visible():
        plainly.click()
    return section


def said(page: Page, place: str, text: str | re.Pattern = re.compile(r"\w")) -> Locator:
    """Wait until the section's headline is there, of the input as it stands, and says ``text``; and until nothing is
    under way there: what is drawn last may be drawn over what is being typed.
    """
    section = uncovered(page, place)
    expect(section.locator(".told:not(.older) .sentence")).to_contain_text(text, timeout=60_000)
    expect(section.locator("progress")).to_have_count(0, timeout=60_000)
    return section


def ask(page: Page, question: str) -> None:
    """Type a question and press Enter; what is shown then is of it, or dimmed."""
    box = page.locator("#question textarea")
    box.fill(question)
    box.press("Enter")
    page.wait_for_function("asked => crosstalk.input.question === asked", arg=question)


def choose(page: Page, dropdown: str, option: str | re.Pattern) -> None:
    """An option of one of the menus on the left."""
    page.locator(f"{dropdown} input").click()
    page.get_by_role("option", name=option).click()


class Held:
    """Requests to addresses like ``address``, kept from the network until they are let through."""

    def __init__(self, page: Page, address: str):
        self.page, self.routes, self.open = page, [], False
        page.route(re.compile(address), lambda route: route.continue_() if self.open else self.routes.append(route))

    def come(self, count: int = 1) -> None:
        """Wait until there are so many."""
        for _ in range(300):
            if len(self.routes) >= count:
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"{len(self.routes)} requests, not {count}")

    def let(self) -> None:
        """Let through the ones that have come, and all that will."""
        self.open = True
        for route in self.routes:
            route.continue_()


def saved(page: Page, section: Locator, kind: str) -> str:
    """The text of the file that Save hands over."""
    section.locator(".save summary").click()
    with page.expect_download() as waited:
        section.locator(f"[data-save={kind}]").click()
    return waited.value.path().read_text(encoding="utf-8")
