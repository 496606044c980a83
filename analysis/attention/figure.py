"""How attention looks: over the answer's words, by layer and head, on the picture, and what changes when it is cut."""

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from analysis import charts
from analysis.charts import ANSWER, DASHES, IMAGE, NEUTRAL, SERIES, TEXT, WRONG, figure, over_picture, tint
from analysis.statistics import Estimate
from analysis.table import Head, Table
from analysis.wording import estimate

if TYPE_CHECKING:
    from analysis.attention.measure import Attention
    from analysis.attention.probe import Carried, WhatIf
    from analysis.attention.sample import Across, Trained
    from analysis.attention.where import Looked, Where

KINDS = (
    ("image", "the picture", IMAGE, "solid"),
    ("question", "the question", TEXT, "dash"),
    ("instruction", "the template", NEUTRAL, "dot"),
    ("answer", "its earlier answer", ANSWER, "dashdot"),
)
"""Kinds of tokens in the order of every axis of kinds: name, what it is called, colour, dash."""
_LINKS = {
    "text-to-image": (IMAGE, "circle"),
    "image-to-image": (SERIES[5], "square"),
    "image-to-text": (TEXT, "diamond"),
    "text-to-text": (NEUTRAL, "x"),
}
_ARMS = ("plain attention", "MODA")
_READABLE = 12  # heads whose cells have room for a number
_STRONG = 0.8  # opacity of the largest share
_DARK = 0.55  # opacity of the mask where nothing is looked at
_MASK = 96  # pixels of the mask's side
_CLEAR = 0.05  # nats: a smaller change of a log-probability is called none
_TICKS = 24  # words that an axis has room for


def layer_axis(layers: int, what: str = "Layer") -> dict:
    """A horizontal axis of layers, counted from 1."""
    return {"title": what, "dtick": max(1, round(layers / 8)), "tick0": 1, "range": [0.8, layers + 0.2]}


def words(found: "Looked", uri: str | None) -> str:
    """The picture (``uri``), lit where the chosen word looks, beside the answer: each word is a button with its
    share of attention on the picture, and what is not there is marked."""
    of = found.attention
    if not of.written:
        return '<div class="card quiet">The model answers nothing.</div>'
    chosen, told, number, about = of.written_word, [], "", "choose it"
    most, last = max(max(w.image for w in of.words), 0.01), max(t.position for t in of.tokens if t.kind != "answer")
    for word in of.words:
        if of.picture:
            number = f"<small>{100 * word.image:.0f} %</small>"
            about = f"{100 * word.image:.0f} % of the attention is on the picture"
            about += ", where this is not" if word.invented else ""
        # the place of the token that writes the word, and what it writes
        token = escape(f"{last + word.first}:{of.written[word.first].strip()}".replace('"', ""))
        told.append(
            f'<button type="button" class="word{" invented" if word.invented else ""}" '
            f'aria-pressed="{str(word == chosen).lower()}" style="--a:{word.image / most if of.picture else 0:.2f}" '
            f'data-set=\'{{"token": "{token}"}}\' title="{about}"><span>{escape(word.text) or "␣"}</span>'
            f"{number}</button>"
        )
    shaded = ""  # the picture, dark where the word does not look
    if uri and found.where.patches:
        shaded = (
            f'<div class="shaded"><img src="{uri}" alt="The picture, dark where this word does not look">'
            f'<img src="{_mask(found.where)}" alt=""></div>'
        )
    key = "Under each word: how much of the attention is on the picture while it is written. Choose one: where it looks"
    key += " is lit, and its layers are drawn below." if shaded else ", by layer, is drawn below."
    if any(w.invented for w in of.words):
        key = f"<span class='invented'>Wavy</span>: not in the picture. {key}"
    return (
        f'<div class="card looks">{shaded}<div><p class="written" role="group" aria-label="The answer, word by word">'
        f'{"".join(told)}</p><p class="key">{key if of.picture else "Choose a word: its layers are drawn below."}</p>'
        "</div></div>"
    )


