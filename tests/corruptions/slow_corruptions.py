"""Slow references: each corruption on one image of float64, after its definition.

`image` is (channels, height, width); `key` draws for its row alone; the last argument is the parameter.
Below, the parameters at severities 1 to 5 as published for images of 32, 64, 224 and 299 pixels: from the scripts that
made the data sets of Hendrycks & Dietterich (2019), written down here apart from the code.
"""

import colorsys
import math
from fractions import Fraction
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from scipy import ndimage, stats

from demur.corruptions.weather import textures

GREY = np.array([0.299, 0.587, 0.114])


def uniform(key, name, *shape):
    return key.uniform(torch.zeros(1, *shape), name)[0].double().numpy()


def normal(key, name, *shape):
    return key.normal(torch.zeros(1, *shape), name)[0].double().numpy()


def luminance(image):
    return np.tensordot(GREY, image, 1) if len(image) == 3 else image.mean(axis=0)


def blurred(image, sigma):
    return np.stack([ndimage.gaussian_filter(plane, sigma, mode="nearest", truncate=4) for plane in image])


def gaussian_noise(image, key, sigma):
    return np.clip(image + sigma * normal(key, "gaussian_noise", *image.shape), 0, 1)


def speckle_noise(image, key, sigma):
    return np.clip(image * (1 + sigma * normal(key, "speckle_noise", *image.shape)), 0, 1)


def shot_noise(image, key, rate):
    level = np.floor(image * 255 + 1e-4)
    counts = stats.poisson.ppf(uniform(key, "shot_noise", *image.shape), level / 255 * rate)
    left = np.maximum(image - level / 255, 0) * rate
    if (left > 1e-6 * rate).any():
        counts += stats.poisson.ppf(uniform(key, "shot_noise left", *image.shape), left)
    return np.clip(counts / rate, 0, 1)


def impulse_noise(image, key, share):
    drawn = uniform(key, "impulse_noise", *image.shape)
    return np.where(drawn < share / 2, 0, np.where(drawn >= 1 - share / 2, 1, image))


def salt_and_pepper(image, key, share):
    drawn = uniform(key, "salt_and_pepper", 1, *image.shape[1:])
    return np.where(drawn < share / 2, 0, np.where(drawn >= 1 - share / 2, 1, image))


def gaussian_blur(image, key, sigma):
    return blurred(image, sigma)


def low_light(image, key, factor):
    return image * factor


def defocus_blur(image, key, parameter):
    radius, softening = parameter
    reach, small = (8, 1) if radius <= 8 else (int(radius), 2)
    down, right = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = (down**2 + right**2 <= radius**2).astype(float)
    soft = np.exp(-(np.arange(-small, small + 1) ** 2) / (2 * softening**2))
    for axis in (0, 1):
        disk = ndimage.correlate1d(disk, soft / soft.sum(), axis=axis, mode="mirror")
    return np.stack([ndimage.correlate(plane, disk / disk.sum(), mode="mirror") for plane in image])


def glass_blur(image, key, parameter, *, as_published=False):
    sigma, farthest, rounds = parameter
    _, height, width = image.shape
    chance = uniform(key, "glass_blur", rounds, height, width)
    image = blurred(image, sigma)
    for turn in range(rounds):
        for row in range(height - farthest, farthest, -1):
            for column in range(width - farthest, farthest, -1):
                down, right = divmod(int(chance[turn, row, column] * (2 * farthest) ** 2), 2 * farthest)
                there, across = row + down - farthest, column + right - farthest
                here = image[:, row, column].copy()
                image[:, row, column] = image[:, there, across]
                if not as_published:
                    image[:, there, across] = here
    return blurred(image, sigma)


def smeared(plane, radius, sigma, angle):
    shares = [math.exp(-(step**2) / (2 * sigma**2)) for step in range(2 * radius + 1)]
    rows, columns = np.indices(plane.shape)
    out = np.zeros_like(plane)
    for step, share in enumerate(shares):
        down = np.clip(rows + math.ceil(step * math.sin(math.radians(angle)) - 0.5), 0, plane.shape[0] - 1)
        right = np.clip(columns + math.ceil(step * math.cos(math.radians(angle)) - 0.5), 0, plane.shape[1] - 1)
        out += share / sum(shares) * plane[down, right]
    return out


