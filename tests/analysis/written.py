"""What a reader sees of a page's HTML."""

import re
from html import unescape


def written(html: str) -> str:
    """The text of ``html``: without tags, entities read, spaces plain."""
    return unescape(re.sub("<[^>]*>", "", html)).replace("\xa0", " ")
