"""`python -m seawall.cli`."""

from seawall.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
