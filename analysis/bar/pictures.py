"""A visitor's picture on its way in."""

import gradio as gr

Upload = gr.FileData
"""Type of a file that an endpoint is sent; it arrives as a dictionary. Its default is None all the same: of a type with
``| None`` Gradio does not tell MCP clients that it is a file.
"""


def picture_input(**settings) -> gr.Image:
    """Where a visitor puts a picture; hands over the path of her file, unopened. ``settings`` as of ``gr.Image``.

    Gradio would try to read it before any handler is called; ``open_picture`` says what is wrong where it cannot. A
    handler may return another value for it, but neither ``gr.Image(...)`` nor ``gr.skip()``: of both Gradio makes a
    component which reads by itself again. This is no subclass, because Gradio writes a file beside the source of one.
    """
    part = gr.Image(type="filepath", sources=["upload", "webcam", "clipboard"], image_mode=None, **settings)
    part.preprocess = lambda payload: payload.path if payload else None
    return part
