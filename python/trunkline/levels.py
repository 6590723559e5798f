"""Log levels as text: `debug+`, `info, error`, `none`, `default` (management reference 8.2)."""


NAMES = ("trace", "debug", "info", "notice", "warning", "error", "critical")
ALL = (1 << len(NAMES)) - 1
# In this order a beginning of a word finds its word: `de` is default, `deb` debug; `n` is none, `not` notice.
WORDS = ("default", "none") + NAMES


def mask(text):
    """Sum of core.TRACE .. core.CRITICAL, or None for what DEFAULT says. ValueError if a word is none of the levels."""
    result, inherit = 0, False
    words = text.lower()
    for separator in ",;:":
        words = words.replace(separator, " ")
    found = words.split()
    for word in found:
        stem = word.removesuffix("+")
        name = next((w for w in WORDS if stem and w.startswith(stem)), None)
        if name is None:
            found = None
            break
        if name == "default":
            inherit = True
        elif name != "none":
            bit = 1 << NAMES.index(name)
            result |= ALL & ~(bit - 1) if word != stem else bit
    if not found:
        raise ValueError("'%s' is not a valid log level. Should be one of {none, %s}." % (text, ", ".join(NAMES)))
    return None if inherit else result
