"""Who says that a Caffe layer's numbers are right: what the table in docs/caffe.md states, and the tests check."""

from __future__ import annotations

CAFFE = frozenset(
    "AbsVal ArgMax BNLL BatchNorm Bias Clip Concat Crop Deconvolution ELU Eltwise Embed Exp Filter Flatten Im2col "
    "InnerProduct Input LRN LSTM MVN PReLU Pooling Power RNN ReLU Reduction Reshape SPP Scale Sigmoid Slice Softmax "
    "Split Swish TanH".split()
)
"""Caffe 1.0's own outputs, within 2e-5: the golden cases."""

OPENCV = frozenset(
    "Convolution ConvolutionDepthwise Deconvolution Eltwise Interp Normalize PReLU Permute PriorBox ROIPooling ReLU6 "
    "Reorg Scale ShuffleChannel".split()
)
"""OpenCV 4.14, within 2e-5, as single layers."""

FORMULA = frozenset(
    "Axpy BN BatchReindex CReLU ConvolutionDepthwise DepthwiseConvolution DetectionOutput Dropout Interp LSTM Log "
    "Normalize PReLU Permute Pooling PriorBox RNN ReLU6 Reorg Scale ShuffleChannel Softmax Threshold Tile "
    "Upsample".split()
)
"""The layer's own definition, written naively in float64."""

SHAPES = frozenset(
    "Accuracy AnnotatedData ContrastiveLoss Correlation Data DetectionEvaluate DummyData EuclideanLoss HDF5Data "
    "HDF5Output HingeLoss ImageData InfogainLoss MemoryData MultiBoxLoss MultinomialLogisticLoss PSROIPooling "
    "Parameter Proposal Python SigmoidCrossEntropyLoss Silence SmoothL1Loss SoftmaxWithLoss VideoData "
    "WindowData".split()
)
"""Shapes only: sources, and what is drawn but not run."""


def judges_of(type_: str) -> str:
    """Return who judges a layer, in words."""
    named = (("Caffe 1.0", CAFFE), ("OpenCV 4.14", OPENCV), ("formula", FORMULA), ("shapes", SHAPES))
    return ", ".join(name for name, types in named if type_ in types)
