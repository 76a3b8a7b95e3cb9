"""Parse and format colours."""

from __future__ import annotations

from alexnet_fast.errors import UserError

# Red, green and blue, 0 to 255.
Color = tuple[int, int, int]

WHITE: Color = (255, 255, 255)


def parse_color(text: str) -> Color:
    """Parses a CSS colour: a name, `#rgb`, `#rrggbb` or `rgb(r, g, b)`.

    Raises:
        UserError: The text is no colour, or the colour is transparent.
    """
    from PIL import ImageColor

    try:
        red, green, blue, *alpha = ImageColor.getrgb(text)
    except ValueError:
        red, green, blue, alpha = -1, -1, -1, []
    if alpha or not 0 <= min(red, green, blue) <= max(red, green, blue) <= 255:
        raise UserError(
            f"--background {text} is not an opaque colour",
            "give a name such as white, or #rrggbb",
            exit_code=2,
        )
    return red, green, blue


def color_text(color: Color) -> str:
    """Returns a colour as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*color)
