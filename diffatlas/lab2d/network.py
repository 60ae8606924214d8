"""The network: a multilayer perceptron with SiLU, its gradient and its directional derivative written out.

    h_0 = input,  z_i = h_i W_i + b_i,  h_{i+1} = z_i sigmoid(z_i),  output = h_n W_n + b_n

All parameters lie in one vector, of which the matrices are views, so that Adam and the moving average are a few
operations on it. float32 throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

TIME_FEATURES = 32
FOURIER_FEATURES = 32


@dataclass(frozen=True)
class Shape:
    """Sizes of a network. classes: of the target; one more stands for "no class" (the null token)."""

    classes: int
    width: int = 128
    depth: int = 3
    fourier: bool = False

    @property
    def inputs(self) -> int:
        """Numbers that go in: the point, its Fourier features where wanted, the time's, the class's."""
        return 2 + FOURIER_FEATURES * self.fourier + TIME_FEATURES + self.classes + 1

    @property
    def layers(self) -> list[tuple[int, int]]:
        """(in, out) of each layer."""
        sizes = [self.inputs, *[self.width] * self.depth, 2]
        return list(pairwise(sizes))

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum((rows + 1) * columns for rows, columns in self.layers)


def time_features(t: np.ndarray, levels: int) -> np.ndarray:
    """Return sines and cosines of t / levels at 16 frequencies from pi to 64 pi, (n, 32)."""
    frequencies = np.pi * 64 ** (np.arange(TIME_FEATURES // 2) / (TIME_FEATURES // 2 - 1))
    angles = np.asarray(t, np.float32)[:, None] / levels * frequencies.astype(np.float32)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def fourier_waves() -> np.ndarray:
    """Return the 16 fixed directions of the points' Fourier features (Tancik et al. 2020), (2, 16)."""
    return np.random.default_rng(0).normal(0, 2.0, (2, FOURIER_FEATURES // 2)).astype(np.float32)


def split(shape: Shape, vector: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (weights, bias) of each layer as views of the vector."""
    out, at = [], 0
    for rows, columns in shape.layers:
        weights = vector[at : at + rows * columns].reshape(rows, columns)
        at += rows * columns
        out.append((weights, vector[at : at + columns]))
        at += columns
    return out


def begin(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Return fresh parameters: weights uniform within 1 / sqrt(inputs), the last layer at a tenth of that."""
    vector = np.zeros(shape.parameters, np.float32)
    layers = split(shape, vector)
    for number, (weights, _) in enumerate(layers):
        bound = 3**0.5 / len(weights) ** 0.5 * (0.1 if number == len(layers) - 1 else 1.0)
        weights[:] = rng.uniform(-bound, bound, weights.shape)
    return vector


@dataclass(frozen=True)
class Network:
    """A network at rest. ``vector`` holds its parameters; do not write to it."""

    shape: Shape
    vector: np.ndarray

    @cached_property
    def _layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return split(self.shape, self.vector)

    def inputs(self, x: np.ndarray, time: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Return the input of the first layer, (n, inputs).

        x: (n, 2). time: (n or 1, 32), see `time_features`. classes: (n or 1,), the null token being ``shape.classes``.
        """
        out = np.empty((len(x), self.shape.inputs), np.float32)
        fill_inputs(self.shape, out, x, time, classes)
        return out

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Return the outputs, (n, 2)."""
        h = inputs
        for weights, bias in self._layers[:-1]:
            z = h @ weights
            z += bias
            h = z * sigmoid(z)
        weights, bias = self._layers[-1]
        return h @ weights + bias

    def derivative(self, inputs: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Return the derivative of the outputs along ``direction`` (n, inputs): forward-mode differentiation."""
        h, d = inputs, direction
        for weights, bias in self._layers[:-1]:
            z = h @ weights + bias
            s = sigmoid(z)
            h = z * s
            d = (d @ weights) * (s + h * (1 - s))
        return d @ self._layers[-1][0]

    def directions(self, x: np.ndarray, axis: int) -> np.ndarray:
        """Return the derivative of `inputs` by one coordinate of x, (n, inputs)."""
        out = np.zeros((len(x), self.shape.inputs), np.float32)
        out[:, axis] = 1
        if self.shape.fourier:
            waves = fourier_waves()
            angles = x.astype(np.float32) @ waves
            half = FOURIER_FEATURES // 2
            out[:, 2 : 2 + half] = np.cos(angles) * waves[axis]
            out[:, 2 + half : 2 + 2 * half] = -np.sin(angles) * waves[axis]
        return out


def fill_inputs(shape: Shape, out: np.ndarray, x: np.ndarray, time: np.ndarray, classes: np.ndarray) -> None:
    """Write the input of the first layer into ``out`` (n, inputs)."""
    out[:, :2] = x
    at = 2
    if shape.fourier:
        half = FOURIER_FEATURES // 2
        angles = out[:, :2] @ fourier_waves()
        np.sin(angles, out=out[:, at : at + half])
        np.cos(angles, out=out[:, at + half : at + 2 * half])
        at += 2 * half
    out[:, at : at + TIME_FEATURES] = time
    at += TIME_FEATURES
    out[:, at:] = 0
    out[np.arange(len(out)), at + np.asarray(classes)] = 1


def sigmoid(z: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-z))."""
    s = np.negative(z)
    # Beyond this exp overflows float32, where the sigmoid is 0 to its last digit anyway.
    np.minimum(s, 88.0, out=s)
    np.exp(s, out=s)
    s += 1
    return np.reciprocal(s, out=s)


class Backward:
    """Loss and gradient of a network for batches of one size, with the buffers kept from batch to batch.

    The loss is the mean over points and coordinates of (output - target)^2, so that with z and h as above::

        dL/dz_i = dL/dh_{i+1} (s + h (1 - s)),  dL/dW_i = h_i^T dL/dz_i,  dL/dh_i = dL/dz_i W_i^T
    """

    def __init__(self, shape: Shape, batch: int) -> None:
        self.vector = np.zeros(shape.parameters, np.float32)
        self.gradient = np.zeros_like(self.vector)
        self._layers = split(shape, self.vector)
        self._into = split(shape, self.gradient)
        sizes = (batch, shape.width)
        self._z, self._s, self._h = (
            [np.empty(sizes, np.float32) for _ in range(shape.depth)] for _ in range(3)
        )
        self._back = [np.empty(sizes, np.float32) for _ in range(3)]

    def __call__(self, inputs: np.ndarray, target: np.ndarray) -> float:
        """Return the loss; the gradient is then in ``gradient``."""
        h = inputs
        for (weights, bias), z, s, after in zip(self._layers[:-1], self._z, self._s, self._h, strict=True):
            np.matmul(h, weights, out=z)
            z += bias
            np.negative(z, out=s)
            np.minimum(s, 88.0, out=s)
            np.exp(s, out=s)
            s += 1
            np.reciprocal(s, out=s)
            np.multiply(z, s, out=after)
            h = after
        weights, bias = self._layers[-1]
        error = h @ weights
        error += bias
        error -= target
        loss = float(np.mean(error * error))
        error *= 2 / error.size
        np.matmul(h.T, error, out=self._into[-1][0])
        error.sum(axis=0, out=self._into[-1][1])
        slope, g, spare = self._back
        np.matmul(error, weights.T, out=g)
        for number in range(len(self._z) - 1, -1, -1):
            s, after = self._s[number], self._h[number]
            np.multiply(after, s, out=slope)
            np.subtract(after, slope, out=slope)
            slope += s
            g *= slope
            before = self._h[number - 1] if number else inputs
            np.matmul(before.T, g, out=self._into[number][0])
            g.sum(axis=0, out=self._into[number][1])
            if number:
                np.matmul(g, self._layers[number][0].T, out=spare)
                g, spare = spare, g
        return loss
