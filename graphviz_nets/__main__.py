"""``python -m graphviz_nets`` is the same program as ``graphviz-nets``."""

from graphviz_nets.cli import main

if __name__ == "__main__":
    main()
