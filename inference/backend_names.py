"""The engines' names, apart from the engines: a command reads its arguments before it loads any of them."""

CAFFE = "caffe"
CAFFE_BF16 = "caffe-bf16"  # fused layers multiply in bfloat16: faster, and not quite the same maps
ONNXRUNTIME = "onnxruntime"
OPENVINO = "openvino"
BACKENDS = (CAFFE, CAFFE_BF16, ONNXRUNTIME, OPENVINO)
