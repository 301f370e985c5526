"""The nets of DFCNet in Python: layers -> blocks -> models -> prototxt text. Never imports caffe."""
