"""The exceptions of `xdr`: data can't be unpacked, or a value can't be packed."""


class Error(ValueError):
    """The data is not an encoding of the type, or the value has none. ``msg`` says why, as in ``xdrlib``."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg)
        self.msg = msg

    def __repr__(self) -> str:
        return repr(self.msg)

    def __str__(self) -> str:
        return str(self.msg)


class ConversionError(Error):
    """A value that `Packer` cannot write as the type asked for."""
