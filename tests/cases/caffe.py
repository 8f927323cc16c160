"""One case per Caffe layer type: bottoms with shapes, the layer, and the shapes its tops have in Caffe's source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Shape = tuple[Any, ...]
IMAGE = {"x": (2, 6, 7, 9)}
PAIR = {"x": (2, 3, 4, 5), "z": (2, 3, 4, 5)}
SCORES = {"x": (4, 10), "t": (4,)}


@dataclass(frozen=True)
class Case:
    """A layer alone. `ops` are the nodes it becomes, `weights` the shapes of its blobs' tensors in blob order."""

    type: str
    bottoms: dict[str, Shape]
    param: str
    tops: dict[str, Shape | None]
    ops: tuple[str, ...] = ()
    weights: tuple[Shape, ...] = ()
    options: str = ""

    def text(self) -> str:
        """Return the net as a prototxt."""
        lines = ['name: "case"']
        for name, shape in self.bottoms.items():
            dims = " ".join(f"dim: {dim}" for dim in shape)
            lines.append(f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}')
        ends = [f'bottom: "{name}"' for name in self.bottoms] + [f'top: "{name}"' for name in self.tops]
        lines.append(f'layer {{ name: "l" type: "{self.type}" {" ".join(ends)} {self.param} }}')
        return "\n".join(lines)


def same(type_: str, param: str = "", ops: tuple[str, ...] = (), weights: tuple[Shape, ...] = ()) -> Case:
    """Return a case whose top is like its bottom."""
    return Case(type_, IMAGE, param, {"y": IMAGE["x"]}, ops, weights)


def loss(type_: str, second: bool = False, param: str = "") -> Case:
    """Return a case of a loss: a scalar, and perhaps the probabilities."""
    return Case(type_, SCORES, param, {"y": (), **({"p": SCORES["x"]} if second else {})}, (f"caffe::{type_}",))


