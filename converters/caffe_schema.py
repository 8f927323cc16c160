"""The numbers that Caffe's binary files put in place of field names: caffe.proto of BVLC and of forks in use."""

from __future__ import annotations

from collections.abc import Mapping

# A message's fields as number, name and kind, three words each; blobs are read by caffe_weights.
MESSAGES: Mapping[str, str] = {
    "Accuracy": "1 top_k int 2 axis int 3 ignore_label int",
    "AnnotatedData": "3 label_map_file string",
    "ArgMax": "1 out_max_val bool 2 top_k int 3 axis int",
    "BatchNorm": "1 use_global_stats bool 2 moving_average_fraction float 3 eps float",
    "Bias": "1 axis int 2 num_axes int 3 filler Filler",
    "BlobShape": "1 dim int",
    "Clip": "1 min float 2 max float",
    "Concat": "2 axis int 1 concat_dim int",
    "ContrastiveLoss": "1 margin float 2 legacy_version bool",
    "Convolution": (
        "1 num_output int 2 bias_term bool 3 pad int 4 kernel_size int 6 stride int 18 dilation int 9 pad_h int "
        "10 pad_w int 11 kernel_h int 12 kernel_w int 13 stride_h int 14 stride_w int 5 group int 7 weight_filler "
        "Filler 8 bias_filler Filler 15 engine Engine 16 axis int 17 force_nd_im2col bool"
    ),
    "Crop": "1 axis int 2 offset int",
    "Data": (
        "1 source string 4 batch_size int 7 rand_skip int 8 backend DB 2 scale float 3 mean_file string 5 "
        "crop_size int 6 mirror bool 9 force_encoded_color bool 10 prefetch int"
    ),
    "DetectionEvaluate": (
        "1 num_classes int 2 background_label_id int 3 overlap_threshold float 4 evaluate_difficult_gt bool 5 "
        "name_size_file string 6 resize_param Resize"
    ),
    "DetectionOutput": (
        "1 num_classes int 2 share_location bool 3 background_label_id int 4 nms_param NonMaximumSuppression 6 "
        "code_type CodeType 8 variance_encoded_in_target bool 7 keep_top_k int 9 confidence_threshold float 10 "
        "visualize bool 11 visualize_threshold float 12 save_file string"
    ),
    "Dropout": "1 dropout_ratio float",
    "DummyData": "1 data_filler Filler 6 shape BlobShape 2 num int 3 channels int 4 height int 5 width int",
    "ELU": "1 alpha float",
    "Eltwise": "1 operation EltwiseOp 2 coeff float 3 stable_prod_grad bool",
    "Embed": "1 num_output int 2 input_dim int 3 bias_term bool 4 weight_filler Filler 5 bias_filler Filler",
    "Exp": "1 base float 2 scale float 3 shift float",
    "Filler": (
        "1 type string 2 value float 3 min float 4 max float 5 mean float 6 std float 7 sparse int 8 "
        "variance_norm VarianceNorm"
    ),
    "Flatten": "1 axis int 2 end_axis int",
    "HDF5Data": "1 source string 2 batch_size int 3 shuffle bool",
    "HDF5Output": "1 file_name string",
    "HingeLoss": "1 norm Norm",
    "ImageData": (
        "1 source string 4 batch_size int 7 rand_skip int 8 shuffle bool 9 new_height int 10 new_width int 11 "
        "is_color bool 2 scale float 3 mean_file string 5 crop_size int 6 mirror bool 12 root_folder string"
    ),
    "InfogainLoss": "1 source string 2 axis int",
    "InnerProduct": (
        "1 num_output int 2 bias_term bool 3 weight_filler Filler 4 bias_filler Filler 5 axis int 6 transpose bool"
    ),
    "Input": "1 shape BlobShape",
    "Interp": "1 height int 2 width int 3 zoom_factor int 4 shrink_factor int 5 pad_beg int 6 pad_end int",
    "LRN": "1 local_size int 2 alpha float 3 beta float 4 norm_region NormRegion 5 k float 6 engine Engine",
    "Layer": (
        "1 name string 2 type string 3 bottom string 4 top string 10 phase Phase 5 loss_weight float 6 param "
        "ParamSpec 11 propagate_down bool 8 include NetStateRule 9 exclude NetStateRule 100 transform_param "
        "Transformation 101 loss_param Loss 102 accuracy_param Accuracy 103 argmax_param ArgMax 139 "
        "batch_norm_param BatchNorm 141 bias_param Bias 148 clip_param Clip 104 concat_param Concat 105 "
        "contrastive_loss_param ContrastiveLoss 106 convolution_param Convolution 149 upsample_param Upsample 144 "
        "crop_param Crop 107 data_param Data 108 dropout_param Dropout 109 dummy_data_param DummyData 110 "
        "eltwise_param Eltwise 140 elu_param ELU 137 embed_param Embed 111 exp_param Exp 135 flatten_param "
        "Flatten 112 hdf5_data_param HDF5Data 113 hdf5_output_param HDF5Output 114 hinge_loss_param HingeLoss 115 "
        "image_data_param ImageData 116 infogain_loss_param InfogainLoss 117 inner_product_param InnerProduct 143 "
        "input_param Input 134 log_param Log 118 lrn_param LRN 119 memory_data_param MemoryData 120 mvn_param MVN "
        "145 parameter_param Parameter 121 pooling_param Pooling 122 power_param Power 131 prelu_param PReLU 130 "
        "python_param Python 146 recurrent_param Recurrent 136 reduction_param Reduction 123 relu_param ReLU 133 "
        "reshape_param Reshape 142 scale_param Scale 124 sigmoid_param Sigmoid 125 softmax_param Softmax 132 "
        "spp_param SPP 126 slice_param Slice 147 swish_param Swish 127 tanh_param TanH 128 threshold_param "
        "Threshold 138 tile_param Tile 129 window_data_param WindowData 166 interp_param Interp 164 "
        "shuffle_channel_param ShuffleChannel 202 permute_param Permute 203 prior_box_param PriorBox 204 "
        "detection_output_param DetectionOutput 205 detection_evaluate_param DetectionEvaluate 206 norm_param "
        "Normalize 100000 relu6_param ReLU6 153 psroi_pooling_param PSROIPooling 154 roi_pooling_param ROIPooling "
        "159 reorg_param Reorg 200 annotated_data_param AnnotatedData 8266711 roi_pooling_param ROIPooling"
    ),
    "Log": "1 base float 2 scale float 3 shift float",
    "Loss": "1 ignore_label int 3 normalization NormalizationMode 2 normalize bool",
    "MVN": "1 normalize_variance bool 2 across_channels bool 3 eps float",
    "MemoryData": "1 batch_size int 2 channels int 3 height int 4 width int",
    "Net": (
        "1 name string 3 input string 8 input_shape BlobShape 4 input_dim int 5 force_backward bool 6 state "
        "NetState 7 debug_info bool 100 layer Layer 2 layers V1Layer"
    ),
    "NetState": "1 phase Phase 2 level int 3 stage string",
    "NetStateRule": "1 phase Phase 2 min_level int 3 max_level int 4 stage string 5 not_stage string",
    "NonMaximumSuppression": "1 nms_threshold float 2 top_k int 3 eta float",
    "Normalize": "1 across_spatial bool 2 scale_filler Filler 3 channel_shared bool 4 eps float",
    "PReLU": "1 filler Filler 2 channel_shared bool",
    "PSROIPooling": "1 spatial_scale float 2 output_dim int 3 group_size int",
    "ParamSpec": "1 name string 2 share_mode DimCheckMode 3 lr_mult float 4 decay_mult float",
    "Parameter": "1 shape BlobShape",
    "Permute": "1 order int",
    "Pooling": (
        "1 pool PoolMethod 4 pad int 9 pad_h int 10 pad_w int 2 kernel_size int 5 kernel_h int 6 kernel_w int 3 "
        "stride int 7 stride_h int 8 stride_w int 11 engine Engine 12 global_pooling bool 13 round_mode RoundMode "
        "1000 ceil_mode bool"
    ),
    "Power": "1 power float 2 scale float 3 shift float",
    "PriorBox": (
        "1 min_size float 2 max_size float 3 aspect_ratio float 4 flip bool 5 clip bool 6 variance float 7 "
        "img_size int 8 img_h int 9 img_w int 10 step float 11 step_h float 12 step_w float 13 offset float"
    ),
    "Python": "1 module string 2 layer string 3 param_str string 4 share_in_parallel bool",
    "ROIPooling": "1 pooled_h int 2 pooled_w int 3 spatial_scale float",
    "ReLU": "1 negative_slope float 2 engine Engine",
    "ReLU6": "1 negative_slope float",
    "Recurrent": (
        "1 num_output int 2 weight_filler Filler 3 bias_filler Filler 4 debug_info bool 5 expose_hidden bool"
    ),
    "Reduction": "1 operation ReductionOp 2 axis int 3 coeff float",
    "Reorg": "1 stride int 2 reverse bool",
    "Reshape": "1 shape BlobShape 2 axis int 3 num_axes int",
    "Resize": (
        "1 prob float 2 resize_mode Resize_mode 3 height int 4 width int 8 height_scale int 9 width_scale int 5 "
        "pad_mode Pad_mode 6 pad_value float 7 interp_mode Interp_mode"
    ),
    "SPP": "1 pyramid_height int 2 pool PoolMethod 6 engine Engine",
    "Scale": "1 axis int 2 num_axes int 3 filler Filler 4 bias_term bool 5 bias_filler Filler",
    "ShuffleChannel": "1 group int",
    "Sigmoid": "1 engine Engine",
    "Slice": "3 axis int 2 slice_point int 1 slice_dim int",
    "Softmax": "1 engine Engine 2 axis int",
    "Swish": "1 beta float",
    "TanH": "1 engine Engine",
    "Threshold": "1 threshold float",
    "Tile": "1 axis int 2 tiles int",
    "Transformation": (
        "1 scale float 2 mirror bool 3 crop_size int 4 mean_file string 5 mean_value float 6 force_color bool 7 "
        "force_gray bool 9 resize_param Resize"
    ),
    "Upsample": (
        "1 scale float 2 scale_h int 3 scale_w int 4 pad_out_h bool 5 pad_out_w bool 6 upsample_h int 7 upsample_w int"
    ),
    "V0Layer": (
        "1 name string 2 type string 3 num_output int 4 biasterm bool 5 weight_filler Filler 6 bias_filler Filler "
        "7 pad int 8 kernelsize int 9 group int 10 stride int 11 pool PoolMethod 12 dropout_ratio float 13 "
        "local_size int 14 alpha float 15 beta float 22 k float 16 source string 17 scale float 18 meanfile "
        "string 19 batchsize int 20 cropsize int 21 mirror bool 51 blobs_lr float 52 weight_decay float 53 "
        "rand_skip int 54 det_fg_threshold float 55 det_bg_threshold float 56 det_fg_fraction float 58 "
        "det_context_pad int 59 det_crop_mode string 60 new_num int 61 new_channels int 62 new_height int 63 "
        "new_width int 64 shuffle_images bool 65 concat_dim int 1001 hdf5_output_param HDF5Output"
    ),
    "V1Layer": (
        "2 bottom string 3 top string 4 name string 32 include NetStateRule 33 exclude NetStateRule 5 type int "
        "1001 param string 1002 blob_share_mode DimCheckMode 7 blobs_lr float 8 weight_decay float 35 loss_weight "
        "float 27 accuracy_param Accuracy 23 argmax_param ArgMax 9 concat_param Concat 40 contrastive_loss_param "
        "ContrastiveLoss 10 convolution_param Convolution 43 upsample_param Upsample 11 data_param Data 12 "
        "dropout_param Dropout 26 dummy_data_param DummyData 24 eltwise_param Eltwise 41 exp_param Exp 13 "
        "hdf5_data_param HDF5Data 14 hdf5_output_param HDF5Output 29 hinge_loss_param HingeLoss 15 "
        "image_data_param ImageData 16 infogain_loss_param InfogainLoss 17 inner_product_param InnerProduct 18 "
        "lrn_param LRN 22 memory_data_param MemoryData 34 mvn_param MVN 19 pooling_param Pooling 21 power_param "
        "Power 30 relu_param ReLU 38 sigmoid_param Sigmoid 39 softmax_param Softmax 31 slice_param Slice 37 "
        "tanh_param TanH 25 threshold_param Threshold 20 window_data_param WindowData 36 transform_param "
        "Transformation 42 loss_param Loss 1 layer V0Layer"
    ),
    "WindowData": (
        "1 source string 2 scale float 3 mean_file string 4 batch_size int 5 crop_size int 6 mirror bool 7 "
        "fg_threshold float 8 bg_threshold float 9 fg_fraction float 10 context_pad int 11 crop_mode string 12 "
        "cache_images bool 13 root_folder string"
    ),
}

