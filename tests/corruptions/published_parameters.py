"""The parameters at severities 1 to 5 as published for images of 32, 64, 224 and 299 pixels.

From the scripts that made the data sets of Hendrycks & Dietterich (2019), written down here apart from the code.
"""


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
