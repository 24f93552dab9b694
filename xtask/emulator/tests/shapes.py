"""Whether an answer is one that the API's model allows: botocore's, which the SDKs are made from."""

from xml.etree import ElementTree

from botocore.loaders import Loader
from botocore.model import ServiceModel

_models = {}
JSON = {"string": str, "boolean": bool, "integer": int, "long": int, "double": (int, float),
        "float": (int, float), "timestamp": (int, float)}


def output(service, operation):
    if service not in _models:
        _models[service] = ServiceModel(Loader().load_service_model(service, "service-2"))
    return _models[service].operation_model(operation).output_shape


def error_names(service, operation):
    output(service, operation)
    known = _models[service].operation_model(operation).error_shapes
    return {it.name for it in known} | {"ClientException", "ServerException", "InvalidParameterException"}


def faults(shape, value, path="$"):
    """Members that the model does not have, of another type, or with a value that is not in its list."""
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            return [f"{path} is no object"]
        found = [f"{path}.{name} is not in the model" for name in value.keys() - shape.members.keys()]
        found += [f"{path}.{name} is missing" for name in set(shape.required_members) - value.keys()]
        for name in sorted(value.keys() & shape.members.keys()):
            found += faults(shape.members[name], value[name], f"{path}.{name}")
        return found
    if kind in ("list", "map"):
        expected = list if kind == "list" else dict
        if not isinstance(value, expected):
            return [f"{path} is no {kind}"]
        member = shape.member if kind == "list" else shape.value
        items = enumerate(value) if kind == "list" else value.items()
        return [fault for name, it in items for fault in faults(member, it, f"{path}[{name}]")]
    is_flag = isinstance(value, bool) and kind != "boolean"
    if is_flag or not isinstance(value, JSON[kind]):
        return [f"{path} is {value!r}, and no {kind}"]
    known = getattr(shape, "enum", None)
    return [f"{path} is {value!r}, not one of {known}"] if known and value not in known else []


def xml_faults(service, operation, body):
    """As `faults`, of an answer of the Query protocol."""
    root = ElementTree.fromstring(body)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    shape = output(service, operation)
    assert root.tag == f"{operation}Response", root.tag
    result = root.find(shape.serialization["resultWrapper"])
    return faults(shape, of_xml(shape, result))


def of_xml(shape, element):
    kind = shape.type_name
    if kind == "structure":
        nothing = type("Nothing", (), {"type_name": "string"})
        return {it.tag: of_xml(shape.members.get(it.tag, nothing), it) for it in element}
    if kind == "list":
        return [of_xml(shape.member, it) for it in element.findall("member")]
    if kind in ("integer", "long"):
        return int(element.text)
    return element.text