def motion_blur(image, key, parameter):
    angle = 90 * uniform(key, "motion_blur", 1)[0] - 45
    return np.stack([smeared(plane, *parameter, angle) for plane in image])


def enlarged(plane, factor):
    rows, columns = (math.ceil(side / factor) for side in plane.shape)
    top, left = (plane.shape[0] - rows) // 2, (plane.shape[1] - columns) // 2
    larger = ndimage.zoom(plane[top : top + rows, left : left + columns], factor, order=1, mode="nearest")
    top, left = (larger.shape[0] - plane.shape[0]) // 2, (larger.shape[1] - plane.shape[1]) // 2
    return larger[top : top + plane.shape[0], left : left + plane.shape[1]]


def zoom_blur(image, key, parameter):
    factors = np.arange(1, *parameter)
    zoomed = [np.stack([enlarged(plane, factor) for plane in image]) for factor in factors]
    return (image + sum(zoomed)) / (len(factors) + 1)


def snow(image, key, parameter):
    mean, deviation, factor, least, radius, sigma, kept = parameter
    flakes = enlarged(mean + deviation * normal(key, "snow", 1, *image.shape[1:])[0], factor)
    flakes = np.clip(np.where(flakes < least, 0, flakes), 0, 1)
    falling = smeared(flakes, radius, sigma, 90 * uniform(key, "snow angle", 1)[0] - 135)
    white = kept * image + (1 - kept) * np.maximum(image, luminance(image) * 1.5 + 0.5)
    return np.clip(white + falling + np.rot90(falling, 2), 0, 1)


def frost(image, key, parameter, *, as_published=False):
    kept, added, scale = parameter
    known = textures(scale).double().numpy()
    side = known.shape[2]
    which, top, left = np.floor(uniform(key, "frost", 3) * [5 if as_published else 6, side, side]).astype(int)
    _, height, width = image.shape
    ice = np.empty((3, height, width))
    for row, column in np.ndindex(height, width):
        ice[:, row, column] = known[which, :, (top + row) % side, (left + column) % side]
    return np.clip(kept * image + added * (ice if len(image) == 3 else luminance(ice)), 0, 1)


def fog(image, key, parameter):
    strength, decay = parameter
    _, height, width = image.shape
    side = 1 << (max(height, width) - 1).bit_length()
    chance = 2 * uniform(key, "fog", side, side) - 1
    found, step, rough = np.zeros((side, side)), side, 1.0
    while step > 1:
        half = step // 2
        for row in range(half, side, step):
            for column in range(half, side, step):
                corners = [(row + a, column + b) for a in (-half, half) for b in (-half, half)]
                around = np.mean([found[a % side, b % side] for a, b in corners])
                found[row, column] = around + rough * chance[row, column]
        for row in range(0, side, half):
            for column in range(half if row % step == 0 else 0, side, step):
                corners = [(row - half, column), (row + half, column), (row, column - half), (row, column + half)]
                around = np.mean([found[a % side, b % side] for a, b in corners])
                found[row, column] = around + rough * chance[row, column]
        step, rough = half, rough / decay**2
    haze = (found - found.min()) / (found.max() - found.min())
    return np.clip((image + strength * haze[:height, :width]) * image.max() / (image.max() + strength), 0, 1)


def by_pixel(function, image):
    out = np.empty_like(image)
    for row, column in np.ndindex(image.shape[1:]):
        out[:, row, column] = colorsys.hsv_to_rgb(*function(*colorsys.rgb_to_hsv(*image[:, row, column])))
    return out


def brightness(image, key, more):
    if len(image) != 3:
        raise_value = np.clip(image.max(axis=0) + more, 0, 1)
        return image * raise_value / image.max(axis=0) if len(image) > 1 else np.clip(image + more, 0, 1)
    return by_pixel(lambda hue, saturation, value: (hue, saturation, min(value + more, 1)), image)


