"""The examples of the README, which lies outside this folder, are executed like those of the pages."""

from pathlib import Path


def test_readme_examples_run(pages):
    """Every command and example of the README succeeds."""
    document = pages.parse(Path(__file__).parents[1] / "README.md")
    pages.setup(document.namespace)
    try:
        for example in document.examples():
            example.evaluate()
    finally:
        pages.teardown(document.namespace)