def _mask(found: "Where") -> str:
    """A ``data:`` address of a picture that darkens what gets little attention an area: nothing is over the place that
    gets most. Grids that lie over each other are added up."""
    density = np.zeros((_MASK, _MASK))
    for patches in found.patches:
        left, top, right, bottom = (round(_MASK * edge) for edge in patches.box)
        each = patches.density
        down, across = (
            np.arange(count) * size // max(count, 1)
            for count, size in zip((bottom - top, right - left), each.shape, strict=True)
        )
        density[top:bottom, left:right] += each[down][:, across]
    dark = _DARK * (1 - density / (density.max() or 1))
    shade = np.zeros((_MASK, _MASK, 2), dtype=np.uint8)
    shade[..., 1] = np.round(255 * dark)
    out = io.BytesIO()
    Image.fromarray(shade, "LA").save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def layers(found: "Attention", per_key: bool = False) -> go.Figure:
    """Attention of the chosen token to each kind of token by layer, %: all of it, or what one key gets (log axis)."""
    values = 100 * (found.per_key if per_key else found.mass)
    places = np.arange(1, found.layers + 1)
    types = found.layer_types or ("",) * found.layers
    lines = []
    for k, (kind, called, colour, dash) in enumerate(KINDS):
        if not found.keys[:, k].any():
            continue
        shown = np.where(values[:, k] > 0, values[:, k], np.nan) if per_key else values[:, k]
        lines.append(go.Scatter(
            x=places, y=shown, name=f"{called} ({found.keys[:, k].max():.0f} tokens)", mode="lines+markers",
            line={"color": colour, "width": 3 if kind == "image" else 2, "dash": dash}, marker={"size": 8},
            customdata=np.stack([found.keys[:, k].astype(object), np.array(types, dtype=object)], 1),
            hovertemplate="layer %{x}: %{y:.3g} % on %{customdata[0]:.0f} tokens %{customdata[1]}",
        ))
    title = "Attention per token, % (log)" if per_key else "Share of attention, %"
    word = found.written_word
    who = f"while “{_short(word.text)}” is written" if word else f"of the token “{_short(found.token)}”"
    return figure(
        310, *lines, showlegend=True, margin={"l": 8, "r": 16, "t": 60, "b": 8},
        xaxis=layer_axis(found.layers, f"Layer, {who}"),
        yaxis={"title": title, **({"type": "log"} if per_key else {"range": [-2, 102]})},
    )


def _short(text: str) -> str:
    text = text.strip() or "␣"
    return escape(text if len(text) <= 16 else f"{text[:15]}…")