def saturate(image, key, parameter):
    factor, more = parameter
    if len(image) == 1:
        return image
    return by_pixel(lambda hue, one, value: (hue, min(one * factor + more, 1), value), image)


def contrast(image, key, factor):
    means = image.mean(axis=(1, 2), keepdims=True)
    return np.clip((image - means) * factor + means, 0, 1)


def jpeg_compression(image, key, quality):
    def coded(pixels):
        buffer = BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=round(quality))
        return np.asarray(Image.open(buffer)) / 255

    pixels = np.round(image * 255).astype(np.uint8)
    return coded(pixels.transpose(1, 2, 0)).transpose(2, 0, 1) if len(image) == 3 else np.stack([*map(coded, pixels)])


def boxes(before, after):
    """For each pixel, the mean of which pixels it is after going to `after` pixels and back."""
    held = []
    for new in range(after):
        low, high = Fraction(new * before, after), Fraction((new + 1) * before, after)
        held.append([pixel for pixel in range(before) if low < pixel + Fraction(1, 2) <= high])
    return [held[math.floor((pixel + Fraction(1, 2)) * after / before)] for pixel in range(before)]


def pixelate(image, key, scale):
    _, height, width = image.shape
    tall = np.stack([image[:, rows].mean(axis=1) for rows in boxes(height, int(height * scale))], axis=1)
    return np.stack([tall[:, :, columns].mean(axis=2) for columns in boxes(width, int(width * scale))], axis=2)


