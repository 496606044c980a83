"""What instruments read, as NumPy arrays. Axes of modalities follow ``Modality``."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ModalityMass:
    """Attention by modality, averaged over the queries of each modality.

    ``share`` ``[layers, batch, heads, query modality, key modality]`` sums to 1 over the last axis; NaN where
    ``queries`` ``[batch, query modality]``, the number of queries, is 0. ``keys`` ``[layers, batch, query
    modality, key modality]``: the mean number of keys that a query may attend to, for attention per key.
    ``layers``: indices of the layers.
    """

    share: np.ndarray
    keys: np.ndarray
    queries: np.ndarray
    layers: np.ndarray


@dataclass(frozen=True)
class QueryMass:
    """Attention by modality of single queries: chosen tokens of the prompt, then the answer's.

    ``share`` ``[layers, batch, heads, queries, key modality]`` sums to 1 over the last axis (0 for a padding
    token; less than 1 where pseudo-scores drain attention). ``keys`` ``[layers, batch, queries, key modality]``: how
    many keys the query may attend to. ``positions`` ``[batch, queries]``. ``layers``: indices of the layers.
    """

    share: np.ndarray
    keys: np.ndarray
    positions: np.ndarray
    layers: np.ndarray


@dataclass(frozen=True)
class Map:
    """``weights`` ``[batch, heads or 1, keys]`` of the query at ``position`` ``[batch]`` in ``layer``.

    Keys are all tokens up to that forward's end; those that the query may not attend to have 0.
    """

    weights: np.ndarray
    position: np.ndarray
    layer: int


@dataclass(frozen=True)
class Flowing:
    """Attention rollout: ``weights`` ``[batch, tokens]``, how much of each token up to the query at ``position``
    ``[batch]`` reaches its last state (later tokens have 0)."""

    weights: np.ndarray
    position: np.ndarray


@dataclass(frozen=True)
class Hidden:
    """``states`` ``[layers + 1, batch, tokens, d]`` of the tokens at ``positions`` ``[batch, tokens]``.

    As in transformers the first is the embedding and the last is the final norm's output; the others are what the
    next layer reads, so where features are added between layers (Qwen3-VL) they are in.
    """

    states: np.ndarray
    positions: np.ndarray


@dataclass(frozen=True)
class Lens:
    """``ids`` (int64) and ``logprobs`` (nats) ``[layers, batch, tokens, k]``, likeliest first; ``entropy`` (nats)
    ``[layers, batch, tokens]``; of the tokens at ``positions`` ``[batch, tokens]``."""

    ids: np.ndarray
    logprobs: np.ndarray
    entropy: np.ndarray
    positions: np.ndarray


@dataclass(frozen=True)
class Readings:
    """What the instruments of a recorder read; None for an instrument that was not asked for. float32.

    ``contributions`` are the rows weighted by the norms of values. Maps and rollouts are in the order they were asked
    for; a map of every layer is one map a layer.
    """

    mass: ModalityMass | None = None
    rows: QueryMass | None = None
    contributions: QueryMass | None = None
    maps: tuple[Map, ...] = ()
    rollouts: tuple[Flowing, ...] = ()
    hidden: Hidden | None = None
    lens: Lens | None = None
