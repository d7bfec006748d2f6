"""``python -m hivlp`` is the command ``hivlp``."""

from hivlp.cli.main import run

if __name__ == "__main__":
    run()
