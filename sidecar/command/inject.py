"""`sidecar inject`: a filter for Kubernetes manifests, comments and all.

Documents that do not change are passed on byte for byte. In those that do, only what changes is written anew:
the pure injector works on plain data, and the difference becomes edits in the text (`manifest_text`). Where that
cannot be, for an alias, say, the difference is applied to the YAML tree as it was read, and the tree is written.
"""

import argparse
import copy
import io
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarbool import ScalarBoolean

from sidecar.command.injector_settings import OPTIONS, injection_settings
from sidecar.command.manifest_text import CannotEdit, edited
from sidecar.command.yaml_layout import laid_out, sequence_offset
from sidecar.injection.bundle import Bundle, inject_bundle
from sidecar.injection.patch import Operation, difference
from sidecar.injection.problem import CannotInject
from sidecar.injection.settings import InjectionSettings
from sidecar.settings.problem import Problem, SettingsError, sanitize

SEPARATOR = re.compile(r"^---(?=[ \t\r\n]|$)", re.MULTILINE)
MAXIMUM_BYTES = 64 * 1024 * 1024


class _NullSpeltOut(RoundTripRepresenter):
    """Writes null as `null`, as `kubectl get -o yaml` does; the writer's own habit is to write nothing."""


_NullSpeltOut.add_representer(
    type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null")
)


