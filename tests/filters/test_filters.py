"""Each filter against a slow reference: scipy, Pillow, or its definition in loops."""

import math
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from scipy.sparse import csr_array

from demur.filters.convolution import correlate, gaussian_filter, motion, within_edges
from demur.filters.denoising import jpeg, median_filter, non_local_means
from demur.filters.sampling import mixed, resample, sample, zoom

MODES = ("nearest", "reflect", "mirror", "wrap")
NUMPY = {"nearest": "edge", "reflect": "symmetric", "mirror": "reflect", "wrap": "wrap"}


def images(rows=3, shape=(3, 12, 15), seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random((rows, *shape), dtype=np.float32))


def each(function, x):
    """A function of one plane, over all planes."""
    planes = x.reshape(-1, *x.shape[2:]).double().numpy()
    return np.stack([function(plane) for plane in planes]).reshape(x.shape)


@pytest.mark.parametrize("edges", MODES)
@pytest.mark.parametrize(("side", "reach"), [(1, 3), (2, 5), (5, 2), (5, 23)])
def test_what_lies_beyond_an_edge_is_what_numpy_puts_there(edges, side, reach):
    expected = np.pad(np.arange(side), (reach, reach + 1), mode=NUMPY[edges])
    assert within_edges(torch.arange(-reach, side + reach + 1), side, edges).tolist() == expected.tolist()


@pytest.mark.parametrize("edges", MODES)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_the_median_is_scipys(size, edges):
    x = images()
    expected = each(lambda plane: ndimage.median_filter(plane, size, mode=edges), x)
    np.testing.assert_array_equal(median_filter(x, size, edges).double().numpy(), expected)


def slow_non_local_means(image, patch, search, strength):
    reach, half = search // 2, patch // 2
    channels, height, width = image.shape
    around = np.pad(image, ((0, 0), (reach + half,) * 2, (reach + half,) * 2), mode="reflect")
    out = np.zeros_like(image)

    def patch_at(row, column):
        row, column = row + reach, column + reach
        return around[:, row : row + 2 * half + 1, column : column + 2 * half + 1]

    for row in range(height):
        for column in range(width):
            weights, total = 0.0, np.zeros(channels)
            for down in range(-reach, reach + 1):
                for right in range(-reach, reach + 1):
                    other = patch_at(row + down, column + right)
                    weight = np.exp(-np.mean((patch_at(row, column) - other) ** 2) / strength**2)
                    weights, total = weights + weight, total + weight * other[:, half, half]
            out[:, row, column] = total / weights
    return out


@pytest.mark.parametrize(("patch", "search", "strength"), [(3, 5, 0.1), (1, 3, 0.3), (3, 7, 0.5)])
@pytest.mark.parametrize("channels", [1, 3])
def test_non_local_means_is_its_definition(patch, search, strength, channels):
    x = images(2, (channels, 8, 10))
    found = non_local_means(x, patch=patch, search=search, strength=strength).numpy()
    expected = np.stack([slow_non_local_means(row, patch, search, strength) for row in x.double().numpy()])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("scale", [0.25, 0.5, 0.7])
def test_resampling_is_pillows(scale):
    x = images(2, (3, 16, 21))

    def slow(plane):
        small = (max(1, round(21 * scale)), max(1, round(16 * scale)))
        picture = Image.fromarray(plane.astype(np.float32)).resize(small, Image.Resampling.BILINEAR)
        return np.asarray(picture.resize((21, 16), Image.Resampling.BILINEAR))

    np.testing.assert_allclose(resample(x, scale).numpy(), each(slow, x), atol=1e-5)


@pytest.mark.parametrize("quality", [10, 75])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_jpeg_is_pillows(quality, channels):
    x = images(2, (channels, 17, 24))
    found = (jpeg(x, quality) * 255).round()

    def slow(pixels):
        buffer = BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer))

    for row, image in enumerate((x * 255).round().to(torch.uint8)):
        colour = channels == 3
        planes = [slow(image.permute(1, 2, 0).numpy())] if colour else [slow(plane.numpy()) for plane in image]
        expected = planes[0].transpose(2, 0, 1) if colour else np.stack(planes)
        np.testing.assert_array_equal(found[row].numpy(), expected)


@pytest.mark.parametrize("edges", MODES)
@pytest.mark.parametrize(("sigma", "truncate"), [(0, 4), (0.4, 4), (2, 4), (9, 3)])
def test_the_gaussian_is_scipys(edges, sigma, truncate):
    x = images()
    expected = each(lambda plane: ndimage.gaussian_filter(plane, sigma, mode=edges, truncate=truncate), x)
    np.testing.assert_allclose(gaussian_filter(x, sigma, edges, truncate).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("edges", MODES)
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (21, 7)])
def test_correlation_is_scipys(edges, size):
    x, kernel = images(), np.random.default_rng(1).random(size)
    kernel /= kernel.sum()
    expected = each(lambda plane: ndimage.correlate(plane, kernel, mode=edges), x)
    np.testing.assert_allclose(correlate(x, torch.from_numpy(kernel), edges).numpy(), expected, atol=1e-6)


