"""Load the Jinja templates of HTML pages.

Text is escaped, a missing value is an error, and all pages share their number formats and their style.
"""

from __future__ import annotations

import jinja2

from sneframe.report import words


def template(package: str, name: str) -> jinja2.Template:
    """Return a template of a package. The template can include ``style.css`` of ``sneframe.report``."""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(package, ""), jinja2.PackageLoader("sneframe.report", "")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (
        words.number,
        words.rough,
        words.ratio,
        words.limits,
        words.count,
        words.duration,
        words.moment,
    )
    environment.filters |= {each.__name__: each for each in filters}
    return environment.get_template(name)
