import numpy as np
from PIL import Image, ImageDraw

from models.embedded.looks import outline, poster
from models.embedded.pictures import LOOKS, STYLES, TRAINED_STYLES, UNSEEN_STYLE, picture


def drawing():
    """A dark half beside a light one, on a transparent ground."""
    image = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.rectangle((5, 5, 19, 24), fill=(60, 20, 20, 255))
    draw.rectangle((20, 5, 34, 24), fill=(200, 220, 180, 255))
    return image


def test_an_outline_has_lines_where_colours_meet_and_end():
    found = np.asarray(outline(drawing()))
    ink = found[..., 0] < 100
    assert set(np.unique(found[..., :3])) == {40, 252}
    assert ink[10:20, 19].all() and ink[10:20, 4].all() and ink[10:20, 34].all()
    assert not ink[10:20, 8:17].any() and not ink[10:20, 23:32].any()
    assert np.array_equal(found[..., 3], np.asarray(drawing())[..., 3])


def test_a_poster_has_two_colours_further_apart_than_what_they_stand_for():
    found = np.asarray(poster(drawing()))
    dark, light = found[10, 10], found[10, 30]
    assert {tuple(c) for c in found[5:25, 5:35].reshape(-1, 4)} == {tuple(dark), tuple(light)}
    assert (dark[:3] < (60, 20, 20)).all() and (light[:3] > (200, 220, 180)).all()
    assert np.array_equal(found[..., 3], np.asarray(drawing())[..., 3])


def test_rendered_looks_are_of_the_same_drawings_and_the_unseen_style_is_none_of_them():
    assert set(TRAINED_STYLES) < set(LOOKS) and UNSEEN_STYLE not in LOOKS and len(LOOKS) == 4
    for look in set(LOOKS) - set(STYLES):
        found = picture("bee", look)
        assert any(
            np.array_equal(np.asarray(found)[..., 3], np.asarray(picture("bee", s))[..., 3]) for s in TRAINED_STYLES
        )
        assert np.array_equal(np.asarray(found), np.asarray(picture("bee", look)))
