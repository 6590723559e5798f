"""What every tool does around its work: exit status, error line, interruption, output that cannot be written."""

import logging
import os
import sys
import traceback

DEBUG_VARIABLE = "_QPID_DISPATCH_TOOLS_DEBUG_"


def run(main, argv):
    """Run main(argv) and give the exit status of the process.

    What main gives, None for 0: success; 1 failure, told in one line on standard output as `<Class>: <text>`; argparse exits with 2 for wrong usage.
    """
    # Proton logs lost connections, which we report ourselves.
    logging.getLogger("proton").addHandler(logging.NullHandler())
    logging.getLogger("proton").propagate = False
    # Peers choose container ids and link names: never fail because the terminal cannot show a character.
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = main(argv)
        sys.stdout.flush()
        return status or 0
    except KeyboardInterrupt:
        return _say("")
    except BrokenPipeError:
        # Whoever read us has gone (`qdstat -l | head`). Nothing left to tell; let the interpreter's last flush succeed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # whatever it is, a person reads one line and scripts see status 1
        if os.environ.get(DEBUG_VARIABLE) is not None:
            traceback.print_exc()
            return 1
        return _say("%s: %s" % (type(error).__name__, error))


def _say(line):
    try:
        print(line, flush=True)
    except OSError as error:
        print("%s (and standard output fails: %s)" % (line, error), file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
