"""YAML reading that refuses everything a config does not need and that could hide or hurt something.

PyYAML's safe loader keeps the last of two sections with one name, follows aliases that multiply or refer to
themselves, and descends into any nesting. Here each of these is a ValueError that names the source and the line.
"""

from typing import Any

import yaml

from utils.mistake import Mistake

# Bytes of a config file. A dump of every key takes 2 KiB; reading a file of this size takes a few seconds at most.
MAX_BYTES = 32 * 1024
# Levels of nesting: a section in a section with a list takes four.
MAX_DEPTH = 10


class ConfigLoader(yaml.SafeLoader):
    """Load nested mappings with unique string keys, lists and scalars; refuse tags, and aliases except to flat values.

    ``CfgNode.dump`` writes an alias where two keys hold the same tuple. An alias is therefore accepted as the value of
    a key if it stands for a scalar or for a list of scalars: such an alias can neither multiply nor refer to itself.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            is_value = isinstance(parent, yaml.MappingNode) and index is not None
            if event.anchor in self.anchors and not (is_value and _is_flat(self.anchors[event.anchor])):
                raise _error("an alias (*) is only allowed as the value of a key, for a flat value", event.start_mark)
        elif event.tag is not None:
            raise _error(f"the tag {event.tag} is not allowed", event.start_mark)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _error(f"the nesting is deeper than {MAX_DEPTH} levels", event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key_node, _ in node.value:
            if key_node.tag != self.DEFAULT_SCALAR_TAG:
                shown = key_node.value if isinstance(key_node, yaml.ScalarNode) else "a list or a mapping"
                raise _error(f"a key must be a string, got {shown:.100}", key_node.start_mark)
            key, line = key_node.value, key_node.start_mark.line + 1
            if key in lines:
                raise _error(
                    f"{key:.100} appears twice in one section, first in line {lines[key]}", key_node.start_mark
                )
            lines[key] = line
        return node


def parse_yaml(text: str | bytes, source: str) -> dict[str, Any]:
    """Parse the YAML of a config.

    Args:
        text: Content, as text or as UTF-8 bytes; an empty one is an empty mapping.
        source: Name of the content in messages, for example its path.
    Returns:
        Nested mappings with string keys.
    Raises:
        ValueError: If this is not YAML in UTF-8, too large, too deep, or if a key appears twice in a section, is not
            a string, or if there are tags or aliases to anything but a flat value.
    """
    if len(text) > MAX_BYTES:
        raise Mistake(f"{source} is larger than {MAX_BYTES // 1024} KiB, which no config needs.")
    content = _decode(text, source) if isinstance(text, bytes) else text
    try:
        loader = ConfigLoader(content)
        try:
            parsed = loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise Mistake(f"{source}{line} is not a valid config: {error.problem or error.context}.") from error
    except yaml.YAMLError as error:
        raise Mistake(f"{source} is not a valid config: {error}.") from error
    except (ValueError, OverflowError) as error:  # a number of 5,000 digits, the 40th of a month
        raise Mistake(f"{source} is not a valid config, it holds an impossible value: {error}.") from error
    if parsed is None:
        return {}
    if not isinstance(parsed, dict):
        raise Mistake(f"{source} must hold a mapping of config keys, got {type(parsed).__name__}.")
    return parsed


def _decode(content: bytes, source: str) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        raise Mistake(f"{source} is not UTF-8 text: it looks like UTF-16 or a binary file. Save it as UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Mistake(f"{source}, line {line} is not UTF-8 text. Save the file as UTF-8.") from error


def _is_flat(node: yaml.Node) -> bool:
    """Return whether ``node`` is a scalar or a finished list of scalars."""
    if isinstance(node, yaml.SequenceNode):
        return node.end_mark is not None and all(isinstance(item, yaml.ScalarNode) for item in node.value)
    return isinstance(node, yaml.ScalarNode)


def _error(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