def elastic_transform(image, key, parameter):
    strength, sigma, farthest = parameter
    _, height, width = image.shape
    centre, apart = np.array([width // 2, height // 2]), min(height, width) // 3
    points = centre + apart * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = points + farthest * (2 * uniform(key, "elastic_transform corners", 3, 2) - 1)
    back = np.linalg.solve(np.c_[moved, np.ones(3)], points)
    down, right = np.indices((height, width)).astype(float)
    across, along = (back[0, axis] * right + back[1, axis] * down + back[2, axis] for axis in (0, 1))
    turned = [ndimage.map_coordinates(plane, [along, across], order=1, mode="mirror") for plane in image]
    chance = 2 * uniform(key, "elastic_transform field", 2, height, width) - 1
    field = [strength * ndimage.gaussian_filter(part, sigma, mode="reflect", truncate=3) for part in chance]
    places = [down + field[0], right + field[1]]
    return np.stack([ndimage.map_coordinates(plane, places, order=1, mode="reflect") for plane in turned])


def rotation(image, key, degrees):
    angle = math.radians(degrees) * (-1 if uniform(key, "rotation", 1)[0] < 0.5 else 1)
    matrix = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    centre = (np.array(image.shape[1:]) - 1) / 2
    offset = centre - matrix @ centre
    return np.stack([ndimage.affine_transform(plane, matrix, offset, order=1, mode="mirror") for plane in image])


def spatter(image, key, parameter):
    mean, deviation, sigma, least, look, mud = parameter
    noise = mean + deviation * normal(key, "spatter", 1, *image.shape[1:])
    liquid = blurred(noise, sigma)[0]
    water, brown = np.array([175, 238, 238]) / 255, np.array([63, 42, 20]) / 255
    if len(image) != 3:
        water, brown = np.repeat(GREY @ water, len(image)), np.repeat(GREY @ brown, len(image))
    if mud:
        cover = blurred((liquid > least).astype(float)[None], look)
        cover = np.where(cover < 0.8, 0, cover)
        return np.clip(image * (1 - cover) + cover * brown[:, None, None], 0, 1)
    drops = np.clip(np.where(liquid < least, 0, liquid), 0, 1)
    return np.clip(image + look * lit(drops) * water[:, None, None], 0, 1)


def lit(drops):
    wet = np.pad(drops > 0, 1, mode="edge")
    dry_near = ~(wet[:-2, 1:-1] & wet[2:, 1:-1] & wet[1:-1, :-2] & wet[1:-1, 2:])
    rims = np.argwhere((drops > 0) & dry_near)
    if not len(rims):
        return np.zeros_like(drops)
    places = np.moveaxis(np.indices(drops.shape), 0, 2)
    away = np.sqrt(((places[:, :, None] - rims) ** 2).sum(axis=3)).min(axis=2)
    near = ndimage.uniform_filter(np.minimum(away, 20), 3, mode="mirror").astype(int)
    first = (near == near.min()).sum()
    spread = np.array(
        [round(255 * ((near <= level).sum() - first) / max(near.size - first, 1)) for level in range(256)]
    )
    kernel = [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]
    relief = np.clip(ndimage.correlate(spread[near].astype(float), kernel, mode="mirror"), 0, 255)
    light = drops * ndimage.uniform_filter(relief, 3, mode="mirror")
    return light / max(light.max(), 1e-12)


# Parameters


def number(word):
    return int(float(word)) if float(word).is_integer() else float(word)


def runs(text):
    """`"a b|c d"` → ((a, b), (c, d)); numbers alone where each has one."""
    cells = tuple(tuple(number(word) for word in cell.split()) for cell in text.split("|"))
    return tuple(cell[0] for cell in cells) if all(len(cell) == 1 for cell in cells) else cells


SNOW = ".1 .2 1 .6 8 3 {}|.1 .2 1 .5 10 4 {}|.15 .3 1.75 .55 10 4 {}|.25 .3 2.25 .6 12 6 {}|.3 .3 1.25 .65 14 12 {}"
SNOW_224 = ".1 .3 3 .5 10 4 .8|.2 .3 2 .5 12 4 .7|.55 .3 4 .9 12 8 .7|.55 .3 4.5 .85 12 8 .65|.55 .3 2.5 .85 12 12 .55"
FROST_224 = "1 .4 1|.8 .6 1|.7 .7 1|.65 .7 1|.6 .75 1"
ZOOM_32 = "1.06 .01|1.11 .01|1.16 .01|1.21 .01|1.26 .01"
ZOOM_224 = "1.11 .01|1.16 .01|1.21 .02|1.26 .02|1.31 .03"
CONTRAST = ".4|.3|.2|.1|.05"
BRIGHT = ".1|.2|.3|.4|.5"
TURN, DARK = "5|10|15|22.5|30", ".8|.6|.4|.25|.1"
IMPULSE = (".01|.02|.03|.05|.07", ".01|.02|.05|.08|.14", ".03|.06|.09|.17|.27", ".04|.07|.1|.18|.28")


def scaled(side, text):
    return "|".join(" ".join(str(float(number) * side) for number in cell.split()) for cell in text.split("|"))


ELASTIC = "2 .7 .1|2 .08 .2|.05 .01 .02|.07 .01 .02|.12 .01 .02"
PUBLISHED = {
    "brightness": (".05|.1|.15|.2|.3", BRIGHT, BRIGHT, BRIGHT),
    "contrast": (".75|.5|.4|.3|.15", CONTRAST, CONTRAST, CONTRAST),
    "defocus_blur": (
        ".3 .4|.4 .5|.5 .6|1 .2|1.5 .1",
        ".5 .6|1 .1|1.5 .1|2.5 .01|3 .1",
        "3 .1|4 .5|6 .5|8 .5|10 .5",
        "4 .1|5 .5|7 .5|10 .5|12 .5",
    ),
    "elastic_transform": (
        scaled(32, "0 0 .08|.05 .2 .07|.08 .06 .06|.1 .04 .05|.1 .03 .03"),
        scaled(64, "0 0 .08|.05 .3 .06|.1 .08 .06|.1 .03 .03|.16 .03 .02"),
        scaled(244, ELASTIC),
        scaled(360, ELASTIC),
    ),
    "fog": (
        ".2 3|.5 3|.75 2.5|1 2|1.5 1.75",
        ".4 3|.7 3|1 2.5|1.5 2|2 1.75",
        "1.5 2|2 2|2.5 1.7|2.5 1.5|3 1.4",
        "1.5 2|2 2|2.5 1.8|2.5 1.6|3 1.5",
    ),
    "frost": (
        "1 .2 .2|1 .3 .2|.9 .4 .2|.85 .4 .2|.75 .45 .2",
        "1 .3 .3|.9 .4 .3|.8 .45 .3|.75 .5 .3|.7 .55 .3",
        FROST_224,
        FROST_224,
    ),
    "gaussian_blur": (".4|.6|.7|.8|1", ".5|.75|1|1.25|1.5", "1|2|3|4|6", "1.5|2.5|3.5|4.5|6.5"),
    "gaussian_noise": (".04|.06|.08|.09|.1", ".04|.08|.12|.15|.18", ".08|.12|.18|.26|.38", ".09|.13|.19|.27|.4"),
    "glass_blur": (
        ".05 1 1|.25 1 1|.4 1 1|.25 1 2|.4 1 2",
        ".1 1 1|.5 1 1|.6 1 2|.7 2 1|.9 2 2",
        ".7 1 2|.9 2 1|1 2 3|1.1 3 2|1.5 4 2",
        ".8 1 3|1 3 1|1.1 2 4|1.2 4 2|1.6 5 2",
    ),
    "impulse_noise": IMPULSE,
    "jpeg_compression": ("80|65|58|50|40", "65|58|50|40|25", "25|18|15|10|7", "23|16|13|8|5"),
    "low_light": (DARK, DARK, DARK, DARK),
    "motion_blur": (
        "6 1|6 1.5|6 2|8 2|9 2.5",
        "10 1|10 1.5|10 2|10 2.5|12 3",
        "10 3|15 5|15 8|15 12|20 15",
        "12 4|17 6|17 9|17 13|22 16",
    ),
    "pixelate": (".95|.9|.85|.75|.65", ".9|.8|.7|.6|.5", ".6|.5|.4|.3|.25", ".5|.4|.3|.25|.2"),
    "rotation": (TURN, TURN, TURN, TURN),
    "salt_and_pepper": IMPULSE,
    "saturate": (
        ".3 0|.1 0|1.5 0|2 .1|2.5 .2",
        ".3 0|.1 0|2 0|5 .1|30 .2",
        ".3 0|.1 0|2 0|5 .1|20 .2",
        ".3 0|.1 0|2 0|5 .1|20 .2",
    ),
    "shot_noise": ("500|250|100|75|50", "250|100|50|30|15", "60|25|12|5|3", "50|20|10|5|3"),
    "snow": (SNOW.format(0.95, 0.9, 0.9, 0.85, 0.8), SNOW.format(0.8, 0.8, 0.7, 0.65, 0.6), SNOW_224, SNOW_224),
    "spatter": (
        ".62 .1 .7 .7 .5 0|.65 .1 .8 .7 .5 0|.65 .3 1 .69 .5 0|.65 .1 .7 .69 .6 1|.65 .1 .5 .68 .6 1",
        ".62 .1 .7 .7 .6 0|.65 .1 .8 .7 .6 0|.65 .3 1 .69 .6 0|.65 .1 .7 .68 .6 1|.65 .1 .5 .67 .6 1",
        ".65 .3 4 .69 .6 0|.65 .3 3 .68 .6 0|.65 .3 2 .68 .5 0|.65 .3 1 .65 1.5 1|.67 .4 1 .65 1.5 1",
        ".65 .3 4 .69 .9 0|.65 .3 3.5 .68 .9 0|.65 .3 3 .68 .8 0|.65 .3 1.2 .65 1.8 1|.67 .4 1.2 .65 1.8 1",
    ),
    "speckle_noise": (".06|.1|.12|.16|.2", ".15|.2|.25|.3|.35", ".15|.2|.35|.45|.6", ".16|.21|.36|.46|.61"),
    "zoom_blur": (ZOOM_32, ZOOM_32, ZOOM_224, ZOOM_224),
}


def published(name, side):
    """The parameters of the nearest of the four sizes, the smaller one of two as near."""
    sizes = (32, 64, 224, 299)
    return runs(PUBLISHED[name][sizes.index(min(sizes, key=lambda size: (abs(size - side), size)))])
