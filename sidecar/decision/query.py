"""What names a query carries. Values are never looked at."""

from urllib.parse import unquote_plus


def names_in(query: str) -> frozenset[str]:
    """Every name that some reader could find in a query: `&` separates and, for some readers, so does `;`.

    Escapes are decoded as HTML forms have them (the URL standard §5.1): `%61` is `a`, `+` is a space.
    """
    names = set()
    for pair in query.split("&"):
        names.add(_name(pair))
        if ";" in pair:
            names.update(map(_name, pair.split(";")))
    return frozenset(names)


def _name(pair: str) -> str:
    return unquote_plus(pair.partition("=")[0])