ENUMS: Mapping[str, Mapping[int, str]] = {
    "CodeType": {1: "CORNER", 2: "CENTER_SIZE", 3: "CORNER_SIZE"},
    "DB": {0: "LEVELDB", 1: "LMDB"},
    "DimCheckMode": {0: "STRICT", 1: "PERMISSIVE"},
    "EltwiseOp": {0: "PROD", 1: "SUM", 2: "MAX"},
    "Engine": {0: "DEFAULT", 1: "CAFFE", 2: "CUDNN"},
    "Interp_mode": {1: "LINEAR", 2: "AREA", 3: "NEAREST", 4: "CUBIC", 5: "LANCZOS4"},
    "Norm": {1: "L1", 2: "L2"},
    "NormRegion": {0: "ACROSS_CHANNELS", 1: "WITHIN_CHANNEL"},
    "NormalizationMode": {0: "FULL", 1: "VALID", 2: "BATCH_SIZE", 3: "NONE"},
    "Pad_mode": {1: "CONSTANT", 2: "MIRRORED", 3: "REPEAT_NEAREST"},
    "Phase": {0: "TRAIN", 1: "TEST"},
    "PoolMethod": {0: "MAX", 1: "AVE", 2: "STOCHASTIC"},
    "ReductionOp": {1: "SUM", 2: "ASUM", 3: "SUMSQ", 4: "MEAN"},
    "Resize_mode": {1: "WARP", 2: "FIT_SMALL_SIZE", 3: "FIT_LARGE_SIZE_AND_PAD"},
    "RoundMode": {0: "CEIL", 1: "FLOOR"},
    "VarianceNorm": {0: "FAN_IN", 1: "FAN_OUT", 2: "AVERAGE"},
}
