"""Caffe's defaults, as caffe.proto states them: settings that say nothing are left out of tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FILLER = {
    "type": "constant", "value": 0, "min": 0, "max": 1, "mean": 0, "std": 1, "sparse": -1, "variance_norm": "FAN_IN",
}  # fmt: skip

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "param": {"lr_mult": 1, "decay_mult": 1, "share_mode": "STRICT"},
    "weight_filler": FILLER,
    "bias_filler": FILLER,
    "filler": FILLER,
    "scale_filler": FILLER,
    "data_filler": FILLER,
    "convolution_param": {
        "bias_term": True, "pad": 0, "pad_h": 0, "pad_w": 0, "stride": 1, "dilation": 1, "group": 1,
        "engine": "DEFAULT", "axis": 1, "force_nd_im2col": False,
    },
    "pooling_param": {
        "pad": 0, "pad_h": 0, "pad_w": 0, "stride": 1, "engine": "DEFAULT", "global_pooling": False,
        "round_mode": "CEIL", "ceil_mode": True,
    },
    "inner_product_param": {"bias_term": True, "axis": 1, "transpose": False},
    "lrn_param": {
        "local_size": 5, "alpha": 1, "beta": 0.75, "k": 1, "norm_region": "ACROSS_CHANNELS", "engine": "DEFAULT",
    },
    "batch_norm_param": {"moving_average_fraction": 0.999, "eps": 1e-5},
    "scale_param": {"axis": 1, "num_axes": 1, "bias_term": False},
    "bias_param": {"axis": 1, "num_axes": 1},
    "relu_param": {"negative_slope": 0, "engine": "DEFAULT"},
    "prelu_param": {"channel_shared": False},
    "elu_param": {"alpha": 1},
    "sigmoid_param": {"engine": "DEFAULT"},
    "tanh_param": {"engine": "DEFAULT"},
    "softmax_param": {"axis": 1, "engine": "DEFAULT"},
    "dropout_param": {"dropout_ratio": 0.5},
    "eltwise_param": {"operation": "SUM", "stable_prod_grad": True},
    "concat_param": {"axis": 1, "concat_dim": 1},
    "slice_param": {"axis": 1, "slice_dim": 1},
    "flatten_param": {"axis": 1, "end_axis": -1},
    "reshape_param": {"axis": 0, "num_axes": -1},
    "crop_param": {"axis": 2},
    "power_param": {"power": 1, "scale": 1, "shift": 0},
    "exp_param": {"base": -1, "scale": 1, "shift": 0},
    "log_param": {"base": -1, "scale": 1, "shift": 0},
    "mvn_param": {"normalize_variance": True, "across_channels": False, "eps": 1e-9},
    "reduction_param": {"operation": "SUM", "axis": 0, "coeff": 1},
    "argmax_param": {"out_max_val": False, "top_k": 1},
    "accuracy_param": {"top_k": 1, "axis": 1},
    "threshold_param": {"threshold": 0},
    "tile_param": {"axis": 1},
    "swish_param": {"beta": 1},
    "embed_param": {"bias_term": True},
    "hinge_loss_param": {"norm": "L1"},
    "loss_param": {"normalization": "VALID"},
    "transform_param": {"scale": 1, "mirror": False, "crop_size": 0, "force_color": False, "force_gray": False},
    "norm_param": {"across_spatial": True, "channel_shared": True, "eps": 1e-10},
    "prior_box_param": {"flip": True, "clip": False, "offset": 0.5},
}  # fmt: skip


def without_defaults(parameters: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """Return settings without those at their default; emptied messages are left out too.

    Examples
    --------
    >>> without_defaults({"convolution_param": {"num_output": 8, "stride": 1}, "relu_param": {"engine": "DEFAULT"}})
    {'convolution_param': {'num_output': 8}}
    """
    defaults = DEFAULTS.get(name, {})
    result: dict[str, Any] = {}
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            inner = without_defaults(value, key)
            if inner or not value:
                result[key] = inner
        elif isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
            parts = [without_defaults(part, key) if isinstance(part, Mapping) else part for part in value]
            if any(parts):
                result[key] = parts
        elif (
            key not in defaults
            or isinstance(value, list)
            or value != defaults[key]
            or isinstance(value, bool) != isinstance(defaults[key], bool)
        ):
            result[key] = value
    return result