def by_word(found: "Attention") -> go.Figure | None:
    """Share of attention on the picture while each word is written, %: each layer thin, their mean thick.

    None where there are no two words to compare, or no picture.
    """
    said = found.words
    if len(said) < 2 or not found.picture:
        return None
    image, places = 100 * found.written_share[:, :, 0], list(range(1, len(said) + 1))
    values = np.stack([image[:, w.first : w.last + 1].mean(1) for w in said], 1)
    thin = [
        go.Scatter(
            x=places, y=row, mode="lines+markers", name=f"layer {i + 1}", showlegend=False, opacity=0.5,
            line={"color": NEUTRAL, "width": 1}, marker={"size": 4},
            hovertemplate=f"layer {i + 1}, word %{{x}}: %{{y:.1f}} %<extra></extra>",
        )
        for i, row in enumerate(values)
    ]
    mean = values.mean(0)
    thick = go.Scatter(
        x=places, y=mean, mode="lines+markers", name="mean of layers", line={"color": IMAGE, "width": 3},
        marker={"size": 8}, customdata=[escape(w.text) for w in said], hovertemplate="“%{customdata}”: %{y:.1f} %",
    )
    wrong = [i for i, w in enumerate(said) if w.invented]
    marks = go.Scatter(
        x=[places[i] for i in wrong], y=[mean[i] for i in wrong], mode="markers", name="named, but not there",
        marker={"color": WRONG, "size": 14, "symbol": "x"}, hoverinfo="skip",
    )
    every = -(-len(places) // _TICKS)
    return figure(
        340, *thin, thick, *([marks] if wrong else []), showlegend=True,
        xaxis={
            "title": "Word of the answer", "tickangle": -60 if len(places) > 6 else 0,
            "tickvals": places[::every], "ticktext": [_short(w.text) for w in said[::every]],
        },
        yaxis={"title": "Attention to the picture, %", "rangemode": "tozero"},
    )


def disparity(found: "Attention") -> go.Figure | None:
    """How far apart self- and cross-modal attention are in each layer, %: as shares, and per key token.

    None where only one modality can be attended to.
    """
    places = np.arange(1, found.layers + 1)
    bars = []
    for name, per_key, colour in (("share of attention", False, NEUTRAL), ("per token", True, IMAGE)):
        values = 100 * found.disparity(per_key)
        if np.isnan(values).all():
            return None
        bars.append(go.Bar(x=places, y=values, name=name, marker_color=colour, hovertemplate="layer %{x}: %{y:.0f} %"))
    return figure(
        300, *bars, barmode="group", showlegend=True,
        xaxis={**layer_axis(found.layers), "range": [0.4, found.layers + 0.6]},
        yaxis={"title": "Disparity, %", "range": [0, 102]},
    )


def decay(found: "Attention", warning: str = "") -> go.Figure | None:
    """What one key gets in each layer, %, for each link of the prompt (log axis), with the fitted exponential; a
    ``warning`` stands first. None without a picture."""
    if not found.picture:
        return None
    places, drawn = np.arange(1, found.layers + 1), []
    for link in found.links:
        colour, symbol = _LINKS[link.name]
        if not np.nan_to_num(link.score).any():
            continue
        shown = np.where(link.score > 0, link.score, np.nan)
        drawn.append(go.Scatter(
            x=places, y=100 * shown, name=link.name, mode="markers", legendgroup=link.name,
            marker={"color": colour, "size": 10, "symbol": symbol}, hovertemplate="layer %{x}: %{y:.3g} % a token",
        ))
        if link.decay.gamma.known:
            drawn.append(go.Scatter(
                x=places, y=100 * link.decay.at(places), mode="lines", legendgroup=link.name, showlegend=False,
                line={"color": colour, "width": 2, "dash": "dash"}, hoverinfo="skip",
            ))
    told = {"title": {"text": warning, "font": {"size": 15, "color": WRONG}, "x": 0, "y": 0.98}} if warning else {}
    return figure(
        340, *drawn, showlegend=True, margin={"l": 8, "r": 16, "t": 96 if warning else 76, "b": 8}, **told,
        xaxis=layer_axis(found.layers), yaxis={"title": "Attention per token, % (log)", "type": "log"},
    )


def choices(found: "Attention") -> str:
    """The tokens of the prompt as buttons: the words that may look, and the patches of a picture that has few."""
    texts, image = [], []
    for token in found.tokens:
        if token.kind != "answer":
            text = escape(token.text.strip())
            (image if token.kind == "image" else texts).append(
                f'<button type="button" aria-pressed="{str(token.position == found.position).lower()}" '
                f'data-to="layers" data-set=\'{{"token": "{token.position}:{text.replace(chr(34), "")}"}}\'>'
                f"{text or '␣'}</button>"
            )
    patches = f"<p class='key'>A patch of the picture:</p><div class='chips'>{''.join(image)}</div>" if image else ""
    return (
        "<p class='key'>A piece of the prompt, the template's included. The last one writes the first word.</p>"
        f"<div class='chips'>{''.join(texts)}</div>{patches}"
    )


def heads(found: "Attention", layer: int = 0, head: int = 0, mode: str = "raw") -> str:
    """Layer by head: the share of attention on the picture, as a grid of buttons; one is chosen (0: none).

    With the mode "value_norm" keys are weighted by the norms of their values. The chosen cell, and the steps to its
    neighbours below, are what the Tab key stops at: a cell each would be too many.
    """
    share = (found.contribution if mode == "value_norm" else found.share)[:, :, 0]
    most, wide = float(share.max()) or 1.0, found.heads > _READABLE
    also = ', "attention": "raw"' if mode == "rollout" else ""  # a single head is no part of a rollout
    rows = [
        "<span></span>" + "".join(f"<span>{h + 1 if not wide or h % 4 == 3 else ''}</span>" for h in range(found.heads))
    ]
    for i in range(found.layers):
        line = [f"<span>{i + 1}</span>"]
        for j in range(found.heads):
            chosen = (i + 1, j + 1) == (layer, head)
            line.append(
                f'<button type="button" data-set=\'{{"spot": "{i + 1},{j + 1}"{also}}}\''
                f'{" class=chosen" if chosen else " tabindex=-1"} style="--a:{share[i, j] / most:.2f}" '
                f'title="layer {i + 1}, head {j + 1}: {100 * share[i, j]:.1f} % on the picture" aria-label="layer '
                f'{i + 1}, head {j + 1}: {100 * share[i, j]:.0f} % of its attention is on the picture">'
                f"{'' if wide else f'{100 * share[i, j]:.0f}'}</button>"
            )
        rows.append("".join(line))
    columns, steps = f"grid-template-columns:2em repeat({found.heads},minmax(0,1fr))", ""
    if layer:
        there = (
            ("‹ layer", layer - 1, head), ("layer ›", layer + 1, head), ("‹ head", layer, head - 1),
            ("head ›", layer, head + 1), (f"all heads of layer {layer}", layer, 0),
        )  # fmt: skip
        buttons = "".join(
            f'<button type="button" data-set=\'{{"spot": "{to},{of}"{also}}}\' '
            f'aria-label="layer {to}, {f"head {of}" if of else "all heads"}">{title}</button>'
            for title, to, of in there
            if 1 <= to <= found.layers and 0 <= of <= found.heads and (to, of) != (layer, head)
        )
        steps = f'<p class="chips steps" role="group" aria-label="Another layer or head">{buttons}</p>'
    return (
        f'<div class="card"><div class="heads{" wide" if wide else ""}" style="{columns}" '
        f'role="group" aria-label="Attention to the picture by layer and head">{"".join(rows)}</div>'
        f'{steps}<p class="key">Rows: layers. Columns: heads. In each: the share of its attention on the picture, in '
        "%. Choose one to see where it looks.</p></div>"
    )


def overlay(found: "Where", uri: str | None) -> go.Figure:
    """The picture (``uri``), dark where no attention goes; each patch tells its share when it is pointed at."""
    if not found.patches:
        why = "The picture's tokens have no known places" if found.size else "No picture, so there are no patches"
        return charts.empty(why, 160)
    most = max(float(p.density.max()) for p in found.patches) or 1.0
    seen = 0 if uri else _STRONG  # over a picture the mask shows it, and cells are there to be pointed at
    traces = [
        go.Heatmap(
            z=p.density, **charts.cells(p.box, *p.values.shape), zmin=0, zmax=most, showscale=False,
            colorscale=[[0, tint(IMAGE, 0)], [1, tint(IMAGE, seen)]], customdata=100 * p.values,
            hovertemplate="%{customdata:.2f} % of the attention<extra></extra>",
        )
        for p in found.patches
    ]
    drawn = over_picture(330, traces, uri, found.size)
    if uri:
        # of two pictures at one place in one layer Plotly draws one
        drawn.add_layout_image(drawn.layout.images[0], source=_mask(found), layer="above")
    return drawn


def tokens(found: "Where") -> str:
    """All tokens in their order, the picture as one, each shaded by its share of the attention; numbers on pointing."""
    most = max(float(found.weights.max(initial=0.0)), found.image) or 1.0
    parts = [
        (word.text.strip() or "␣", float(share), NEUTRAL, word.position == found.position)
        for word, share in zip(found.words, found.weights, strict=True)
    ]
    if found.size:
        before = sum(word.position <= found.picture_at for word in found.words)
        parts.insert(before, ("the picture", found.image, IMAGE, False))
    spans = [
        f'<dfn class="term" tabindex="0" style="background:{tint(colour, _STRONG * share / most)};'
        f'{"outline:2px solid var(--text);" if own else ""}border-radius:4px;padding:2px 4px">{escape(text)}'
        f'<span role="tooltip">{100 * share:.1f} % of the attention</span></dfn>'
        for text, share, colour, own in parts
    ]
    return (
        f'<div class="card"><p class="attributed" style="line-height:2.1">{" ".join(spans)}</p><p class="key">'
        "Grey: text tokens, the template's included. Blue: the picture as a whole. The darkest is the largest share; "
        "point at one, or tap it, for its number.</p></div>"
    )


def carried(found: "Carried") -> go.Figure:
    """Probability of the target while attention to the picture is cut in a window of layers, %, against where."""
    of = "Probability per token, %" if found.tokens > 1 else f"Probability of “{_short(found.target)}”, %"
    middle = found.first + (found.width - 1) / 2
    values = 100 * found.chance(found.cut)
    spans = [f"{f} to {f + found.width - 1}" if found.width > 1 else str(f) for f in found.first]
    bars = go.Bar(
        x=middle, y=values, name="cut in these layers", customdata=spans, width=0.8, showlegend=False,
        marker_color=[WRONG if lost > _CLEAR else NEUTRAL for lost in found.lost],
        text=[f"{v:.0f} %" for v in values] if len(values) <= _READABLE else None, textposition="auto",
        insidetextanchor="middle", insidetextfont={"color": "#000"},
        hovertemplate="cut in layers %{customdata}: %{y:.1f} %<extra></extra>", cliponaxis=False,
    )
    lines = [
        go.Scatter(
            x=[0.4, found.layers + 0.6], y=[100 * found.chance(level)] * 2, mode="lines", name=name, hoverinfo="skip",
            line={"color": colour, "dash": dash, "width": 2},
        )
        for name, level, colour, dash in (
            ("nothing is cut", found.plain, ANSWER, "solid"), ("cut in all layers", found.without, IMAGE, "dash"),
        )
    ]
    return figure(
        320, bars, *lines, showlegend=True,
        xaxis={**layer_axis(found.layers, "Layers without the picture"), "range": [0.4, found.layers + 0.6]},
        yaxis={"title": of, "range": [0, 112], "tickvals": [0, 25, 50, 75, 100]},
    )


def scaled(found: "Carried") -> go.Figure:
    """Probability of the target, %, against the weight of attention to the picture in all layers."""
    of = "Probability per token, %" if found.tokens > 1 else f"Probability of “{_short(found.target)}”, %"
    line = go.Scatter(
        x=found.weights, y=100 * found.chance(found.scaled), mode="lines+markers", line={"color": IMAGE, "width": 3},
        marker={"size": 9}, hovertemplate="× %{x}: %{y:.1f} %<extra></extra>",
    )
    return figure(
        300, line, xaxis={"title": "Times the attention to the picture, in all layers"},
        yaxis={"title": of, "range": [0, 102]},
    )


def what_if(found: "WhatIf") -> go.Figure:
    """Attention to the picture by layer when the answer begins, before and after the change, %."""
    looks = {"as it is": found.before.mass[:, 0], "changed": found.after.mass[:, 0]}
    return compared(looks, "Attention to the picture, %")


def what_if_links(found: "WhatIf") -> go.Figure:
    """What one image token gets from text tokens of the prompt by layer, before and after, %."""
    sides = {"as it is": found.before, "changed": found.after}
    curves = {name: side.link("text-to-image").score for name, side in sides.items()}
    return compared(curves, "Text to picture, % per token")


def answers(found: "WhatIf") -> str:
    """Both answers, one above the other."""
    lines = "".join(
        f"<tr><th scope='row'>{name}</th><td>{escape(said) or '<i>nothing</i>'}</td></tr>"
        for name, said in (("As it is", found.before.answer), ("Changed", found.after.answer))
    )
    return f'<div class="card"><table class="plain"><tbody>{lines}</tbody></table></div>'


def compared(curves: dict[str, np.ndarray], what: str, spread: dict[str, tuple] | None = None) -> go.Figure:
    """One line a name over layers, %; ``curves`` are shares 0 to 1 ``[layers]``, ``spread`` their intervals."""
    colours = (IMAGE, TEXT, ANSWER, *SERIES[3:])
    lines = []
    for i, (name, values) in enumerate(curves.items()):
        bars = None
        if spread:
            low, high = spread[name]
            bars = {"type": "data", "array": 100 * (high - values), "arrayminus": 100 * (values - low), "width": 5}
        lines.append(go.Scatter(
            x=np.arange(1, len(values) + 1), y=100 * values, name=escape(name), mode="lines+markers", error_y=bars,
            line={"color": colours[i % len(colours)], "width": 2.5, "dash": DASHES[i // 2 % len(DASHES)]},
            marker={"size": 8}, hovertemplate="layer %{x}: %{y:.1f} %",
        ))
    count = max(map(len, curves.values()))
    rows = -(-len(curves) // 3)
    return figure(
        290 + 22 * rows, *lines, showlegend=True, margin={"l": 8, "r": 16, "t": 24 + 22 * rows, "b": 8},
        xaxis=layer_axis(count), yaxis={"title": what, "rangemode": "tozero"},
    )


def across(found: "Across") -> go.Figure:
    """Share of attention on the picture of every checkpoint when it begins to answer, mean of layers, %, and what it
    begins with."""
    each, places = 100 * found.share.mean(1), list(range(len(found.checkpoints)))
    bars = go.Bar(
        x=each, y=places, orientation="h", marker_color=IMAGE, cliponaxis=False, textposition="auto",
        text=[f"“{_short(b)}”, {v:.0f} %" for v, b in zip(each, found.begins, strict=True)],
        insidetextanchor="start", insidetextfont={"color": "#fff"},
        customdata=[escape(n) for n in found.checkpoints], hovertemplate="%{customdata}: %{x:.1f} %<extra></extra>",
    )
    return figure(
        70 + 32 * len(each), bars, bargap=0.25, margin={"l": 8, "r": 16, "t": 8, "b": 8},
        xaxis={"title": "Attention to the picture, %", "range": [0, max(40, 1.05 * each.max())]},
        yaxis={"tickvals": places, "ticktext": [_short(n) for n in found.checkpoints], "autorange": "reversed"},
    )


def across_layers(found: "Across") -> go.Figure:
    """The same in each layer, a line for each checkpoint."""
    return compared(dict(zip(found.checkpoints, found.share, strict=True)), "Attention to the picture, %")


def trained_accuracy(found: "Trained") -> go.Figure:
    """Accuracy of both arms by task, %: mean of seeds, bars from the lowest to the highest seed."""
    bars = []
    for a, (name, colour) in enumerate(zip(_ARMS, (NEUTRAL, IMAGE), strict=True)):
        values = 100 * found.accuracy[a].mean(0)
        low, high = 100 * found.accuracy[a].min(0), 100 * found.accuracy[a].max(0)
        bars.append(go.Bar(
            x=found.tasks, y=values, name=name, marker_color=colour, hovertemplate="%{x}: %{y:.0f} %",
            error_y={"type": "data", "array": high - values, "arrayminus": values - low},
        ))
    return figure(
        330, *bars, barmode="group", showlegend=True,
        xaxis={"title": f"Task ({min(found.n)} items each)", "tickangle": -40},
        yaxis={"title": "Right, %", "range": [0, 102]},
    )


def trained_attention(found: "Trained") -> go.Figure:
    """Attention to the picture by layer in both arms, %: mean of seeds, bars from the lowest to the highest seed."""
    curves = {name: found.image[a].mean(0) for a, name in enumerate(_ARMS)}
    spread = {name: (found.image[a].min(0), found.image[a].max(0)) for a, name in enumerate(_ARMS)}
    return compared(curves, "Attention to the picture, %", spread)


def arms_table(found: "Trained") -> Table:
    """Both arms: accuracy by task with the paired difference, attention to the picture, disparity, decay."""
    gain_of = Head("Difference", unit="points", sign=True, digits=1)
    rows = []
    for i, (task, gain) in enumerate(zip((*found.tasks, "all"), found.gains, strict=True)):
        arms = [found.accuracy[a].mean(1) if task == "all" else found.accuracy[a][:, i] for a in range(2)]
        rows.append([f"right, {task}", *map(_seeds, arms), gain])
    named = {f"attention to the picture, layer {i + 1}": found.image[:, :, i] for i in range(found.image.shape[2])}
    named |= {"disparity of shares": found.apart, "disparity per token": found.apart_per_key}
    rows += [[name, *map(_seeds, values), None] for name, values in named.items()]
    for link, values in found.gamma.items():
        rows.append([f"factor from layer to layer (γ), {link}", *(_seeds(v, 1, 2, "") for v in values), None])
    return Table(["", "Plain attention", "MODA", gain_of], rows)


def trained_table(found: "Trained") -> str:
    """The same on the page."""
    return (
        f'<div class="card">{arms_table(found).html()}<p class="key">Brackets behind an arm: lowest to highest of '
        f"{len(found.seeds)} seeds; behind a difference: 95 % over items.</p></div>"
    )


def _seeds(values: np.ndarray, times: float = 100, digits: int = 1, unit: str = " %") -> str:
    """The mean over seeds, and the lowest and highest of several."""
    ends = (float(values.min()), float(values.max())) if len(values) > 1 else ()
    return estimate(Estimate(float(values.mean()), *ends), digits, times=times, unit=unit)
