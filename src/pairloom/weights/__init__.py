"""One published layout, one file: names there -> names here."""
