"""A ViT's three charts (Dosovitskiy et al. 2021, figure 7): how far heads look, which positions are
alike, what patches are projected on.

What is a picture rather than a curve, a map of similarities or a filter, is a PNG inside the SVG,
transparent between its tiles; a value's colour goes from orange over pale to blue.

Shapes: L layers, H heads, N patches (R rows, S columns), C components, P side of a patch.
"""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt

from evaluators.report.charts import legend
from evaluators.report.svg import Axis, frame, line, linear, path, text, x_range, y_range
from evaluators.report.wording import MINUS

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
COLOURS = np.array([(176, 99, 26), (245, 246, 247), (31, 95, 139)], dtype=np.float32)
"""Of -1, 0 and 1; the style sheet's second and first colour on its panel."""
SIDE = 420  # of a chart's picture, in the viewBox's units
RESOLUTION = 1260  # of the picture itself, about


def distance_chart(distance_LH: Floats, uniform: float) -> str:
    """A dot a head, by layer; a line through the layers' means; a rule where looking at all patches
    alike would be; and what these mean.
    """
    depth, heads = distance_LH.shape
    step = max(1, -(-depth // 12))
    ticks = [(float(n), str(n)) for n in range(1, depth + 1) if depth <= 12 or n % step == 0]
    x = Axis("layer", 0.5, depth + 0.5, *x_range(), ticks)
    top = max(uniform, float(distance_LH.max()))
    y = linear("mean attention distance, pixels", [0, 1.06 * top], *y_range(), zero=True)
    level = y.place(uniform)
    marks = [line(x.start, level, x.end, level, "rule")]
    means = distance_LH.mean(axis=1)
    marks.append(path([(x.place(n + 1), y.place(m)) for n, m in enumerate(means)], "curve two"))
    for layer in range(depth):
        for head in range(heads):
            value = float(distance_LH[layer, head])
            tip = f"<title>layer {layer + 1}, head {head + 1}: {value:.1f} px</title>"
            at = f'cx="{x.place(layer + 1):.1f}" cy="{y.place(value):.1f}"'
            marks.append(f'<circle class="dot one" {at} r="4" fill-opacity="0.6">{tip}</circle>')
    alt = (
        f"Mean attention distance of {heads} heads in each of {depth} layers: "
        f"{means[0]:.1f} pixels on average in the first, {means[-1]:.1f} in the last; "
        f"{uniform:.1f} if all patches were looked at alike."
    )
    key = {"one": "a head", "two": "mean of the layer", "rule": "all patches alike"}
    return frame(x, y, marks, alt) + legend(key)


def similarity_chart(similarity_NN: Floats, grid: tuple[int, int]) -> str:
    """For each patch, at its place, a map of how alike its position is to each other's."""
    rows, columns = grid
    cell = max(1, RESOLUTION // (max(rows, columns) * (max(rows, columns) + 1)))
    maps = coloured(similarity_NN).reshape(rows * columns, rows, columns, 4)
    large = maps.repeat(cell, axis=1).repeat(cell, axis=2)
    alt = (
        f"Cosine of the position vectors of {rows} by {columns} patches, a map a patch; two "
        f"different patches have {_off_diagonal(similarity_NN):.2f} on average."
    )
    return _picture(tiled(large, columns, gap=cell), alt, bar=True)


def _off_diagonal(similarity_NN: Floats) -> float:
    others = ~np.eye(len(similarity_NN), dtype=bool)
    return float(similarity_NN[others].mean()) if others.any() else 1.0


def filter_chart(components_C3PP: Floats, share_C: Floats, columns: int = 7) -> str:
    """The components as pictures, grey where zero, each as bright as can be."""
    greatest = np.abs(components_C3PP).max(axis=(1, 2, 3), keepdims=True)
    scaled = 127.5 + 127.5 * components_C3PP / np.maximum(greatest, 1e-12)
    opaque = np.full((len(scaled), 1, *scaled.shape[2:]), 255.0)
    tiles = np.concatenate([scaled, opaque], axis=1).round().astype(np.uint8).transpose(0, 2, 3, 1)
    cell = max(1, RESOLUTION // (columns * (tiles.shape[1] + 1)))
    large = tiles.repeat(cell, axis=1).repeat(cell, axis=2)
    alt = (
        f"The first {len(tiles)} principal components of the patch filters, which explain "
        f"{share_C.sum():.0%} of their variance."
    )
    return _picture(tiled(large, columns, gap=cell), alt)


def coloured(values: Floats) -> Pixels:
    """RGBA (..., 4) of values in [-1, 1]."""
    place = (np.clip(values, -1, 1) + 1)[..., None]
    low = COLOURS[0] + place * (COLOURS[1] - COLOURS[0])
    high = COLOURS[1] + (place - 1) * (COLOURS[2] - COLOURS[1])
    colour = np.where(place < 1, low, high).round()
    opaque = np.full((*values.shape, 1), 255.0)
    return np.concatenate([colour, opaque], axis=-1).astype(np.uint8)


def tiled(tiles: Pixels, columns: int, gap: int) -> Pixels:
    """Tiles (C, P, Q, 4) side by side, `columns` in a row, transparent between them."""
    count, height, width, _ = tiles.shape
    rows = -(-count // columns)
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 4), np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def png_uri(pixels: Pixels) -> str:
    """A data URI of an RGBA picture, pixel for pixel."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(out, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def _picture(pixels: Pixels, alt: str, bar: bool = False) -> str:
    """An SVG of one picture, with the colours' key beside it if `bar`."""
    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    high, wide = height * scale, width * scale
    parts = [_image(png_uri(pixels), 0, 0, wide, high)]
    if bar:
        key = coloured(np.linspace(1, -1, 101, dtype=np.float32)[:, None])
        parts.append(_image(png_uri(key), wide + 10, 0, 10, high))
        for value, label in ((1, "1"), (0, "0"), (-1, MINUS + "1")):
            at = (1 - value) / 2 * high
            parts.append(text(wide + 24, min(max(at + 4, 10), high - 1), label, "tick"))
    whole = SIDE + (46 if bar else 0)  # however narrow the picture: a wide page must not stretch it
    return (
        f'<svg class="chart" viewBox="0 0 {whole:.1f} {high:.1f}" role="img" '
        f'aria-label="{alt}">{"".join(parts)}</svg>'
    )


def _image(uri: str, x: float, y: float, width: float, height: float) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    shown = 'preserveAspectRatio="none" style="image-rendering: pixelated"'
    return f'<image {place} {shown} href="{uri}"/>'
