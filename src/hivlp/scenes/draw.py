"""Draws a described scene: the background, then every thing from far to near, then the weather."""

from __future__ import annotations

import random

from PIL import Image

from hivlp.scenes.backgrounds import Canvas, finish, paint
from hivlp.scenes.spec import Box, Group, SceneSpec
from hivlp.scenes.things import sprite
from hivlp.scenes.things.pen import RGB, mix
from hivlp.scenes.vocabulary import COLOURS

_Sprite = tuple[Image.Image, Image.Image]


def draw(spec: SceneSpec, size: int) -> Image.Image:
    """The scene as an RGB picture of ``size`` pixels a side."""
    # Edges are smoothed by drawing larger and averaging; small pictures need it most and cost least.
    factor = 2 if size > 100 else 3
    look = random.Random(spec.look)
    kinds = frozenset(group.kind for group in spec.groups)
    canvas = Canvas(size * factor, spec.light, kinds, look)
    paint(canvas, spec.setting)
    line = max(1, round(size * factor * 0.0042))
    things = [
        (group, box, mirrored, shade)
        for group in spec.groups
        for shade in (_shade(group, look),)
        for box, mirrored in zip(group.boxes, group.mirrored, strict=True)
    ]
    ready: dict[tuple[object, ...], _Sprite] = {}
    for group, box, mirrored, shade in sorted(things, key=lambda thing: thing[1][3]):
        _put(canvas, group, box, mirrored, shade, line, ready)
    finish(canvas, spec.setting)
    return canvas.image.reduce(factor)


def _shade(group: Group, look: random.Random) -> RGB:
    """The group's colour, a little lighter or darker but never another colour."""
    colour, step = COLOURS[group.colour], look.uniform(-0.08, 0.08)
    return mix(colour, (255, 255, 255) if step > 0 else (0, 0, 0), abs(step))


def _put(
    canvas: Canvas,
    group: Group,
    box: Box,
    mirrored: bool,
    shade: RGB,
    line: int,
    ready: dict[tuple[object, ...], _Sprite],
) -> None:
    k = canvas.k
    width, height = round((box[2] - box[0]) * k), round((box[3] - box[1]) * k)
    key = (group.kind, shade, width, height, mirrored)
    if key not in ready:
        picture, mask = sprite(group.kind, shade, width, height, line)
        if mirrored:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            mask = mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        ready[key] = picture, mask
    picture, mask = ready[key]
    corner = round(box[0] * k), round(box[1] * k)
    if group.zone in ("ground", "path", "water"):
        _shadow(canvas, box, on_water=group.zone == "water")
    canvas.image.paste(picture, corner, mask)


def _shadow(canvas: Canvas, box: Box, *, on_water: bool) -> None:
    """A flat ellipse at the foot: darker on the ground, lighter where a hull parts the water."""
    left, _, right, bottom = box
    k, side = canvas.k, canvas.side
    middle, foot = (left + right) / 2, bottom - 3
    x, y = min(side - 1, round(middle * k)), min(side - 1, round((bottom + 4) * k))
    under = canvas.image.getpixel((x, y))
    assert isinstance(under, tuple)
    ground: RGB = (int(under[0]), int(under[1]), int(under[2]))
    colour = mix(ground, (255, 255, 255), 0.34) if on_water else mix(ground, (22, 18, 50), 0.3)
    canvas.oval(colour, middle, foot, (right - left) * 0.53, 13)
