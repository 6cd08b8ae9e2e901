"""`sidecar schema`: JSON Schema of the settings files, for editors and for CI."""

import argparse
import json

from sidecar.settings.reference import reference
from sidecar.settings.schema import MODELS, schema


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("kind", nargs="?", choices=sorted(MODELS), default="service", help="default: service")
    parser.add_argument(
        "--reference", action="store_true", help="a reference of all keys of all files, in Markdown"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Print the schema, or the page."""
    if arguments.reference:
        print(reference(), end="")
        return 0
    print(json.dumps(schema(arguments.kind), indent=2, ensure_ascii=False))
    return 0
