"""Whatever a visitor uploads becomes plain RGB, or a clear message."""

import gradio as gr
import numpy as np
import pytest
from gradio.components.image import ImageData
from PIL import Image

from analysis.bar.pictures import picture_input
from models.errors import InputError
from models.images import LONGEST_SIDE, open_picture


def saved(tmp_path, image, name, **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def test_cmyk_jpeg_keeps_its_colour(tmp_path):
    found = open_picture(saved(tmp_path, Image.new("CMYK", (40, 30), (0, 255, 255, 0)), "red.jpg"))
    red, green, blue = found.getpixel((20, 15))
    assert (found.mode, found.size) == ("RGB", (40, 30))
    assert red > 150
    assert max(green, blue) < 90


def test_exif_rotation_is_applied(tmp_path):
    image = Image.new("RGB", (60, 40), "white")
    image.paste((255, 0, 0), (0, 0, 60, 10))  # a red band on top of the stored picture
    exif = Image.Exif()
    exif[274] = 6  # "turn clockwise to show"
    found = open_picture(saved(tmp_path, image, "turned.jpg", exif=exif, quality=95))
    assert found.size == (40, 60)
    assert found.getpixel((37, 30))[1] < 80  # the band is on the right now
    assert found.getpixel((10, 30))[1] > 200


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_becomes_white(tmp_path, mode):
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0)).convert(mode)
    options = {"transparency": image.getpixel((0, 0))} if mode == "P" else {}
    found = open_picture(saved(tmp_path, image, "clear.png", **options))
    assert found.getpixel((10, 10)) == (255, 255, 255)


def test_sixteen_bit_grey_keeps_its_range(tmp_path):
    values = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    found = np.array(open_picture(saved(tmp_path, Image.fromarray(values), "deep.png")))
    assert found.min() < 5
    assert found.max() > 250
    assert 120 < np.median(found) < 136


def test_large_photo_is_made_small(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (2400, 3600, 3), dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), "photo.jpg", quality=92)
    assert path.stat().st_size > 8_000_000
    assert max(open_picture(path).size) <= LONGEST_SIDE


def test_a_text_file_called_png_is_named_as_such(tmp_path):
    path = tmp_path / "fake.png"
    path.write_text("I am not a picture.")
    with pytest.raises(InputError, match="could not be read as a picture"):
        open_picture(path)


def test_truncated_and_empty_files(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    whole = saved(tmp_path, Image.fromarray(noise), "whole.png").read_bytes()
    for name, data in {"half.png": whole[: len(whole) // 2], "empty.png": b""}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="could not be read"):
            open_picture(tmp_path / name)


def test_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    path = saved(tmp_path, Image.new("1", (16_000, 16_000)), "bomb.png")
    assert path.stat().st_size < 1_000_000
    with pytest.raises(InputError, match="100 million"):
        open_picture(path)


def test_opening_twice_changes_nothing(tmp_path):
    image = open_picture(saved(tmp_path, Image.new("RGB", (30, 20), "teal"), "once.png"))
    again = open_picture(saved(tmp_path, image, "twice.png"))
    assert again.tobytes() == image.tobytes()


def test_a_visitors_file_is_handed_over_unopened(tmp_path):
    (tmp_path / "fake.png").write_text("I am not a picture.")
    with gr.Blocks():
        part = picture_input(label="Picture")
    sent = ImageData(path=str(tmp_path / "fake.png"), orig_name="fake.png")
    assert part.preprocess(sent) == sent.path and part.preprocess(None) is None
    assert part.get_block_name() == "image"