def slow_motion(plane, radius, sigma, angle):
    out = np.zeros_like(plane)
    shares = [math.exp(-(step**2) / (2 * sigma**2)) for step in range(2 * radius + 1)]
    for row, column in np.ndindex(plane.shape):
        for step, share in enumerate(shares):
            there = row + math.ceil(step * math.sin(math.radians(angle)) - 0.5)
            across = column + math.ceil(step * math.cos(math.radians(angle)) - 0.5)
            pixel = plane[min(max(there, 0), plane.shape[0] - 1), min(max(across, 0), plane.shape[1] - 1)]
            out[row, column] += share / sum(shares) * pixel
    return out


@pytest.mark.parametrize(("radius", "sigma"), [(0, 1), (2, 1.5), (9, 4)])
def test_motion_is_its_definition_at_each_rows_own_angle(radius, sigma):
    x, angles = images(3, (2, 8, 9)), (0.0, 37.0, -120.0)
    found = motion(x, radius=radius, sigma=sigma, degrees=torch.tensor(angles))
    for row, angle in enumerate(angles):
        expected = [slow_motion(plane, radius, sigma, angle) for plane in x[row].double().numpy()]
        np.testing.assert_allclose(found[row].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("factor", [1, 1.06, 1.31, 2.5, 4])
def test_zoom_is_scipys_on_the_middle(factor):
    x = images(2, (2, 16, 21))

    def slow(plane):
        rows, columns = (math.ceil(side / factor) for side in plane.shape)
        top, left = (plane.shape[0] - rows) // 2, (plane.shape[1] - columns) // 2
        larger = ndimage.zoom(plane[top : top + rows, left : left + columns], factor, order=1, mode="nearest")
        top, left = (larger.shape[0] - plane.shape[0]) // 2, (larger.shape[1] - plane.shape[1]) // 2
        return larger[top : top + plane.shape[0], left : left + plane.shape[1]]

    np.testing.assert_allclose(zoom(x, [factor]).numpy(), each(slow, x), atol=1e-5)
    np.testing.assert_allclose(zoom(x, [1, factor]).numpy(), (each(slow, x) + x.numpy()) / 2, atol=1e-5)


@pytest.mark.parametrize("edges", ["nearest", "reflect", "mirror"])
def test_sampling_is_scipys(edges):
    x, rng = images(2, (2, 9, 12)), np.random.default_rng(2)
    down, right = rng.uniform(-7, 16, (2, 5, 6)), rng.uniform(-7, 19, (2, 5, 6))
    found = sample(x, torch.from_numpy(down), torch.from_numpy(right), edges)
    for row, channel in np.ndindex(2, 2):
        plane = x[row, channel].double().numpy()
        expected = ndimage.map_coordinates(plane, [down[row], right[row]], order=1, mode=edges)
        np.testing.assert_allclose(found[row, channel].numpy(), expected, atol=1e-5)


def test_mixing_is_a_product_with_the_table():
    x, rng = images(20, (3, 4, 5)), np.random.default_rng(3)
    shares = rng.random((20, 20)) * (rng.random((20, 20)) < 0.3)
    found = mixed(x, csr_array(shares.astype(np.float32)))
    expected = x.double().flatten(2).numpy() @ shares.T
    np.testing.assert_allclose(found.flatten(2).numpy(), expected, atol=1e-5)
    assert torch.equal(mixed(x[17:18], csr_array(shares.astype(np.float32))), found[17:18])


EVERY = {
    "median": median_filter,
    "resample": resample,
    "jpeg": lambda x: jpeg(x, 50),
    "non_local_means": lambda x: non_local_means(x, search=5, strength=0.1),
    "gaussian": lambda x: gaussian_filter(x, 1.5),
    "correlate": lambda x: correlate(x, torch.full((5, 7), 1 / 35)),
    "motion": lambda x: motion(x, radius=4, sigma=2, degrees=torch.full((len(x),), 30.0)),
    "zoom": lambda x: zoom(x, [1, 1.13]),
}


@pytest.mark.parametrize("function", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 33, 37), (2, 1, 5)])
def test_a_filter_keeps_shape_and_range_and_each_rows_bytes(function, shape):
    x = images(5, shape)
    before = x.clone()
    together = function(x)
    assert together.shape == x.shape
    assert together.dtype == x.dtype
    assert -1e-6 <= float(together.min()) <= float(together.max()) <= 1 + 1e-6
    assert torch.equal(x, before)
    order = [3, 0, 4]
    assert torch.equal(function(x[order]), together[order])
    assert torch.equal(torch.cat([function(x[row : row + 1]) for row in order]), together[order])


def test_comparisons_let_gradients_pass():
    x = images(1, (1, 6, 6)).requires_grad_()
    for function in (median_filter, resample):
        (gradient,) = torch.autograd.grad(function(x).sum(), x)
        assert float(gradient.abs().sum()) > 0
