"""The README, which lies outside this folder, is executed as the pages are."""

from pathlib import Path


def test_the_examples_of_the_readme_run(pages):
    document = pages.parse(Path(__file__).parents[1] / "README.md")
    pages.setup(document.namespace)
    try:
        for example in document.examples():
            example.evaluate()
    finally:
        pages.teardown(document.namespace)
