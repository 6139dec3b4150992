"""``python -m support.reana_standin``."""

if __name__ == "__main__":
    from support.reana_standin.serve import main

    main()
