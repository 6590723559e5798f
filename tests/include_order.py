#!/usr/bin/python3
"""Check that folders include only what the design lets them (docs: the folders in the order of their dependence).

  - A folder includes from itself and from folders before it in ORDER.
  - NAME_priv.h is shared by several .c of its own folder, and included from nowhere else.
  - Of lib/ and router/, only lib/amqp/endpoint* includes a Proton header: the rest of the program knows our contract alone.
    Unit tests may, to have Proton as a peer.
  - foo.c includes foo.h before any other header of ours, which proves that the header stands alone.

Prints one line per offence, `file:line: text`, and ends with status 1 if there was one.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ORDER = ["lib/base", "lib/amqp", "lib/io", "router/mesh", "router/route", "router/policy", "router/mgmt", "router/http",
         "router"]
LIBRARIES = [folder for folder in ORDER if folder.startswith("lib/")]
# These stand on lib/ alone; programs do not include from each other.
PROGRAMS = ["broker", "tools"]
PROTON_ONLY_IN = re.compile(r"lib/amqp/endpoint[^/]*$|.*_test\.c$")
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')


def public_header_folder(path):
    """The folder of lib/ whose contract a header in include/trunkline/ is: by sub-folder, or by the .c of its name."""
    below = path.relative_to(ROOT / "include" / "trunkline")
    if len(below.parts) > 1:
        return "lib/" + below.parts[0]
    for folder in LIBRARIES:
        # Header-only modules have a test beside them, or nothing: then they are base, which anything may use.
        if any((ROOT / folder / (path.stem + ending)).exists() for ending in (".c", "_test.c")):
            return folder
    return "lib/base"


def folder_of(path):
    """The folder in ORDER or PROGRAMS that a file of ours belongs to, or None (tests, bench: free to include all)."""
    relative = path.relative_to(ROOT)
    if relative.parts[:2] == ("include", "trunkline"):
        return public_header_folder(path)
    parent = relative.parent.as_posix()
    for folder in sorted(ORDER + PROGRAMS, key=len, reverse=True):
        if parent == folder or parent.startswith(folder + "/"):
            return folder
    return None


def resolve(includer, name, quoted):
    """The file of ours that an #include names, or None if it is somebody else's."""
    places = [includer.parent] if quoted else []
    places += [ROOT / "include", ROOT, ROOT / "lib", ROOT / "router"]
    for place in places:
        candidate = (place / name).resolve()
        if candidate.is_file() and ROOT in candidate.parents:
            return candidate
    return None


def allowed(folder):
    if folder in PROGRAMS:
        return LIBRARIES + [folder]
    return ORDER[:ORDER.index(folder) + 1]


def own_header_first(path, ours):
    """The offence of a foo.c that includes another header of ours before its foo.h, as (line, text), or None."""
    if path.suffix != ".c" or path.stem.endswith("_test"):
        return None
    own = [at for at, (_, header) in enumerate(ours) if header.stem == path.stem]
    if own and own[0] != 0:
        return ours[0][0], "includes %s before its own %s.h" % (ours[0][1].name, path.stem)
    return None


def check(path):
    """Yield (line, text) for each offence of one file."""
    folder = folder_of(path)
    if folder is None:
        return
    relative, ours = path.relative_to(ROOT).as_posix(), []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quoted, name = match.group(1) == '"', match.group(2)
        if name.startswith("proton/") and folder not in PROGRAMS and not PROTON_ONLY_IN.match(relative):
            yield number, "only lib/amqp/endpoint* includes <%s>" % name
        header = resolve(path, name, quoted)
        if header is None:
            if quoted:
                yield number, 'there is no "%s"' % name
            continue
        if header.suffix != ".c":
            ours.append((number, header))
        target = folder_of(header)
        if target is not None and target not in allowed(folder):
            yield number, "%s may not include from %s (%s)" % (folder, target, name)
        if header.name.endswith("_priv.h") and header.parent != path.parent:
            yield number, "%s is private to its own folder" % name
    offence = own_header_first(path, ours)
    if offence:
        yield offence


def main():
    offences = files = 0
    for top in ("include", "lib", "router", "broker", "tools"):
        for path in sorted((ROOT / top).rglob("*.[ch]")):
            files += 1
            for number, text in check(path):
                offences += 1
                print("%s:%d: %s" % (path.relative_to(ROOT), number, text))
    print("%d files, %d includes that may not be" % (files, offences))
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