@dataclass(frozen=True, slots=True)
class _Document:
    """One document of a stream: its text with the `---` before it, its YAML tree, and the same as plain data."""

    text: str
    tree: Any
    plain: Any


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `sidecar inject`."""
    configure_files(parser)
    parser.add_argument(
        "--settings", metavar="FILE", help="the injector's settings, as the webhook takes them"
    )
    parser.add_argument("--image", help="the sidecar's image")
    parser.add_argument("--policies", metavar="CONFIGMAP", help="the ConfigMap that holds the policy files")
    parser.add_argument("--tls-secret", metavar="SECRET", help="the Secret with the server certificate")
    parser.add_argument("--kubernetes-version", metavar="1.NN", help="the cluster's version")


def configure_files(parser: argparse.ArgumentParser) -> None:
    """The options that say what is read and where the result goes."""
    parser.add_argument(
        "-f", "--filename", action="append", metavar="FILE", help="manifest to read; - is standard input"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write; standard output by default")


def execute(arguments: argparse.Namespace) -> int:
    """Read manifests, write them with the sidecar in them; 0, or 1 and nothing written.

    Wrong usage (an option's value that cannot be) is 2, as argparse has it.
    """
    try:
        settings = read_settings(arguments)
    except SettingsError as error:
        if all(problem.file == OPTIONS for problem in error.problems):
            print("\n".join(_usage(problem) for problem in error.problems), file=sys.stderr)
            return 2
        raise
    return rewrite(arguments, lambda manifests: inject_bundle(manifests, settings))


def rewrite(arguments: argparse.Namespace, change: Callable[[Sequence[Any]], Bundle]) -> int:
    """Read manifests, change them, write them; 0, or 1 and nothing written. Raises `SettingsError`."""
    names: Sequence[str] = arguments.filename or ["-"]
    documents = [document for name in names for document in read_documents(_text(name), name)]
    try:
        bundle = change([document.plain for document in documents])
    except CannotInject as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 1
    pairs = zip(documents, bundle.manifests, strict=True)
    output = _joined(written(document, manifest) for document, manifest in pairs)
    for note in bundle.notes:
        print(f"note: {note}", file=sys.stderr)
    if not arguments.output:
        sys.stdout.write(output)
        return 0
    try:
        Path(arguments.output).write_text(output, encoding="utf-8", newline="")
    except OSError as error:
        problem = Problem(arguments.output, 0, 0, f"cannot be written: {error.strerror}")
        raise SettingsError([problem]) from None
    return 0


_FLAGS: Final = {
    "image": "--image",
    "policies": "--policies",
    "kubernetes": "--kubernetes-version",
    "server_certificate": "--tls-secret",
}


def _usage(problem: Problem) -> str:
    """The problem with the flag that it comes from in front."""
    name, _, message = problem.message.partition(": ")
    flag = _FLAGS.get(name.partition(".")[0])
    if flag is None:
        return f"sidecar inject: {problem.message}"
    absent = message == "Field required"
    return f"sidecar inject: {flag} {'is required, here or as `image` in --settings' if absent else message}"


def read_settings(arguments: argparse.Namespace) -> InjectionSettings:
    """The settings file, if any, with the command line's options over it. Raises `SettingsError`."""
    given = {
        "image": arguments.image,
        "policies": arguments.policies,
        "kubernetes": arguments.kubernetes_version,
        "server_certificate": None if arguments.tls_secret is None else {"secret": arguments.tls_secret},
    }
    options = {name: value for name, value in given.items() if value is not None}
    return injection_settings(arguments.settings, options)


def read_documents(text: str, name: str) -> Iterator[_Document]:
    """The documents of a YAML stream. Raises `SettingsError` with line and column."""
    starts = [0, *(match.start() for match in SEPARATOR.finditer(text) if match.start() > 0), len(text)]
    for start, end in itertools.pairwise(starts):
        chunk = text[start:end]
        try:
            tree = _parser(chunk).load(chunk)
        except YAMLError as error:
            raise SettingsError([_located(error, name, text.count("\n", 0, start))]) from None
        yield _Document(chunk, tree, _plain(tree))


def written(document: _Document, manifest: Any) -> str:
    """The text of a document after injection; unchanged if nothing was injected."""
    operations = difference(document.plain, manifest)
    if not operations:
        return document.text
    try:
        text = edited(document.text, operations, manifest)
        if _plain(_parser(text).load(text)) == manifest:
            return text
    except (CannotEdit, YAMLError):
        pass  # written anew below: an alias, say, stands for several places
    for operation in operations:
        _apply(document.tree, operation)
    # The data counts: if the edited tree differs from it, the data is written and the comments are lost.
    tree = document.tree if _plain(document.tree) == manifest else laid_out(manifest)
    stream = io.StringIO()
    _parser(document.text).dump(tree, stream)
    head = "---\n" if SEPARATOR.match(document.text) and not stream.getvalue().startswith("---") else ""
    return head + stream.getvalue()


def _parser(text: str) -> YAML:
    """A round-trip parser that indents as the text does."""
    parser = YAML(typ="rt", pure=True)
    parser.preserve_quotes = True
    parser.width = 2**16
    if re.search(r":[ \t]+null\b", text):
        parser.Representer = _NullSpeltOut
    offset = sequence_offset(text)
    parser.indent(mapping=2, sequence=2 + offset, offset=offset)
    return parser


def _apply(tree: Any, operation: Operation) -> None:
    parent = tree
    for step in operation.path[:-1]:
        parent[step] = _own(parent[step])
        parent = parent[step]
    last = operation.path[-1]
    if operation.verb == "remove":
        del parent[last]
    elif isinstance(parent, CommentedSeq) and last == len(parent):
        parent.append(laid_out(operation.value))
    else:
        parent[last] = laid_out(operation.value)


def _own(node: Any) -> Any:
    """The node, or a copy of it where an anchor lets it stand in several places: only this one changes."""
    if node.anchor.value is None:
        return node
    copied = copy.copy(node)
    copied.yaml_set_anchor(None)
    return copied


def _plain(tree: Any) -> Any:
    """The same data in plain types."""
    if isinstance(tree, Mapping):
        return {_plain(key): _plain(one) for key, one in tree.items()}
    if isinstance(tree, list):
        return [_plain(one) for one in tree]
    if isinstance(tree, bool | ScalarBoolean):
        return bool(tree)
    for kind in (str, int, float):
        if isinstance(tree, kind):
            return kind(tree)
    return tree


def _joined(texts: Iterator[str]) -> str:
    output = ""
    for text in texts:
        if output and not output.endswith("\n"):
            output += "\n"
        if output.strip() and text.strip() and not SEPARATOR.match(text):
            output += "---\n"
        output += text
    return output


def _text(name: str) -> str:
    try:
        if name == "-":
            return sys.stdin.read(MAXIMUM_BYTES)
        with Path(name).open(encoding="utf-8", newline="") as file:
            return file.read(MAXIMUM_BYTES)
    except OSError as error:
        raise SettingsError([Problem(name, 0, 0, f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise SettingsError([Problem(name, 0, 0, "is not UTF-8 text")]) from None


def _located(error: YAMLError, name: str, lines_before: int) -> Problem:
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return Problem(name, lines_before + 1, 0, "is not YAML")
    mark = error.problem_mark
    return Problem(name, lines_before + mark.line + 1, mark.column + 1, sanitize(str(error.problem), 200))
