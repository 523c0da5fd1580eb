"""A comparison as one HTML file: pictures inside, nothing from elsewhere, no script."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rendezvous_router.compare import words
from rendezvous_router.compare.pictures import draw_pictures
from rendezvous_router.compare.results import Comparison

__all__ = ["render_page", "write_page"]


def render_page(comparison: Comparison) -> str:
    """Returns the page. Names and values of models, columns and inputs stand in it as text, whatever they hold."""
    environment = Environment(
        loader=PackageLoader("rendezvous_router.compare", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "number": words.number,
        "percent": words.percent,
        "interval": words.interval,
        "moment": words.moment,
        "called": words.called,
        "verdict": lambda difference: words.verdict(difference, comparison),
    }
    # Matplotlib escapes the texts in its SVG.
    pictures = [(title, told, Markup(svg)) for title, told, svg in draw_pictures(comparison)]  # noqa: S704
    return environment.get_template("page.html.j2").render(
        c=comparison, pictures=pictures, found=words.found(comparison)
    )


def write_page(comparison: Comparison, path: Path) -> None:
    """Writes the page.

    Raises:
        OSError: it cannot be written.
    """
    path.write_text(render_page(comparison), encoding="utf-8")
