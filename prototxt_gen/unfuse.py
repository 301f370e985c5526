"""A NetParameter's fused layers written as the plain layers that they stand for; see `fused`."""

from collections.abc import Iterator

from common.errors import NetError
from prototxt_gen.caffe_proto import caffe_pb2
from prototxt_gen.fused import BLOCK, activated_name


def unfuse(net):
    """Return a net of plain layers with the same function, for engines that have no fused ones.

    The learnt layers have the names under which `fused.plain_view` gives the weights. A net of plain layers
    comes back as it is.
    """
    plain = caffe_pb2().NetParameter()
    plain.CopyFrom(net)
    del plain.layer[:]
    names: dict[str, str] = {}  # of blobs that have another one here
    for layer in net.layer:
        renamed = _renamed(layer, names)
        if _adds_in_place(layer):  # Eltwise cannot
            names[layer.top[0]] = renamed.top[0] = layer.name
        plain.layer.extend(EXPANSIONS.get(layer.type, _as_it_is)(renamed))
    return plain


def _renamed(layer, names: dict[str, str]):
    """Return a copy of a layer that reads, and in place writes, blobs by their other names."""
    copy, in_place = caffe_pb2().LayerParameter(), set(layer.bottom)
    copy.CopyFrom(layer)
    copy.bottom[:] = [names.get(blob, blob) for blob in layer.bottom]
    copy.top[:] = [names.get(blob, blob) if blob in in_place else blob for blob in layer.top]
    return copy


def _adds_in_place(layer) -> bool:
    return layer.type == "Interp" and layer.top[0] in layer.bottom


def _as_it_is(layer) -> Iterator:
    yield layer


def _layer(kind: str, name: str, bottoms: list[str], top: str, **params):
    return caffe_pb2().LayerParameter(type=kind, name=name, bottom=bottoms, top=[top], **params)


def _activation(layer, name: str, bottom: str, top: str) -> Iterator:
    """Yield BatchNorm, Scale and ReLU called after `name`."""
    yield _layer("BatchNorm", f"{name}/bn", [bottom], top, batch_norm_param=layer.batch_norm_param)
    yield _layer("Scale", f"{name}/scale", [top], top, scale_param={"bias_term": True})
    yield _layer("ReLU", f"{name}/relu", [top], top)


def _convolution(name: str, bottom: str, **numbers):
    return _layer("Convolution", name, [bottom], name, convolution_param={"bias_term": False, **numbers})


def _bn_relu(layer) -> Iterator:
    yield from _activation(layer, layer.name.removesuffix("/bn"), layer.bottom[0], layer.top[0])


def _bn_relu_convolution(layer) -> Iterator:
    name = activated_name(layer.name)
    yield from _activation(layer, name, layer.bottom[0], f"{name}/bn")
    yield _layer(
        "Convolution",
        layer.name,
        [f"{name}/bn"],
        layer.top[0],
        convolution_param=layer.convolution_param,
    )


def _dense_block(layer) -> Iterator:
    match, param = BLOCK.fullmatch(layer.name), layer.dense_block_param
    if match is None:
        raise NetError(layer.name, "is a DenseBlock of another name", "call it dense_block and its number")
    features = list(layer.bottom)
    for unit in range(1, param.num_units + 1):
        name, joined = f"conv{match[1]}_{unit}", f"concat_{match[1]}_{unit - 1}"
        if len(features) > 1:
            yield _layer("Concat", joined, features, joined)
            features = [joined]
        yield from _activation(layer, f"{name}/x1", features[0], f"{name}/x1/bn")
        yield _convolution(f"{name}/x1", f"{name}/x1/bn", num_output=param.bottleneck, kernel_size=[1])
        yield from _activation(layer, f"{name}/x2", f"{name}/x1", f"{name}/x2/bn")
        yield _convolution(
            f"{name}/x2", f"{name}/x2/bn", num_output=param.growth_rate, kernel_size=[3], pad=[1]
        )
        features.append(f"{name}/x2")
    yield _layer("Concat", layer.name, features, layer.top[0])


def _interp(layer) -> Iterator:
    """Yield Interp, and where it adds to a second bottom, Eltwise."""
    if len(layer.bottom) == 1:
        yield layer
        return
    small, large = layer.bottom
    yield _layer("Interp", f"{layer.name}/up", [small], f"{layer.name}/up", interp_param=layer.interp_param)
    yield _layer("Eltwise", layer.name, [f"{layer.name}/up", large], layer.top[0])


EXPANSIONS = {
    "BNReLU": _bn_relu,
    "BNReLUConvolution": _bn_relu_convolution,
    "DenseBlock": _dense_block,
    "Interp": _interp,
}
