"""Packs `bootstrap` into ../placeholder.zip; the same source gives the same bytes."""

import pathlib
import zipfile

here = pathlib.Path(__file__).resolve().parent
entry = zipfile.ZipInfo("bootstrap", date_time=(1980, 1, 1, 0, 0, 0))
entry.create_system = 3  # Unix, or the mode below is not read
entry.external_attr = 0o100755 << 16
entry.compress_type = zipfile.ZIP_STORED
with zipfile.ZipFile(here.parent / "placeholder.zip", "w") as archive:
    archive.writestr(entry, (here / "bootstrap").read_bytes())
