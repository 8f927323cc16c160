"""What Keras layers are tried with: how to make each, and the shapes of its inputs without the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Make = Callable[[Any], Any]
"""Makes a layer, given ``keras.layers``."""


@dataclass(frozen=True)
class Case:
    """A layer and its inputs; integers below `below` where its inputs are indices."""

    type: str
    make: Make
    shapes: tuple[tuple[int, ...], ...]
    below: int = 0
    note: str = ""
    call: Any = None
    """Calls the layer with its inputs, where that is not ``layer(inputs)``."""


IMAGE, LINE, ROOM, FLAT = (7, 9, 4), (9, 4), (5, 6, 7, 2), (6,)


def _case(type_: str, make: Make, *shapes: tuple[int, ...], below: int = 0, note: str = "", call: Any = None) -> Case:
    return Case(type_, make, shapes or (IMAGE,), below, note, call)


CASES = [
    *(
        _case("Activation", lambda keras, name=name: keras.Activation(name), note=name)
        for name in "linear relu relu6 leaky_relu sigmoid tanh softmax log_softmax softplus softsign elu selu gelu "
        "exponential swish silu mish hard_sigmoid hard_silu hard_swish".split()
    ),
    _case("ReLU", lambda keras: keras.ReLU()),
    _case("ReLU", lambda keras: keras.ReLU(max_value=0.7), note="max"),
    _case("ReLU", lambda keras: keras.ReLU(negative_slope=0.1), note="slope"),
    _case("LeakyReLU", lambda keras: keras.LeakyReLU(0.15)),
    _case("ELU", lambda keras: keras.ELU(0.7)),
    _case("PReLU", lambda keras: keras.PReLU()),
    _case("PReLU", lambda keras: keras.PReLU(shared_axes=[1, 2]), note="shared"),
    _case("Softmax", lambda keras: keras.Softmax(axis=1)),
    _case("Dense", lambda keras: keras.Dense(5, activation="tanh"), FLAT),
    _case("Dense", lambda keras: keras.Dense(5, use_bias=False), FLAT, note="no bias"),
    _case("Dense", lambda keras: keras.Dense(5), note="images"),
    _case("Embedding", lambda keras: keras.Embedding(11, 3), FLAT, below=11),
    _case("Conv1D", lambda keras: keras.Conv1D(5, 3, activation="relu"), LINE),
    _case("Conv1D", lambda keras: keras.Conv1D(5, 3, padding="causal", dilation_rate=2), LINE, note="causal"),
    _case("Conv2D", lambda keras: keras.Conv2D(5, (3, 2))),
    _case("Conv2D", lambda keras: keras.Conv2D(5, 3, strides=2, padding="same", use_bias=False), note="strided"),
    _case("Conv2D", lambda keras: keras.Conv2D(5, 3, dilation_rate=2, padding="same"), note="dilated"),
    _case("Conv2D", lambda keras: keras.Conv2D(6, 4, groups=2, padding="same", activation="relu"), note="groups"),
    _case("Conv3D", lambda keras: keras.Conv3D(3, 2, strides=(1, 2, 1), padding="same"), ROOM),
    _case("DepthwiseConv1D", lambda keras: keras.DepthwiseConv1D(3, depth_multiplier=2), LINE),
    _case("DepthwiseConv2D", lambda keras: keras.DepthwiseConv2D(3, padding="same", activation="relu")),
    _case("DepthwiseConv2D", lambda keras: keras.DepthwiseConv2D((3, 2), strides=2, depth_multiplier=3), note="many"),
    _case("SeparableConv1D", lambda keras: keras.SeparableConv1D(5, 3), LINE),
    _case("SeparableConv2D", lambda keras: keras.SeparableConv2D(5, 3, depth_multiplier=2, padding="same")),
    _case("Conv1DTranspose", lambda keras: keras.Conv1DTranspose(3, 4, strides=2, padding="same"), LINE),
    *(
        _case(
            "Conv2DTranspose",
            lambda keras, k=k, s=s, p=p: keras.Conv2DTranspose(3, k, strides=s, padding=p),
            note=f"{k}-{s}-{p}",
        )
        for k, s in ((3, 2), (2, 2), (4, 2), (5, 3), (2, 3), (3, 1))
        for p in ("same", "valid")
    ),
    _case("Conv3DTranspose", lambda keras: keras.Conv3DTranspose(3, 2, strides=2), ROOM),
    _case("MaxPooling1D", lambda keras: keras.MaxPooling1D(3, padding="same"), LINE),
    _case("MaxPooling2D", lambda keras: keras.MaxPooling2D()),
    _case("MaxPooling2D", lambda keras: keras.MaxPooling2D((3, 2), strides=2, padding="same"), note="same"),
    _case("MaxPooling3D", lambda keras: keras.MaxPooling3D(2), ROOM),
    _case("AveragePooling1D", lambda keras: keras.AveragePooling1D(2), LINE),
    _case("AveragePooling2D", lambda keras: keras.AveragePooling2D(3, strides=2, padding="same")),
    _case("AveragePooling3D", lambda keras: keras.AveragePooling3D(2), ROOM),
    _case("GlobalAveragePooling1D", lambda keras: keras.GlobalAveragePooling1D(), LINE),
    _case("GlobalAveragePooling2D", lambda keras: keras.GlobalAveragePooling2D()),
    _case("GlobalAveragePooling2D", lambda keras: keras.GlobalAveragePooling2D(keepdims=True), note="kept"),
    _case("GlobalAveragePooling3D", lambda keras: keras.GlobalAveragePooling3D(), ROOM),
    _case("GlobalMaxPooling1D", lambda keras: keras.GlobalMaxPooling1D(), LINE),
    _case("GlobalMaxPooling2D", lambda keras: keras.GlobalMaxPooling2D()),
    _case("GlobalMaxPooling3D", lambda keras: keras.GlobalMaxPooling3D(), ROOM),
    _case("ZeroPadding1D", lambda keras: keras.ZeroPadding1D((1, 2)), LINE),
    _case("ZeroPadding2D", lambda keras: keras.ZeroPadding2D(((1, 2), (0, 3)))),
    _case("ZeroPadding3D", lambda keras: keras.ZeroPadding3D(1), ROOM),
    _case("Cropping1D", lambda keras: keras.Cropping1D((1, 2)), LINE),
    _case("Cropping2D", lambda keras: keras.Cropping2D(((1, 0), (2, 1)))),
    _case("Cropping3D", lambda keras: keras.Cropping3D(1), ROOM),
    _case("UpSampling1D", lambda keras: keras.UpSampling1D(3), LINE),
    _case("Resizing", lambda keras: keras.Resizing(5, 13)),
    _case("Resizing", lambda keras: keras.Resizing(12, 4, interpolation="nearest"), note="nearest"),
    _case("UpSampling2D", lambda keras: keras.UpSampling2D((2, 3))),
    _case("UpSampling2D", lambda keras: keras.UpSampling2D(2, interpolation="bilinear"), note="bilinear"),
    _case("UpSampling3D", lambda keras: keras.UpSampling3D(2), ROOM),
    _case("BatchNormalization", lambda keras: keras.BatchNormalization()),
    _case("BatchNormalization", lambda keras: keras.BatchNormalization(scale=False, epsilon=0.1), FLAT, note="flat"),
    _case("BatchNormalization", lambda keras: keras.BatchNormalization(axis=1, center=False), note="axis 1"),
    _case("BatchNormalization", lambda keras: keras.BatchNormalization(axis=2), note="axis 2"),
    _case("LayerNormalization", lambda keras: keras.LayerNormalization()),
    _case("LayerNormalization", lambda keras: keras.LayerNormalization(axis=[2, 3], scale=False), note="two axes"),
    _case("GroupNormalization", lambda keras: keras.GroupNormalization(2)),
    _case("GroupNormalization", lambda keras: keras.GroupNormalization(-1, scale=False), LINE, note="one each"),
    _case("UnitNormalization", lambda keras: keras.UnitNormalization()),
    _case("UnitNormalization", lambda keras: keras.UnitNormalization(axis=1), note="axis 1"),
    _case("Rescaling", lambda keras: keras.Rescaling(1 / 127.5, offset=-1)),
    _case("Normalization", lambda keras: keras.Normalization(mean=[0.1, 0.2, 0.3, 0.4], variance=[1.0, 2, 3, 4])),
    _case("Normalization", lambda keras: keras.Normalization(), note="adapted"),
    _case("Add", lambda keras: keras.Add(), IMAGE, IMAGE, IMAGE),
    _case("Subtract", lambda keras: keras.Subtract(), IMAGE, IMAGE),
    _case("Multiply", lambda keras: keras.Multiply(), IMAGE, (1, 1, 4)),
    _case("Average", lambda keras: keras.Average(), IMAGE, IMAGE, IMAGE),
    _case("Maximum", lambda keras: keras.Maximum(), IMAGE, IMAGE),
    _case("Minimum", lambda keras: keras.Minimum(), IMAGE, IMAGE),
    _case("Concatenate", lambda keras: keras.Concatenate(), IMAGE, (7, 9, 2)),
    _case("Concatenate", lambda keras: keras.Concatenate(axis=1), LINE, (3, 4), note="axis 1"),
    _case("Dot", lambda keras: keras.Dot(axes=1), FLAT, FLAT),
    _case("Dot", lambda keras: keras.Dot(axes=(2, 1)), (3, 5), (5, 4), note="matrices"),
    _case("Flatten", lambda keras: keras.Flatten()),
    _case("Reshape", lambda keras: keras.Reshape((9, -1))),
    _case("Permute", lambda keras: keras.Permute((3, 1, 2))),
    _case("RepeatVector", lambda keras: keras.RepeatVector(3), FLAT),
    _case("Dropout", lambda keras: keras.Dropout(0.5)),
    _case("SpatialDropout1D", lambda keras: keras.SpatialDropout1D(0.5), LINE),
    _case("SpatialDropout2D", lambda keras: keras.SpatialDropout2D(0.5)),
    _case("SpatialDropout3D", lambda keras: keras.SpatialDropout3D(0.5), ROOM),
    _case("GaussianNoise", lambda keras: keras.GaussianNoise(0.5)),
    _case("GaussianDropout", lambda keras: keras.GaussianDropout(0.5)),
    _case("AlphaDropout", lambda keras: keras.AlphaDropout(0.5)),
    _case("ActivityRegularization", lambda keras: keras.ActivityRegularization(0.1)),
    *(
        _case(name, lambda keras, name=name, given=given: getattr(keras, name)(*given))
        for name, *given in (
            ("RandomFlip",),
            ("RandomRotation", 0.5),
            ("RandomZoom", 0.5),
            ("RandomTranslation", 0.5, 0.5),
            ("RandomContrast", 0.5),
        )
    ),
    _case("Identity", lambda keras: keras.Identity()),
    _case("LSTM", lambda keras: keras.LSTM(5), LINE),
    _case("LSTM", lambda keras: keras.LSTM(5, return_sequences=True, use_bias=False), LINE, note="sequences"),
    _case("GRU", lambda keras: keras.GRU(5), LINE),
    _case("GRU", lambda keras: keras.GRU(5, reset_after=False, return_sequences=True), LINE, note="reset before"),
    _case("SimpleRNN", lambda keras: keras.SimpleRNN(5), LINE),
    *(
        _case(
            name,
            lambda keras, name=name: getattr(keras, name)(5, return_sequences=True),
            LINE,
            *[(5,)] * states,
            note="first states",
            call=lambda f, x: f(x[0], initial_state=list(x[1:])),
        )
        for name, states in (("LSTM", 2), ("GRU", 1), ("SimpleRNN", 1))
    ),
    _case("SimpleRNN", lambda keras: keras.SimpleRNN(5, activation="relu", return_sequences=True), LINE, note="relu"),
    _case("GRU", lambda keras: keras.GRU(5, go_backwards=True, return_sequences=True), LINE, note="backwards"),
    _case("Bidirectional", lambda keras: keras.Bidirectional(keras.LSTM(5)), LINE),
    *(
        _case(
            "Bidirectional",
            lambda keras, mode=mode: keras.Bidirectional(keras.GRU(5, return_sequences=True), merge_mode=mode),
            LINE,
            note=mode,
        )
        for mode in ("concat", "sum", "mul", "ave")
    ),
    _case(
        "Bidirectional",
        lambda keras: keras.Bidirectional(
            keras.SimpleRNN(5, return_sequences=True),
            backward_layer=keras.SimpleRNN(5, activation="relu", return_sequences=True, go_backwards=True),
        ),
        LINE,
        note="two layers",
    ),
    _case("TimeDistributed", lambda keras: keras.TimeDistributed(keras.Dense(5, activation="relu")), LINE),
    _case("TimeDistributed", lambda keras: keras.TimeDistributed(keras.Conv2D(5, 3, padding="same")), ROOM, note="2D"),
    _case("MultiHeadAttention", lambda keras: keras.MultiHeadAttention(2, 3), LINE, call=lambda f, x: f(x[0], x[0])),
    _case(
        "MultiHeadAttention",
        lambda keras: keras.MultiHeadAttention(2, 3, value_dim=5, use_bias=False),
        LINE,
        (7, 6),
        (7, 5),
        note="three inputs",
        call=lambda f, x: f(x[0], key=x[1], value=x[2]),
    ),
    _case(
        "MultiHeadAttention",
        lambda keras: keras.MultiHeadAttention(3, 2),
        LINE,
        note="causal",
        call=lambda f, x: f(x[0], x[0], use_causal_mask=True),
    ),
]

ALIASES = {
    "Convolution1D": "Conv1D", "Convolution2D": "Conv2D", "Convolution3D": "Conv3D", "Deconvolution2D":
    "Conv2DTranspose", "SeparableConvolution1D": "SeparableConv1D", "SeparableConvolution2D": "SeparableConv2D",
    "MaxPool1D": "MaxPooling1D", "MaxPool2D": "MaxPooling2D", "MaxPool3D": "MaxPooling3D", "AvgPool1D":
    "AveragePooling1D", "AvgPool2D": "AveragePooling2D", "AvgPool3D": "AveragePooling3D", "GlobalAvgPool2D":
    "GlobalAveragePooling2D", "GlobalMaxPool2D": "GlobalMaxPooling2D", "BatchNormalizationV1": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization", "CuDNNLSTM": "LSTM",
}  # fmt: skip
"""Older names of layers."""
