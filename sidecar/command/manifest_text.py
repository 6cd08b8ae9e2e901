"""Edits in a YAML text: what does not change keeps every byte, comments, quotes and all.

Theory of operation: the parser tells where each node begins and ends. Each operation becomes a replacement of a span
of text, or an insertion after the last byte of what stands before it; the replacements are made from the end of the
text to its beginning. Additions are written in blocks. A scalar is added inside a flow collection (`{a: 1}`, `[x]`);
for more than a scalar the collection becomes a block, whose members keep their text. The caller parses the result and
compares: an edit with another meaning is not used.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from sidecar.command.yaml_layout import STEP, block, flow, scalar, sequence_offset
from sidecar.injection.patch import Operation


class CannotEdit(Exception):
    """The text has a form (an alias, a tag, tabs) in which an edit could mean more than it says."""


def edited(text: str, operations: Sequence[Operation], target: Any) -> str:
    """The text after the operations, which are those of one `difference` that leads to `target`.

    Raises `CannotEdit`.
    """
    if "\r\n" in text:
        return edited(text.replace("\r\n", "\n"), operations, target).replace("\n", "\r\n")
    as_json = _edited_json(text, target)
    if as_json is not None:
        return as_json
    try:
        tokens = list(yaml.parse(text, Loader=yaml.SafeLoader))
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        raise CannotEdit from None
    if root is None or any(isinstance(one, yaml.AliasEvent) for one in tokens):
        raise CannotEdit
    editor = _Editor(text)
    editor.change(root, _tree(operations, target), indent=0)
    return editor.result()


class _Change:
    """What happens to one node: replaced, or members changed, removed, added."""

    def __init__(self) -> None:
        self.members: dict[str | int, _Change] = {}
        self.removed: set[str | int] = set()
        self.added: list[tuple[str | int, Any]] = []
        self.value: Any = None
        self.replaced = False
        self.order: list[str] = []
        """The keys of the mapping that it becomes: what is added goes where it belongs."""

    def renamed(self, names: list[str]) -> "dict[str, dict[str | int, Any]]":
        """Members that another takes the place of, each with that one; neither is removed or added any more."""
        added = dict(self.added)
        if len(names) != len(self.order):
            return {}
        found: dict[str, dict[str | int, Any]] = {
            old: {new: added[new]}
            for old, new in zip(names, self.order, strict=True)
            if old in self.removed and new in added
        }
        self.removed -= set(found)
        gone = {name for one in found.values() for name in one}
        self.added = [(name, value) for name, value in self.added if name not in gone]
        return found


def _tree(operations: Sequence[Operation], target: Any) -> _Change:
    root = _Change()
    for operation in operations:
        node, becomes = root, target
        for step in operation.path[:-1]:
            node, becomes = node.members.setdefault(step, _Change()), becomes[step]
        node.order = list(becomes) if isinstance(becomes, Mapping) else []
        last = operation.path[-1] if operation.path else None
        if last is None:
            raise CannotEdit
        if operation.verb == "add":
            node.added.append((last, operation.value))
        elif operation.verb == "remove":
            node.removed.add(last)
        else:
            change = node.members.setdefault(last, _Change())
            change.replaced, change.value = True, operation.value
    return root


class _Editor:
    def __init__(self, text: str) -> None:
        self.text = text
        self._offset = sequence_offset(text)
        self._spans: list[tuple[int, int, str]] = []

    def result(self) -> str:
        """The text with all the spans replaced."""
        text = self.text
        # Insertions at one place keep the order in which they were noted: members before what follows them.
        noted = [(start, end, number, new) for number, (start, end, new) in enumerate(self._spans)]
        for start, end, _, new in sorted(noted, reverse=True):
            text = text[:start] + new + text[end:]
        return text

    def change(self, node: yaml.Node, change: _Change, indent: int) -> None:
        """Note the spans that make `change` of a node whose block is indented by `indent`."""
        if change.replaced:
            self._replace(node, change.value, indent)
        elif isinstance(node, yaml.MappingNode):
            self._mapping(node, change, indent)
        elif isinstance(node, yaml.SequenceNode):
            self._sequence(node, change, indent)
        else:
            raise CannotEdit

    # --- scalars and whole values --------------------------------------------------------------------

    def _replace(self, node: yaml.Node, value: Any, indent: int) -> None:
        start, end = node.start_mark.index, node.end_mark.index
        if isinstance(value, dict | list):
            if not isinstance(node, yaml.ScalarNode):
                raise CannotEdit
            before = self.text[:start].rstrip(" ")
            self._spans.append((len(before), end, "\n" + self._block(value, indent + STEP)))
            return
        style = node.style if isinstance(node, yaml.ScalarNode) else None
        if style in {"|", ">"}:
            raise CannotEdit
        if isinstance(node, yaml.CollectionNode) and not node.flow_style:
            # A block that becomes a scalar again: it goes back onto the line of its key.
            start = len(self.text[:start].rstrip(" \n"))
            end = self._end(node)
            self._spans.append((start, end, " " + scalar(value, None)))
            return
        space = " " if start == end and self.text[start - 1 : start] == ":" else ""
        self._spans.append((start, end, space + scalar(value, style)))

    # --- mappings ------------------------------------------------------------------------------------

    def _mapping(self, node: yaml.MappingNode, change: _Change, indent: int) -> None:
        if node.flow_style:
            self._flow(node, change, indent)
            return
        if node.value:
            indent = node.value[0][0].start_mark.column
        members = [(_key(key), key, value) for key, value in node.value]
        renamed = change.renamed([name for name, _, _ in members])
        for name, key, value in members:
            if name in change.members:
                self.change(value, change.members[name], indent)
            elif name in renamed:
                lines = self._block(renamed[name], indent)
                self._spans.append((key.start_mark.index, self._end(value), lines.lstrip(" ")))
        self._remove_blocks(
            [(name, key.start_mark.index, self._end(value)) for name, key, value in members], change
        )
        if change.added:
            self._add_members([one for one in members if one[0] not in change.removed], change, indent)

    def _add_members(
        self, kept: list[tuple[str, yaml.Node, yaml.Node]], change: _Change, indent: int
    ) -> None:
        """Each after the member that it follows in the mapping to come; those without one before the first."""
        if not kept:
            raise CannotEdit
        there = {name: value for name, _, value in kept}
        groups: dict[str | None, dict[str | int, Any]] = {}
        for name, value in change.added:
            before = change.order[: change.order.index(str(name))]
            anchor = next((one for one in reversed(before) if one in there), None)
            groups.setdefault(anchor, {})[name] = value
        for anchor, added in groups.items():
            lines = self._block(added, indent)
            if anchor is not None:
                self._insert(self._end(there[anchor]), lines)
            else:
                start = kept[0][1].start_mark.index
                self._spans.append((start, start, lines.lstrip(" ") + "\n" + " " * indent))

    def _block(self, value: Any, indent: int) -> str:
        return block(value, indent, self._offset)

    def _sequence(self, node: yaml.SequenceNode, change: _Change, indent: int) -> None:
        if node.flow_style:
            self._flow(node, change, indent)
            return
        indent = node.start_mark.column
        for index, value in enumerate(node.value):
            if index in change.members:
                self.change(value, change.members[index], indent + STEP)
        starts = [self._dash(value) for value in node.value]
        ends = [self._end(value) for value in node.value]
        self._remove_blocks(list(zip(range(len(starts)), starts, ends, strict=True)), change)
        kept = [end for index, end in enumerate(ends) if index not in change.removed]
        if change.added:
            if not kept:
                raise CannotEdit
            self._insert(kept[-1], self._block([value for _, value in change.added], indent))

    def _remove_blocks(self, members: Sequence[tuple[str | int, int, int]], change: _Change) -> None:
        """Members of a block go with the line break before them, or, at its beginning, with the one behind."""
        if change.removed and change.removed >= {name for name, _, _ in members}:
            raise CannotEdit
        behind = None
        for place, (name, start, end) in enumerate(members):
            if name not in change.removed:
                behind = self._line_end(end)
            elif behind is not None:
                self._spans.append((behind, self._line_end(end), ""))
                behind = self._line_end(end)
            else:
                self._spans.append((start, members[place + 1][1], ""))

    # --- flow ----------------------------------------------------------------------------------------

    def _flow(self, node: yaml.CollectionNode, change: _Change, indent: int) -> None:
        if self._must_open(node, change):
            self._open(node, change, indent)
            return
        members = self._members(node)
        renamed = change.renamed([str(name) for name, _, _ in members])
        for name, start, value in members:
            if name in change.members:
                self.change(value, change.members[name], indent)
            elif name in renamed:
                more = ", ".join(self._flow_text(node, key, one) for key, one in renamed[str(name)].items())
                self._spans.append((start, value.end_mark.index, more))
        texts = [(name, start, value.end_mark.index) for name, start, value in members]
        kept = [one for one in texts if one[0] not in change.removed]
        if change.removed:
            for place, (name, start, end) in enumerate(texts):
                if name in change.removed and place:
                    self._spans.append((texts[place - 1][2], end, ""))
                elif name in change.removed:
                    following = texts[1][1] if len(texts) > 1 else end
                    self._spans.append((start, following, ""))
        if change.added:
            more = ", ".join(self._flow_text(node, name, value) for name, value in change.added)
            place = kept[-1][2] if kept else node.start_mark.index + 1
            self._spans.append((place, place, (", " if kept else "") + more))

    def _must_open(self, node: yaml.CollectionNode, change: _Change) -> bool:
        """Whether a flow collection, or one inside it, gets more than a few scalars."""
        if any(_leaves(value) > STEP for _, value in change.added):
            return True
        return any(
            self._must_open(value, change.members[name])
            if isinstance(value, yaml.CollectionNode) and not change.members[name].replaced
            else change.members[name].replaced and _leaves(change.members[name].value) > STEP
            for name, _, value in self._members(node)
            if name in change.members
        )

    def _opened(self, node: yaml.CollectionNode, change: _Change, indent: int) -> str:
        """The text of a flow collection in block form; members keep theirs."""
        inner = indent + (STEP if isinstance(node, yaml.MappingNode) else 0)
        lines = []
        for name, start, value in self._members(node):
            if name in change.removed:
                continue
            own = _Editor(self.text)
            if name in change.members:
                member = change.members[name]
                if (
                    isinstance(value, yaml.CollectionNode)
                    and value.flow_style
                    and own._must_open(value, member)
                ):
                    head = (
                        self.text[start : value.start_mark.index].rstrip() if isinstance(name, str) else "-"
                    )
                    body = own._opened(value, member, inner)
                    if isinstance(name, str):
                        lines.append(f"{' ' * inner}{head}\n{body}")
                    else:
                        lines.append(f"{' ' * inner}- {body.lstrip()}")
                    continue
                own.change(value, member, inner)
            text = own.result()
            grown = len(text) - len(self.text)
            end = value.end_mark.index + grown
            prefix = "" if isinstance(node, yaml.MappingNode) else "- "
            lines.append(f"{' ' * inner}{prefix}{text[start:end]}")
        if change.added:
            values = [value for _, value in change.added]
            lines.append(
                self._block(dict(change.added), inner)
                if isinstance(node, yaml.MappingNode)
                else self._block(values, inner)
            )
        return "\n".join(lines)

    def _members(self, node: yaml.CollectionNode) -> list[tuple[str | int, int, yaml.Node]]:
        if isinstance(node, yaml.MappingNode):
            return [(_key(key), key.start_mark.index, value) for key, value in node.value]
        return [(index, value.start_mark.index, value) for index, value in enumerate(node.value)]

    def _open(self, node: yaml.CollectionNode, change: _Change, indent: int) -> None:
        """A flow value becomes a block: on the lines after its key, or, without a key, where it stands."""
        start = node.start_mark.index
        before = self.text[:start].rstrip(" ")
        if before.endswith(":"):
            lines = "\n" + self._opened(node, change, indent)
            self._spans.append((len(before), node.end_mark.index, lines))
            return
        column = node.start_mark.column
        inner = column - (STEP if isinstance(node, yaml.MappingNode) else 0)
        self._spans.append((start, node.end_mark.index, self._opened(node, change, inner)[column:]))

    def _flow_text(self, node: yaml.CollectionNode, name: str | int, value: Any) -> str:
        text = flow(value)
        return f"{scalar(name, None)}: {text}" if isinstance(node, yaml.MappingNode) else text

    # --- places --------------------------------------------------------------------------------------

    def _end(self, node: yaml.Node) -> int:
        """The index behind the last byte of a node's content; comments behind it are not its own."""
        if isinstance(node, yaml.CollectionNode) and not node.flow_style:
            last = node.value[-1]
            return self._end(last[1] if isinstance(last, tuple) else last)
        end: int = node.end_mark.index
        if isinstance(node, yaml.ScalarNode) and node.style in {"|", ">"}:
            return len(self.text[:end].rstrip("\n"))
        return end

    def _line_end(self, index: int) -> int:
        """The end of the line, comment included, on which `index` is."""
        found = self.text.find("\n", index)
        return len(self.text) if found < 0 else found

    def _dash(self, node: yaml.Node) -> int:
        """Where the `-` of a member of a block sequence stands."""
        return self.text.rindex("-", 0, node.start_mark.index)

    def _insert(self, behind: int, lines: str) -> None:
        place = self._line_end(behind)
        self._spans.append((place, place, "\n" + lines))


def _edited_json(text: str, target: Any) -> str | None:
    """JSON stays JSON, indented as it was; None for what is YAML."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    found = re.match(r"\s*\{\r?\n( +|\t+)", text)
    made = json.dumps(target, indent=found[1] if found else None, ensure_ascii=False)
    return made + ("\n" if text.endswith("\n") else "")


def _leaves(value: Any) -> int:
    """How many scalars a value holds; text of several lines counts as many."""
    if isinstance(value, Mapping):
        return sum(_leaves(one) for one in value.values()) or 1
    if isinstance(value, list):
        return sum(_leaves(one) for one in value) or 1
    return 100 if isinstance(value, str) and "\n" in value else 1


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:merge":
        raise CannotEdit
    return str(node.value)