CASES = [
    # Data
    Case("Input", {}, "input_param { shape { dim: 1 dim: 3 } }", {"a": (1, 3), "b": (1, 3)}),
    Case("Data", {}, "data_param { batch_size: 8 } transform_param { crop_size: 5 mean_value: 1 mean_value: 2 "
         "mean_value: 3 }",
         {"d": (8, 3, 5, 5), "t": (8,)}),
    Case("ImageData", {}, "image_data_param { batch_size: 4 new_height: 6 new_width: 7 }",
         {"d": (4, 3, 6, 7), "t": (4,)}),
    Case("ImageData", {}, "image_data_param { batch_size: 4 is_color: false } transform_param { crop_size: 5 }",
         {"d": (4, 1, 5, 5)}),
    Case("MemoryData", {}, "memory_data_param { batch_size: 2 channels: 3 height: 4 width: 5 }",
         {"d": (2, 3, 4, 5), "t": (2,)}),
    Case("HDF5Data", {}, 'hdf5_data_param { source: "list.txt" batch_size: 10 }', {"d": None, "t": None}),
    Case("WindowData", {}, "window_data_param { batch_size: 4 } transform_param { crop_size: 7 }",
         {"d": (4, 3, 7, 7), "t": (4,)}),
    Case("DummyData", {}, "dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 4 } }", {"d": (2, 3), "t": (4,)}),
    Case("DummyData", {}, "dummy_data_param { num: 2 channels: 3 height: 4 width: 5 }", {"d": (2, 3, 4, 5)}),
    Case("AnnotatedData", {}, "data_param { batch_size: 4 } transform_param { resize_param { height: 300 width: "
         "200 } }",
         {"d": (4, None, 300, 200), "t": (1, 1, None, 8)}),
    Case("VideoData", {}, "data_param { batch_size: 1 }", {"d": (1, None, None, None)}),
    Case("Parameter", {}, "parameter_param { shape { dim: 3 dim: 4 } }", {"y": (3, 4)}, ("Identity",), ((3, 4),)),
    # Convolutions and products
    Case("Convolution", IMAGE, "convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 stride: 2 pad: 1 group: 2 }",
         {"y": (2, 4, 4, 5)}, ("Conv",), ((4, 3, 3, 2), (4,))),
    Case("Convolution", IMAGE, "convolution_param { num_output: 4 kernel_size: 3 dilation: 2 bias_term: false }",
         {"y": (2, 4, 3, 5)}, ("Conv",), ((4, 6, 3, 3),)),
    Case("Convolution", {"x": (2, 3, 8)}, "convolution_param { num_output: 4 kernel_size: 3 }",
         {"y": (2, 4, 6)}, ("Conv",), ((4, 3, 3), (4,))),
    Case("Deconvolution", IMAGE, "convolution_param { num_output: 6 kernel_size: 4 stride: 2 pad: 1 group: 6 "
         "bias_term: false }",
         {"y": (2, 6, 14, 18)}, ("ConvTranspose",), ((6, 1, 4, 4),)),
    Case("ConvolutionDepthwise", IMAGE, "convolution_param { num_output: 6 kernel_size: 3 pad: 1 }",
         {"y": (2, 6, 7, 9)}, ("Conv",), ((6, 1, 3, 3), (6,))),
    Case("DepthwiseConvolution", IMAGE, "convolution_param { num_output: 6 kernel_size: 3 group: 6 }",
         {"y": (2, 6, 5, 7)}, ("Conv",), ((6, 1, 3, 3), (6,))),
    Case("InnerProduct", IMAGE, "inner_product_param { num_output: 5 }",
         {"y": (2, 5)}, ("Flatten", "Gemm"), ((5, 378), (5,))),
    Case("InnerProduct", IMAGE, "inner_product_param { num_output: 5 axis: -1 bias_term: false }",
         {"y": (2, 6, 7, 5)}, (), ((5, 9),)),
    Case("Embed", {"i": (2, 3)}, "embed_param { input_dim: 10 num_output: 4 }", {"y": (2, 3, 4)}, (), ((10, 4), (4,))),
    Case("Im2col", IMAGE, "convolution_param { kernel_size: 3 stride: 2 }", {"y": (2, 54, 3, 4)}),
    # Pooling
    Case("Pooling", IMAGE, "pooling_param { kernel_size: 3 stride: 2 }", {"y": (2, 6, 3, 4)}, ("MaxPool",)),
    Case("Pooling", IMAGE, "pooling_param { kernel_size: 2 stride: 2 }", {"y": (2, 6, 4, 5)}, ("MaxPool",)),
    Case("Pooling", IMAGE, "pooling_param { kernel_size: 2 stride: 2 ceil_mode: false }",
         {"y": (2, 6, 3, 4)}, ("MaxPool",)),
    Case("Pooling", IMAGE, "pooling_param { pool: AVE global_pooling: true }",
         {"y": (2, 6, 1, 1)}, ("GlobalAveragePool",)),
    Case("Pooling", IMAGE, "pooling_param { kernel_size: 2 stride: 2 }", {"y": (2, 6, 4, 5), "m": (2, 6, 4, 5)}),
    Case("Pooling", IMAGE, "pooling_param { pool: STOCHASTIC kernel_size: 3 stride: 2 }", {"y": (2, 6, 3, 4)},
         ("Mul", "AveragePool", "AveragePool", "Add", "Div")),
    Case("SPP", IMAGE, "spp_param { pyramid_height: 3 pool: AVE }", {"y": (2, 126)}),
    Case("ROIPooling", {"x": (1, 6, 14, 14), "r": (5, 5)},
         "roi_pooling_param { pooled_h: 7 pooled_w: 6 spatial_scale: 0.0625 }", {"y": (5, 6, 7, 6)}, ("MaxRoiPool",)),
    # Normalisation
    same("LRN", "", ("LRN",)),
    same("LRN", "lrn_param { norm_region: WITHIN_CHANNEL local_size: 3 }"),
    same("BatchNorm", "", ("BatchNormalization",), ((6,), (6,), (1,))),
    same("BatchNorm", "batch_norm_param { use_global_stats: false }", (), ((6,), (6,), (1,))),
    same("BN", "bn_param { frozen: true slope_filler { value: 1 } }", ("BatchNormalization",),
         ((6,), (6,), (6,), (6,))),
    same("BN", "bn_param { bn_mode: INFERENCE scale_filler { value: 1 } }", ("Mul", "Add"), ((6, 1, 1), (6, 1, 1))),
    same("Scale", "scale_param { bias_term: true }", ("Mul", "Add"), ((6, 1, 1), (6, 1, 1))),
    same("Scale", "scale_param { axis: 0 num_axes: -1 }", ("Mul",), ((2, 6, 7, 9),)),
    Case("Scale", {"x": (2, 6, 7, 9), "s": (2, 6)}, "scale_param { axis: 0 }", {"y": (2, 6, 7, 9)}),
    same("Bias", "", ("Add",), ((6, 1, 1),)),
    Case("Bias", {"x": (2, 6, 7, 9), "s": (6, 7)}, "", {"y": (2, 6, 7, 9)}),
    same("MVN"),
    same("Normalize", "norm_param { across_spatial: false channel_shared: false }", (), ((6, 1, 1),)),
    same("Softmax", "", ("Softmax",)),
    # Element-wise
    same("AbsVal", "", ("Abs",)),
    same("Sigmoid", "", ("Sigmoid",)),
    same("TanH", "", ("Tanh",)),
    same("BNLL", "", ("Softplus",)),
    same("ReLU", "", ("Relu",)),
    same("ReLU", "relu_param { negative_slope: 0.1 }", ("LeakyRelu",)),
    same("ReLU6", "", ("Clip",)),
    same("PReLU", "", ("PRelu",), ((6, 1, 1),)),
    Case("CReLU", IMAGE, "", {"y": (2, 12, 7, 9)}),
    same("ELU", "", ("Elu",)),
    same("Swish"),
    same("Clip", "clip_param { min: 0 max: 1 }", ("Clip",)),
    same("Threshold", "threshold_param { threshold: 0.5 }", ("Greater", "Cast")),
    same("Dropout", "", ("Identity",)),
    same("Power", "power_param { power: 2 scale: 3 shift: 4 }", ("Mul", "Add", "Pow")),
    same("Exp", "", ("Exp",)),
    same("Log", "log_param { base: 10 scale: 2 shift: 3 }"),
    Case("Eltwise", PAIR, "", {"y": (2, 3, 4, 5)}, ("Add",)),
    Case("Axpy", {"a": (2, 6, 1, 1), "x": (2, 6, 7, 9), "z": (2, 6, 7, 9)}, "", {"y": (2, 6, 7, 9)}, ("Mul", "Add")),
    # Shapes and order
    Case("Concat", PAIR, "concat_param { axis: -1 }", {"y": (2, 3, 4, 10)}, ("Concat",)),
    Case("Slice", IMAGE, "slice_param { slice_point: 1 slice_point: 4 }",
         {"a": (2, 1, 7, 9), "b": (2, 3, 7, 9), "c": (2, 2, 7, 9)}, ("Split",)),
    Case("Split", IMAGE, "", {"a": IMAGE["x"], "b": IMAGE["x"]}, ("Identity", "Identity")),
    Case("Silence", PAIR, "", {}, ("caffe::Silence",)),
    Case("Crop", {"x": (2, 6, 9, 9), "z": (2, 4, 5, 4)}, "crop_param { axis: 2 offset: 1 offset: 2 }",
         {"y": (2, 6, 5, 4)}),
    Case("Flatten", IMAGE, "flatten_param { axis: 1 end_axis: 2 }", {"y": (2, 42, 9)}),
    Case("Reshape", IMAGE, "reshape_param { shape { dim: -1 dim: 3 } axis: 1 num_axes: 2 }", {"y": (2, 14, 3, 9)}),
    Case("Reshape", IMAGE, "reshape_param { shape { dim: 1 } axis: -1 num_axes: 0 }", {"y": (2, 6, 7, 9, 1)}),
    Case("Permute", IMAGE, "permute_param { order: 0 order: 2 }", {"y": (2, 7, 6, 9)}, ("Transpose",)),
    Case("Tile", IMAGE, "tile_param { axis: 2 tiles: 3 }", {"y": (2, 6, 21, 9)}, ("Tile",)),
    Case("BatchReindex", {"x": (4, 3), "i": (6,)}, "", {"y": (6, 3)}),
    Case("Filter", {"x": (4, 3), "i": (4,)}, "", {"y": (None, 3)}),
    Case("Reduction", IMAGE, "reduction_param { operation: MEAN axis: 1 coeff: 2 }", {"y": (2,)}),
    Case("ArgMax", IMAGE, "argmax_param { axis: 1 top_k: 2 }", {"y": (2, 2, 7, 9)}),
    Case("ArgMax", {"x": (3, 8)}, "argmax_param { top_k: 3 out_max_val: true }", {"y": (3, 2, 3)}),
    Case("Interp", IMAGE, "interp_param { zoom_factor: 2 }", {"y": (2, 6, 13, 17)}),
    Case("Interp", IMAGE, "interp_param { shrink_factor: 2 }", {"y": (2, 6, 4, 5)}),
    Case("Interp", IMAGE, "interp_param { height: 33 width: 65 }", {"y": (2, 6, 33, 65)}),
    Case("Upsample", IMAGE, "upsample_param { scale: 2 }", {"y": (2, 6, 14, 18)}, ("Resize",)),
    Case("Upsample", {"x": (2, 6, 4, 5), "m": (2, 6, 4, 5)}, "upsample_param { scale: 2 }", {"y": (2, 6, 8, 10)}),
    same("ShuffleChannel", "shuffle_channel_param { group: 3 }", ("Reshape", "Transpose", "Reshape")),
    Case("Reorg", {"x": (1, 8, 4, 6)}, "reorg_param { stride: 2 }", {"y": (1, 32, 2, 3)}),
    # Recurrent layers
    Case("LSTM", {"x": (5, 2, 4), "c": (5, 2)}, "recurrent_param { num_output: 3 }", {"y": (5, 2, 3)}, (),
         ((12, 4), (12,), (12, 3))),
    Case("LSTM", {"x": (5, 2, 4), "c": (5, 2), "s": (2, 7)}, "recurrent_param { num_output: 3 }", {"y": (5, 2, 3)},
         (), ((12, 4), (12,), (12, 7), (12, 3))),
    Case("LSTM", {"x": (5, 2, 4), "c": (5, 2), "h": (1, 2, 3), "d": (1, 2, 3)},
         "recurrent_param { num_output: 3 expose_hidden: true }",
         {"y": (5, 2, 3), "e": (1, 2, 3), "f": (1, 2, 3)}, (), ((12, 4), (12,), (12, 3))),
    Case("RNN", {"x": (5, 2, 2, 2), "c": (5, 2), "h": (1, 2, 3)},
         "recurrent_param { num_output: 3 expose_hidden: true }",
         {"y": (5, 2, 3), "e": (1, 2, 3)}, (), ((3, 4), (3,), (3, 3), (3, 3), (3,))),
    Case("RNN", {"x": (5, 2, 4), "c": (5, 2)}, "recurrent_param { num_output: 3 }", {"y": (5, 2, 3)}, (),
         ((3, 4), (3,), (3, 3), (3, 3), (3,))),
    # Detection
    Case("PriorBox", {"x": (1, 6, 3, 2), "data": (1, 3, 30, 20)},
         "prior_box_param { min_size: 6 max_size: 9 aspect_ratio: 2 variance: 0.1 }", {"y": (1, 2, 96)}),
    Case("DetectionOutput", {"l": (1, 16), "c": (1, 84), "p": (1, 2, 16)}, "detection_output_param { num_classes: 21 }",
         {"y": (1, 1, None, 7)}),
    Case("Proposal", {"s": (1, 18, 4, 4), "b": (1, 36, 4, 4), "i": (1, 3)}, "", {"y": (None, 5), "t": (None, 1)},
         ("caffe::Proposal",)),
    Case("PSROIPooling", {"x": (1, 98, 4, 4), "r": (5, 5)}, "psroi_pooling_param { output_dim: 2 group_size: 7 }",
         {"y": (5, 2, 7, 7)}, ("caffe::PSROIPooling",)),
    Case("Correlation", {"a": (1, 4, 16, 16), "b": (1, 4, 16, 16)},
         "correlation_param { pad: 20 kernel_size: 1 max_displacement: 20 stride_1: 1 stride_2: 2 }",
         {"y": (1, 441, 16, 16)}, ("caffe::Correlation",)),
    # Losses and measures
    loss("SoftmaxWithLoss", second=True),
    loss("EuclideanLoss"),
    loss("HingeLoss"),
    loss("InfogainLoss"),
    loss("MultinomialLogisticLoss"),
    loss("ContrastiveLoss"),
    loss("SigmoidCrossEntropyLoss"),
    loss("SmoothL1Loss"),
    loss("MultiBoxLoss"),
    Case("Accuracy", SCORES, "accuracy_param { top_k: 5 }", {"y": (), "each": (10,)}, ("caffe::Accuracy",)),
    Case("HDF5Output", SCORES, "", {}, ("caffe::HDF5Output",)),
    Case("DetectionEvaluate", SCORES, "", {"y": (1, 1, None, 5)}, ("caffe::DetectionEvaluate",)),
    Case("Python", IMAGE, 'python_param { module: "m" layer: "L" }', {"y": None}, ("caffe::Python",)),
]  # fmt: skip
