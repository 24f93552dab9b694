"""Derives register-task-definition.json from botocore's copy of the API model of ECS.

Run it in a virtual environment, to take over what a newer API model has:

    pip install botocore
    python derive.py > register-task-definition.json
"""

import json

import botocore
import botocore.loaders

ROOT = "RegisterTaskDefinitionRequest"
# What lint reads of a shape. Documentation is left out.
KEPT = ("enum", "min", "max", "pattern", "required")


def shape_of(shape):
    kept = {"type": shape["type"]}
    kept.update({key: shape[key] for key in KEPT if key in shape})
    if "members" in shape:
        kept["members"] = {name: it["shape"] for name, it in shape["members"].items()}
    for child in ("member", "value"):
        if child in shape:
            kept["item"] = shape[child]["shape"]
    return kept


def children(shape):
    return [*shape.get("members", {}).values(), *filter(None, [shape.get("item")])]


def main():
    model = botocore.loaders.Loader().load_service_model("ecs", "service-2")
    shapes, waiting = {}, [ROOT]
    while waiting:
        name = waiting.pop()
        if name not in shapes:
            shapes[name] = shape_of(model["shapes"][name])
            waiting.extend(children(shapes[name]))
    version = model["metadata"]["apiVersion"]
    derived = {
        "source": f"botocore {botocore.__version__}, ECS {version}",
        "root": ROOT,
        "shapes": dict(sorted(shapes.items())),
    }
    print(json.dumps(derived, indent=1))


if __name__ == "__main__":
    main()
