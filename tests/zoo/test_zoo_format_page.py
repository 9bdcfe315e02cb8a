"""The page of the zoo format agrees with the code."""

from __future__ import annotations

import re
from pathlib import Path

from sneframe.zoo.format import DTYPES, FORMAT, KINDS, RESERVED, VERSION, encode_name

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "zoo-format.md").read_text(encoding="utf-8")


def test_the_code_on_the_page_runs() -> None:
    """The example on the page of the format runs."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(compile(block, "zoo-format.md", "exec"), {})


def test_the_page_names_what_the_code_uses() -> None:
    """The page lists the reserved names, kinds, types and the version of the code."""
    for name in (FORMAT, *RESERVED, *KINDS, *KINDS.values()):
        assert f"`{name}`" in PAGE or f"| {name} |" in PAGE
    assert f"The zoo format, version {VERSION}" in PAGE
    kinds = {re.sub(r"\d+", "", dtype) for dtype in DTYPES}
    assert kinds == {"float", "int", "uint", "bool", "bfloat"}


def test_the_names_on_the_page_are_encoded_as_it_says() -> None:
    """The page's table of encoded names agrees with the code."""
    table = PAGE.split("| name | encoded |")[1].split("\n\n")[0]
    pairs = re.findall(r"\| `(.+?)` \| `(.+?)` \|", table)
    assert len(pairs) == 5
    for name, encoded in pairs:
        assert encode_name(name) == encoded
