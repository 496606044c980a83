"""Own sets, wherever the page takes them: each is measured or refused in a sentence, and nothing leaves its folder."""

from pathlib import Path

import pytest

from tests.hostile.archives import ARCHIVES
from tests.hostile.visitor import live

_ESCAPED = (Path("/tmp/crosstalk-escaped.png"),)


@pytest.mark.parametrize("name", ARCHIVES)
def test_own_sets(visitor, served, name):
    sent = visitor.upload("<img src=x onerror=hostile()>.zip", ARCHIVES[name]())
    before = set(served.temporary.iterdir())
    for place in ("interference/sets", "embedding_space/own"):
        found = visitor.press(place, upload=sent, conditions=["misleading"])
        assert found.clear, (place, found.text[-300:])
        assert not live(found.data)
    assert not [p for p in served.temporary.iterdir() if p not in before and p.name.startswith("crosstalk-set")]
    assert not any(p.exists() for p in _ESCAPED)


_LISTS = ("markup", "surrogates", "image", "lines", "nested")


@pytest.mark.parametrize("name", [name for name in ARCHIVES if name.startswith(_LISTS)])
def test_own_lists_of_the_decoding_room(visitor, name):
    """The list and the picture are uploaded side by side."""
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(ARCHIVES[name]())) as archive:
        sent = [visitor.upload(n, archive.read(n)) for n in archive.namelist()]
    found = visitor.press("decoding/sets", upload=sent, compared=["vcd"])
    assert found.clear, found.text[-300:]
    assert not live(found.data)
