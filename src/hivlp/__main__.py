"""``python -m hivlp`` and the console script: the command ``hivlp``."""

import os
import sys


def run() -> None:
    """Runs the command of ``sys.argv`` and exits with its code."""
    # numpy's and faiss's threads would wait for the same processors, spinning: a search of 0.2 ms becomes one
    # of 10, now and then. faiss has the threads. Set before numpy is loaded, and only by this program.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from hivlp.cli.main import main  # on a busy machine this takes long enough to be interrupted

        code = main()
    except KeyboardInterrupt:
        sys.stderr.write("hivlp: stopped\n")
        code = 130
    raise SystemExit(code)


if __name__ == "__main__":
    run()
