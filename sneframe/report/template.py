"""Templates → pages: escaped, strict about what is missing, with the numbers and the style that all pages share."""

from __future__ import annotations

import jinja2

from sneframe.report import words


def template(package: str, name: str) -> jinja2.Template:
    """Return the template of a package; ``style.css`` is the one of all pages."""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(package, ""), jinja2.PackageLoader("sneframe.report", "")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": words.number,
        "ratio": words.ratio,
        "count": words.count,
        "duration": words.duration,
    }
    return environment.get_template(name)
