"""DeepGlobe folders -> checked, split, cropped -> LMDB; synthetic scenes. Needs only Caffe's messages."""
